"""One sparse network whose weights are exchanged as it learns: SET and RigL."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from clframe.errors import bad_option, unknown_name
from clframe.models.norms import WEIGHTED
from clframe.strategies.part import Part, View
from clframe.strategies.sparse.allocation import counts
from clframe.strategies.sparse.exchange import DROPS, check_period, draw_mask, dropped, every, grown, rate

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network
    from clframe.types import Train


class Evolving(Part):
    """A sparse network in the place of a dense one: k_l weights in layer l, some of them exchanged after every `period` updates.

        w <- w M                                                           after every step
        drop the ceil(zeta_n k_l) smallest |w|, grow as many others        after every `period`-th update

    with zeta_n a cosine over the updates of an experience, as in `dst`, begun anew with each. Nothing is frozen, so it forgets
    as plain training does; it composes with whatever keeps it from that, as in "er+rigl". New weights start at 0. The head stays
    dense.

    Args:
        density: share of the backbone's Linear and Conv weights, in (0, 1].
        growth: "random" (SET), "unfired" (ITOP) or "gradient" (RigL).
        init: "erk" or "uniform".
        drop: "magnitude" or "set".
        rate, rate_min: of the exchange, at the start of an experience and at its end.
        period: updates between exchanges; by default 100, or a tenth of those of an experience where that is less.

    Raises:
        OptionError: an option breaks its rule, or a backbone without Linear or Conv layers.

    Logs:
        - sparse/rate: the share that was exchanged, after updates with an exchange.

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "er(size=100)+rigl(density=0.2,period=10)")
        >>> sorted(result.terms.term.unique())
        ['ce', 'sparse/rate']

    Reference: Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity", 2018; Evci et
        al., "Rigging the lottery: making all tickets winners", 2020.

    Differences:
        1. The step of an update with an exchange is made, too; RigL leaves it out.
        2. Exchanges go on to the end of an experience, with a rate that has fallen to `rate_min`; RigL ends at three quarters.
        3. The rate falls over one pass of an experience.
        4. The momentum of a weight that comes back is what its gradients made it meanwhile; RigL sets it to 0.
    """

    name = "sparse"
    state = ("mask", "fired", "steps", "updates")

    def __init__(
        self,
        density: float = 0.1,
        growth: str = "gradient",
        init: str = "erk",
        drop: str = "magnitude",
        rate: float = 0.3,
        rate_min: float = 0.0,
        period: int | None = None,
    ) -> None:
        if growth not in ("random", "unfired", "gradient"):
            raise unknown_name("growth", growth, ("random", "unfired", "gradient"))
        if drop not in ("magnitude", "set"):
            raise unknown_name("drop", drop, DROPS[:2])
        if not 0 <= rate_min <= rate <= 1:
            raise bad_option("rate", "rates with 0 <= rate_min <= rate <= 1", (rate_min, rate), "Give rate=0.3,rate_min=0.")
        check_period(period)
        counts(init, [(1, 1)], density)
        self.density, self.growth, self.init, self.drop = density, growth, init, drop
        self.rate, self.rate_min, self.period = rate, rate_min, period
        self.requires = frozenset({"boundaries"})
        self.mask: list[Tensor] = []
        self.fired: list[Tensor] = []
        self.steps = self.updates = 0
        self._kept: list[Tensor] = []
        self._kept_of: Tensor | None = None

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """Choose the first weights, and set the others to 0."""
        super().bind(model, generator)
        self._weights = [m.weight for m in model.backbone.modules() if isinstance(m, WEIGHTED)]
        if not self._weights:
            raise bad_option("model", "one with Linear or Conv layers", type(model.backbone).__name__, "Give model='mlp'.")
        self._count = counts(self.init, [tuple(w.shape) for w in self._weights], self.density)
        whole = (torch.ones_like(w, dtype=torch.bool) for w in self._weights)
        self.mask = [draw_mask(w, k, generator) for w, k in zip(whole, self._count, strict=True)]
        self.fired = [m.clone() for m in self.mask]
        self._masked()

    def begin(self, train: Train) -> None:
        """The rate begins anew."""
        self.steps, self.updates, self._size = 0, 0, train.size or 0
        self.fired = [m.clone() for m in self.mask]

    def constrain(self, view: View) -> None:
        """Put the weights back onto the mask, and exchange some where it is time."""
        self.updates = self.updates or -(-self._size // (view.new.stop - view.new.start))
        self.steps += 1
        if self.steps % every(self.period, self.updates) == 0 and (share := self._share()) > 0:
            for i, weight in enumerate(self._weights):
                self._exchange(i, weight, math.ceil(share * self._count[i]))
        self._masked()

    def absorb(self, view: View) -> dict[str, Tensor] | None:
        """What was exchanged."""
        return {"rate": torch.tensor(self._share())} if self.steps % every(self.period, self.updates) == 0 else None

    def _share(self) -> float:
        return rate(self.steps, self.updates, self.rate, self.rate_min)

    def _exchange(self, i: int, weight: Tensor, count: int) -> None:
        leaving = dropped(weight, self.mask[i], min(count, self._count[i]), self.drop)
        kept = self.mask[i] & ~leaving
        new = grown(~kept, int(leaving.sum()), self.growth, self.generator, fired=self.fired[i], signal=weight.grad)
        fresh = new & ~self.mask[i]
        weight.masked_fill_(fresh, 0.0)
        self.mask[i] = kept | new
        self.fired[i] = self.fired[i] | new

    @torch.no_grad()
    def _masked(self) -> None:
        if self._kept_of is not self.mask[0]:
            self._kept = [m.to(w.dtype) for w, m in zip(self._weights, self.mask, strict=True)]
            self._kept_of = self.mask[0]
        torch._foreach_mul_(self._weights, self._kept)


def set_(density: float = 0.1, period: int | None = None, init: str = "erk") -> Evolving:
    """SET: as `rigl`, but what is grown is drawn at random, and what is dropped is half of it positive and half negative.

        drop the ceil(0.3 k_l / 2) smallest positive and largest negative weights of layer l, grow as many others at random

    Args:
        density: share of the backbone's Linear and Conv weights, in (0, 1].
        period: updates between exchanges; by default 100, or a tenth of those of an experience where that is less.
        init: "erk" or "uniform".

    Raises:
        OptionError: an option breaks its rule, or a backbone without Linear or Conv layers.

    Logs:
        - sparse/rate: the share that was exchanged, after updates with an exchange.

    Example:
        >>> import clframe
        >>> clframe.run("split-digits", "set(density=0.2,period=10)").finished
        True

    Reference: Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity", 2018.

    Differences:
        1. Counts are exact. See also `rigl`.
    """
    return Evolving(density, "random", init, "set", 0.3, 0.3, period)
