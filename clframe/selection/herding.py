"""Herding: samples whose mean stays close to the mean of their class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import torch

from clframe.selection.memory import Memory
from clframe.types import Selection

if TYPE_CHECKING:
    from torch import Tensor


def herd(features: Tensor, count: int) -> Tensor:
    """Positions (min(count, n),) of the herded rows of the features (n, d), the most representative first.

        p_k = argmin_{x not yet chosen} || mu - (phi(x) + sum_{j<k} phi(p_j)) / k ||,   mu = mean of phi

    with phi the rows as they are given (normalise them first where wanted), each chosen once. Of equal rows the first is taken.

    Cost: one product with `features` a choice, O(count n d).

    Example:
        >>> herd(torch.tensor([[0.0], [1.0], [2.0], [5.0]]), 2).tolist()
        [2, 1]

    Reference: Welling, "Herding dynamical weights to learn", 2009; Rebuffi et al., "iCaRL", 2017, algorithm 4.
    """
    rows = features.double()
    mean, total = rows.mean(0), torch.zeros_like(rows[0])
    squares = rows.square().sum(1)
    free = torch.zeros_like(squares)
    chosen = []
    for k in range(1, min(count, len(rows)) + 1):
        # || k mu - total - phi ||^2 without what is the same for all rows
        found = int((squares - 2 * (rows @ (k * mean - total)) + free).argmin())
        chosen.append(found)
        total += rows[found]
        free[found] = torch.inf
    return torch.tensor(chosen, dtype=torch.int64)


@final
class Herding(Memory):
    """Keeps the herded samples of each class, floor(size / classes seen) of each, chosen at the end of an experience.

    When new classes need room, the least representative samples of the old ones give way: those chosen last. A class that comes
    again is chosen anew from its newest experience. Features have unit norm before the choice.

    Example:
        >>> memory = Herding(4, torch.Generator())
        >>> memory.settle(torch.arange(6), torch.tensor([0, 0, 0, 1, 1, 1]), torch.eye(6))
        >>> memory.selection().index.tolist()
        [0, 1, 3, 4]

    Reference: Rebuffi, Kolesnikov, Sperl, Lampert, "iCaRL: incremental classifier and representation learning", 2017,
    algorithms 4 and 5.
    """

    settles: ClassVar[bool] = True
    unbiased: ClassVar[bool] = False

    def __init__(self, size: int, generator: torch.Generator) -> None:
        super().__init__(size, generator)
        self._ranked: dict[int, list[int]] = {}
        self._count: dict[int, int] = {}

    def update(self, index: Tensor, y: Tensor) -> Tensor:
        """Counts the samples; they are chosen in `settle`."""
        self.seen += len(index)
        labels, counts = torch.unique(y, return_counts=True)
        for label, count in zip(labels.tolist(), counts.tolist(), strict=True):
            self._count[label] = self._count.get(label, 0) + count
        return torch.full((len(index),), -1, dtype=torch.int64)

    def settle(self, index: Tensor, y: Tensor, features: Tensor) -> None:
        """Choose among all samples of an experience: ids (n,), labels (n,), features (n, d)."""
        labels = torch.unique(y).tolist()
        quota = self.size // len({*self._ranked, *labels})
        unit = torch.nn.functional.normalize(features.detach(), dim=1)
        for label in labels:
            own = (y == label).nonzero().flatten()
            self._ranked[label] = index[own.cpu()][herd(unit[own], quota)].tolist()
        self._ranked = {label: ids[:quota] for label, ids in sorted(self._ranked.items())}
        kept = [i for ids in self._ranked.values() for i in ids]
        self.filled = len(kept)
        self._slots[: self.filled] = kept

    def selection(self) -> Selection:
        """Each weighted so that every class counts as often as it was seen; the choice is not random."""
        kept = [len(ids) / max(self._count.get(label, 0), len(ids)) for label, ids in self._ranked.items() for _ in ids]
        probability = np.array(kept, dtype=np.float64)
        return Selection(self._slots[: self.filled].copy(), 1.0 / probability, probability)

    def state_dict(self) -> dict[str, Any]:
        """As `Memory.state_dict`, with the ranked ids and counts of every class."""
        return {
            **super().state_dict(),
            "labels": list(self._ranked),
            "ranked": [list(ids) for ids in self._ranked.values()],
            "counted": list(self._count),
            "counts": list(self._count.values()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        super().load_state_dict(state)
        self._ranked = {c: list(ids) for c, ids in zip(state["labels"], state["ranked"], strict=True)}
        self._count = dict(zip(state["counted"], state["counts"], strict=True))
