"""Gradient episodic memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
import numpy.typing as npt
import torch

from clframe.errors import DivergedError, bad_option
from clframe.strategies.filling import enough_for_every_class
from clframe.strategies.gradients import CHUNK, add_flat, flat, held, mean_gradient
from clframe.strategies.part import Part, View
from clframe.types import Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network

Vector = npt.NDArray[np.float64]


class GEM(Part):
    """GEM: the step may raise the loss on the memory of no past experience.

    A few samples of every past experience are kept. At each update their gradients g_1, ..., g_t are taken, one an experience,
    each over all that is kept of it. If the update's own gradient g (of the whole loss) would raise one of their losses to first
    order, <g, g_k> < 0, it is replaced by the nearest gradient that raises none, found by a quadratic program in t unknowns:

        v = argmin_v  1/2 v' (G G' + ridge I) v + (G g)' v   subject to v >= strength,      g <- g + G' v

    where the rows of G are g_1, ..., g_t. With strength 0 and ridge 0, g becomes the projection onto {g : <g, g_k> >= 0 for all
    k}; a positive strength pushes it further, towards lowering the old losses. An update costs one pass forward and backward
    over the whole memory, and t x (number of parameters) numbers while it lasts.

    Args:
        size: samples in the memory, over all past experiences. Each experience gets an equal share; whenever one ends, those
            before it give up what exceeds theirs. One more experience than samples, and the newest get none.
        strength: gamma, the lower bound of v: how much of every old gradient is added where any constraint is violated.
        patterns: which samples of an experience are kept: its "last" different ones in the order of the stream, or a "random" set.
        ridge: eps; positive values make v smaller, and leave <g, g_k> as low as -ridge v_k.

    Raises:
        OptionError: a size below the number of classes, a negative strength or ridge, unknown patterns.
        RunError: a gradient that is not finite.

    Logs:
        - gem/violated: how many constraints the update's gradient violated, before the projection
        - gem/change: norm of the change of the gradient; 0 where no constraint was violated
        - gem/reference: mean norm of the old experiences' gradients

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "gem(size=100)")
        >>> result.budget.forwards > 4 * 100
        True

    Reference: Lopez-Paz and Ranzato, "Gradient episodic memory for continual learning", 2017, equations 7 to 11, algorithm 1.
    Differences:
        1. The paper splits a fixed memory equally among the known number of tasks, and suggests shrinking the shares as tasks come
           where it is not known; here they shrink. De Lange et al. keep size / tasks samples of each, Avalanche's plugin a number
           given by experience.
        2. Kept are the "last" samples as in the paper; De Lange et al. keep the first of the unshuffled data, Avalanche random
           ones.
        3. No ridge by default, as in the paper. The authors' code, De Lange et al.'s, Mammoth's and Avalanche's add 1e-3 whatever
           the scale of the gradients is: where old gradients are small (a squared norm below 1e-3) the constraints then hardly
           bind.
        4. The memory goes through the network in evaluation mode, so that it leaves no trace in running statistics. In the authors'
           code and Avalanche's it goes in training mode, and updates them.
        5. Samples are kept with their task labels and, as in the paper, each goes to its own task's head.
        6. The quadratic program is solved as non-negative least squares (scipy); the published codes call quadprog. The results
           agree, but where the old gradients' norms are in the thousands and differ much, quadprog 0.1.14 can stop short of the
           optimum or find no solution.
        7. The constraints are on the cross-entropy, whatever other parts make of the loss.
    """

    name = "gem"
    needs_head = True
    state = ("episodes", "recent")
    requires = frozenset({"boundaries"})

    def __init__(
        self, size: int = 500, strength: float = 0.5, patterns: Literal["last", "random"] = "last", ridge: float = 0.0
    ) -> None:
        self.episodes = Episodes(size)
        if not strength >= 0:
            raise bad_option("strength", "zero or positive", strength, "Give strength=0.5.")
        if patterns not in ("last", "random"):
            raise bad_option("patterns", "'last' or 'random'", patterns, "Give patterns='last', as in the paper.")
        if not ridge >= 0:
            raise bad_option("ridge", "zero or positive", ridge, "Give ridge=0., or 1e-3 as in published code.")
        self.size, self.strength, self.patterns, self.ridge = size, strength, patterns, ridge
        self.recent = torch.zeros(0, dtype=torch.int64)
        self._sample_bytes = 0
        self._log: Mapping[str, Tensor] = {}

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """The parameters whose gradients are projected."""
        super().bind(model, generator)
        enough_for_every_class(self.size, model)
        self._parameters = [p for p in model.parameters() if p.requires_grad]

    def begin(self, train: Train) -> None:
        """Remembered ids are fetched from the stream seen so far."""
        self._fetch, self._sample_bytes = train.fetch, train.sample_bytes

    def project(self, view: View) -> None:
        """Replace the gradient by the nearest one that violates no constraint."""
        self._log = {}
        if not self.episodes.kept:
            return
        old, new = self._old_gradients(), flat(held(self._parameters))
        violated = (old @ new < 0).sum()
        change = new.new_zeros(())
        if violated:
            exact = _double(old)
            gram, products = exact @ exact.T, exact @ _double(new)
            v = multipliers(gram.cpu().numpy(), products.cpu().numpy(), strength=self.strength, ridge=self.ridge)
            moved = torch.from_numpy(v).to(old) @ old
            add_flat(self._parameters, moved)
            change = torch.linalg.vector_norm(moved)
        reference = torch.linalg.vector_norm(old, dim=1).mean()
        self._log = {"violated": violated.to(old.dtype), "change": change, "reference": reference}

    def absorb(self, view: View) -> Mapping[str, Tensor]:
        """Note the samples that have just been learned; give the terms to log."""
        if self.patterns == "last":
            self.recent = torch.cat((self.recent, view.batch.index[view.new]))[-self.size :]
        return self._log

    def end(self, train: Train) -> None:
        """Keep this experience's share of samples; the earlier ones give up what exceeds theirs."""
        if self.patterns == "random":
            ids = train.sample(self.size, self.generator).tolist()
        else:
            ids = list(dict.fromkeys(self.recent.flip(0).tolist()))
        self.episodes.add(torch.tensor(ids, dtype=torch.int64))
        self.recent = self.recent[:0]

    def state_bytes(self) -> int:
        """The remembered samples as they are stored in the source, with their labels, and the ids."""
        return len(self.episodes) * (self._sample_bytes + 8) + super().state_bytes()

    def _old_gradients(self) -> Tensor:
        """G (t, P): one row for each past experience of which something is kept."""
        rows = []
        for ids in self.episodes.kept:
            batches = (self._fetch(some) for some in torch.split(ids, CHUNK))
            rows.append(flat(mean_gradient(self.model, self._parameters, batches)))
        self.forwards += len(self.episodes)
        self.backwards += len(self.episodes)
        return torch.stack(rows)


