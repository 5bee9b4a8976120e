"""What generative replay keeps of the past: samples of former generators, and the rows that the next one is fitted to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from clframe.errors import DataError
from clframe.types import Train

if TYPE_CHECKING:
    from clframe.generations.policies import Policy, Scores

BLOCK = 256


@final
@dataclass(frozen=True)
class Samples:
    """Samples side by side, on the CPU.

    Attributes:
        x: flat inputs (n, D).
        y: labels (n,), int64.
        task: task labels (n,), int64; -1 where they are not revealed.
        weight: (n,), float64.
    """

    x: Tensor
    y: Tensor
    task: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def some(self, rows: Tensor, weight: Tensor) -> Samples:
        """These rows, each with its weight times this one."""
        return Samples(self.x[rows], self.y[rows], self.task[rows], self.weight[rows] * weight)

    def plain(self) -> dict[str, Tensor]:
        """As a state; `Samples(**plain)` is the same again."""
        return {"x": self.x, "y": self.y, "task": self.task, "weight": self.weight}


@final
@dataclass(frozen=True)
class Shard:
    """What a policy of `clframe.generations` is told of samples: see its `Shard`."""

    id: str
    kind: str
    generation: int
    rows: int


def joined(some: Iterable[Samples]) -> Samples:
    """All of them, in order."""
    columns = zip(*(one.plain().values() for one in some), strict=True)
    return Samples(*(torch.cat(column) for column in columns))


def samples_of(train: Train) -> Samples:
    """The real samples of the experience in progress.

    Raises:
        DataError: inputs that are not numbers, or all alike.
    """
    found = []
    for batch in train.batches(BLOCK):
        if not batch.x.is_floating_point():
            raise DataError(f"generative replay must have inputs that are real numbers; got {batch.x.dtype}. Take another method.")
        task = torch.full_like(batch.y, -1) if batch.task is None else batch.task
        weight = torch.ones(len(batch)) if batch.weight is None else batch.weight
        found.append(Samples(batch.x.flatten(1).cpu(), batch.y.cpu(), task.cpu(), weight.double().cpu()))
    whole = joined(found)
    if bool((whole.x == whole.x[0]).all()):
        raise DataError(f"generative replay must have inputs that vary; got {len(whole)} equal ones. Correct the data.")
    return whole


def chosen(
    policy: Policy, kept: list[Samples], new: Samples, seed: int, scores: Scores | None
) -> tuple[Samples, Tensor, list[int]]:
    """What a policy takes of the kept samples, oldest first, and of the real ones; all of the real ones where it takes none.

    Returns:
        the samples that were chosen, whether each is real, and which of the kept ones were made use of.
    """
    shards = [Shard(f"{k}", "synthetic", k + 1, len(one)) for k, one in enumerate(kept)]
    real = Shard("new", "real", 0, len(new))
    asked = scores is not None or not policy.needs_scores  # the first generator has no predecessor to give scores
    found = {part.id: part for part in policy([*shards, real], seed, scores).parts} if asked else {}
    taken = []
    for shard, samples in zip([*shards, real], [*kept, new], strict=True):
        part = found.get(shard.id)
        if part is not None:
            taken.append(samples.some(torch.from_numpy(part.rows), torch.from_numpy(part.weight)))
        elif shard is real:
            taken.append(new)
    is_real = torch.arange(sum(map(len, taken))) >= sum(map(len, taken[:-1]))
    return joined(taken), is_real, [k for k in range(len(kept)) if f"{k}" in found]


def balanced(weight: Tensor, group: Tensor, real: Tensor, past: Tensor, new: Tensor) -> Tensor:
    """Weights scaled so that every group weighs what it has weighed in the stream: synthetic rows for the past, real for now.

        w_i = p_i N_{g_i} / sum_{j: g_j = g_i} p_j,  over synthetic rows with N of the past, over real ones with N of now

    Args:
        weight: p (n,), what the policy gave.
        group: what a row belongs to, such as its class (n,).
        real: whether a row is real (n,).
        past: weight of each group in earlier experiences (G,).
        new: its weight in this experience (G,).

    Example: two synthetic rows stand for the six of group 0 that there were.
        >>> group, real = torch.tensor([0, 0, 1]), torch.tensor([False, False, True])
        >>> balanced(torch.ones(3).double(), group, real, torch.tensor([6.0, 0.0]), torch.tensor([0.0, 1.0])).tolist()
        [3.0, 3.0, 1.0]

    Reference: post-stratification, as in Holt and Smith, "Post stratification", JRSS A, 1979.
    """
    found = weight.clone()
    for rows, wanted in ((~real, past), (real, new)):
        sums = torch.zeros(len(wanted), dtype=weight.dtype).index_add_(0, group[rows], weight[rows])
        found[rows] *= (wanted.to(sums) / sums.clamp_min(1e-300))[group[rows]]
    return found


def moments(x: Tensor, weight: Tensor) -> Tensor:
    """Sums from which `variance` follows, which can be added up: of the weights, the squared lengths, the inputs (D + 2,)."""
    x = x.double()
    return torch.cat([weight.sum()[None], (weight * x.square().sum(1)).sum()[None], weight @ x])


def variance(sums: Tensor) -> float:
    """Trace of the covariance.

    Example:
        >>> variance(moments(torch.tensor([[0.0, 1.0], [2.0, 1.0]]), torch.ones(2).double()))
        1.0
    """
    total, squares, mean = sums[0], sums[1], sums[2:] / sums[0]
    return float(squares / total - mean.square().sum())


def effective_classes(y: Tensor) -> float:
    """exp of the entropy of the labels: how many equally frequent classes they are worth.

    Example:
        >>> round(effective_classes(torch.tensor([0, 0, 3, 3])), 6)
        2.0
    """
    share = torch.bincount(y).double() / len(y)
    return float(torch.special.entr(share).sum().exp())