def multipliers(gram: Vector, products: Vector, *, strength: float = 0.0, ridge: float = 0.0) -> Vector:
    """The v (t,) of GEM's quadratic program: argmin 1/2 v' (gram + ridge I) v + products' v subject to v >= strength.

    With u = v - strength and gram + ridge I = L L' (Cholesky) it is the non-negative least squares problem
    min_{u >= 0} |L' u + L^-1 c|, c = products + strength (gram + ridge I) 1, in t unknowns.

    Args:
        gram: inner products G G' (t, t) of the old gradients.
        products: inner products G g (t,) with the new gradient.
        strength, ridge: see `GEM`.

    Raises:
        RunError: a number that is not finite.

    Example: the second constraint is violated; v makes it hold with equality.
        >>> multipliers(np.eye(2), np.array([1.0, -0.5]))
        array([0. , 0.5])
    """
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    if not (np.isfinite(gram).all() and np.isfinite(products).all()):
        raise DivergedError(
            "the gradients that GEM compares must be finite; got inner products that are not. "
            "Training diverges: give a smaller lr or a smaller strength."
        )
    matrix = gram + ridge * np.eye(len(gram))
    length = np.sqrt(np.diag(matrix))
    length[length == 0] = 1.0
    unit = matrix / np.outer(length, length)
    linear = products / length + strength * (unit @ length)
    scale = max(float(np.abs(linear).max()), np.finfo(np.float64).tiny)
    lower = np.linalg.cholesky(unit + 1e-10 * np.eye(len(unit)))
    u, _ = nnls(lower.T, -solve_triangular(lower, linear / scale, lower=True), maxiter=100 * len(unit))
    found: Vector = strength + scale * u / length
    return found


def _double(values: Tensor) -> Tensor:
    """In float64, where the device has it, or else on the CPU."""
    return (values.cpu() if values.device.type == "mps" else values).double()


@final
class Episodes:
    """Ids of samples of every past experience: at most `size` in all, equal shares.

    After n experiences the i-th (i = 0, 1, ...) holds at most ceil((size - i) / n) ids, the first of those that it was given.

    Args:
        size: ids in all.

    Attributes:
        seen: experiences so far.

    Raises:
        OptionError: a size that is not a positive integer.

    Example:
        >>> episodes = Episodes(5)
        >>> for k in range(3):
        ...     episodes.add(torch.arange(10 * k, 10 * k + 10))
        >>> [ids.tolist() for ids in episodes.kept]
        [[0, 1], [10, 11], [20]]
    """

    def __init__(self, size: int) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise bad_option("size", "a positive integer", size, "Give size=500 for 500 remembered samples.")
        self.size, self.seen = size, 0
        self.kept = []

    @property
    def kept(self) -> tuple[Tensor, ...]:
        """Ids (m_i,) of each past experience that has a share, those to keep longest first."""
        return self._kept

    @kept.setter
    def kept(self, ids: Sequence[Tensor]) -> None:
        self._kept = tuple(ids)
        self._everything = torch.cat([torch.zeros(0, dtype=torch.int64), *ids])

    def add(self, ids: Tensor) -> None:
        """An experience is over: its ids (n,), those to keep first."""
        self.seen += 1
        shares = [-((i - self.size) // self.seen) for i in range(min(self.seen, self.size))]
        self.kept = [own[:share].clone() for own, share in zip([*self.kept, ids], shares, strict=False)]

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """At most `count` different ids (k,) of all, uniformly at random."""
        everything = self._everything
        if len(everything) <= 8 * count:
            return everything[torch.randperm(len(everything), generator=generator)[:count]]
        while True:
            places = torch.randint(len(everything), (count,), generator=generator)
            if len(set(places.tolist())) == count:
                return everything[places]

    def state_dict(self) -> dict[str, Any]:
        """Ids and the number of experiences."""
        return {"kept": [ids.clone() for ids in self.kept], "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.kept, self.seen = [ids.clone() for ids in state["kept"]], state["seen"]

    def __len__(self) -> int:
        return len(self._everything)
