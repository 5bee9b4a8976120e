"""Dynamic sparse training, with a subnet for every task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch

from clframe.errors import OptionError, bad_option, unknown_name
from clframe.strategies.build import Setup
from clframe.strategies.sparse.allocation import counts, listed
from clframe.strategies.sparse.bits import members, number, pack, unpack
from clframe.strategies.sparse.exchange import DROPS, GROWTHS, check_period, dropped, every, rate
from clframe.strategies.sparse.pattern import pattern_of, whole_rows
from clframe.strategies.sparse.subnets import Subnets

if TYPE_CHECKING:
    from torch import Tensor

FURTHER = ("adaptive", "capacity")


class DST(Subnets):
    """Every task trains a sparse subnet whose weights are exchanged as it learns; what it ends with stays as it is for ever.

    At the start of task t layer l gets k_l random weights. After every `period` updates but the last, at update n of the N of the
    task,

        zeta_n = rate_min + (rate - rate_min) / 2 (1 + cos(pi n / N))
        drop   the ceil(zeta_n k_l) least important active weights, by |w|
        grow   as many others: at random, among those never active in this task, or where |gradient| or |momentum| is largest

    so that k_l never changes. A weight that another task owns may be chosen, too, and is then used with that task's value: only
    M_t and not used is trained (see `Subnets`). The gradient of such a weight counts as 0, so that growth by gradient takes up free
    weights first. A weight that is new starts at 0, one that was dropped in the same exchange keeps its value; a weight that no
    task has owned has its first value when a task begins with it.

    Args:
        setup: what every strategy is made from.
        density: share of all masked weights that a task computes with, in (0, 1]; or "rest": of each layer what is free, divided by
            the tasks still expected.
        init: how it is shared out over the layers: "erk" (narrow layers keep more) or "uniform".
        growth: "random", "unfired", "gradient", "momentum"; "adaptive": random in the first half of the tasks, gradient in the
            second; "capacity": unfired in layers that are at least half free, gradient in the others.
        drop: "magnitude", "set" or "taylor".
        rate, rate_min: of the exchange, at the start and at the end of a task.
        period: updates between exchanges; by default 100, or a tenth of the updates of the task where that is less.
        share: whether weights of earlier tasks may be used.
        reserve: let a task take at most its part of what is free in a layer, the tasks still expected counted, so that narrow
            layers are not used up by the first; the rest of its weights are shared ones, as far as there are any: the first tasks
            compute with fewer.
        full: "refuse" a task that finds no free weight in any layer, or let it "share": it computes with weights of earlier tasks
            alone, and trains its biases, normalisation and head.
        pattern: "free", weights anywhere in a layer; "fan-in", as many in each row, so that a gather computes with it; "2:4", two
            of every four along a row of every layer, for devices that compute with that.
        infer: "none" where the task is told; "entropy" or "energy" to infer it (see `Subnets`).

    Raises:
        OptionError: an option breaks its rule; growth by momentum with an optimizer that has none; no weights left for a task, with
            the layers and what would fit.

    Logs:
        - ce: the cross-entropy of the batch.
        - dst/rate: the share that was exchanged, after updates with an exchange.
        - dst/used: share of the masked weights that some task owns.

    Example:
        >>> import clframe
        >>> result = clframe.run("task-incremental", "dst(density=0.2,period=10)")
        >>> result.metrics.bwt, result.metrics.forgetting_first_last
        (0.0, 0.0)

    Reference: Yildirim, Yildirim, Sokar, Mocanu and Vanschoren, "Continual learning with dynamic sparse training: exploring
        algorithms for effective model updates", 2024.

    Differences:
        1. A weight of an earlier task that is grown is used with its stored value at once. In the released code it is trained as 0
           and evaluated with the stored value.
        2. The head is not masked: each task has rows of its own. There, one head is masked and frozen with the rest, so that the
           rows of later tasks are frozen before they are trained.
        3. Weights that no task owns keep their first values; there they are 0 from the second task on.
        4. All counts are exact; there they hold in expectation.
        5. Biases and normalisation are private to each task; the paper's normalisation has no parameters and uses the statistics
           of the test batch.
        6. Owned weights are put back after every step, so they stay bit-identical with any optimizer; masking the gradient alone
           does not do that.
        7. New weights start with empty optimizer state, but for growth by momentum, which needs it where weights are not active.
        8. The subnet at the end of the task is kept, not the one with the best accuracy on training samples.
        9. "unfired" takes up `fired` anew with each task, as there; "capacity", `reserve` and density "rest" are ours.
        10. With a pattern, what leaves is chosen in the layer as a whole, and what comes in each row, as in Lasby et al., "Dynamic
            sparse training with structured sparsity", 2024, without its removal of whole rows.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        density: float | Literal["rest"] = 0.1,
        init: Literal["erk", "uniform"] = "erk",
        growth: str = "gradient",
        drop: str = "magnitude",
        rate: float = 0.5,
        rate_min: float = 0.005,
        period: int | None = None,
        share: bool = True,
        reserve: bool = False,
        full: Literal["refuse", "share"] = "refuse",
        pattern: str = "free",
        infer: str = "none",
    ) -> None:
        if growth not in (*GROWTHS, *FURTHER):
            raise unknown_name("growth", growth, (*GROWTHS, *FURTHER))
        if full not in ("refuse", "share"):
            raise unknown_name("full", full, ("refuse", "share"))
        if drop not in DROPS:
            raise unknown_name("drop", drop, DROPS)
        if not 0 <= rate_min <= rate <= 1:
            raise bad_option("rate", "rates with 0 <= rate_min <= rate <= 1", (rate_min, rate), "Give rate=0.5,rate_min=0.005.")
        check_period(period)
        if reserve and (not share or pattern == "2:4"):
            rule = "false with share=false, which takes free weights alone, and with pattern=2:4, whose fours cannot be divided"
            raise bad_option("reserve", rule, reserve, "Leave it out.")
        if pattern == "2:4" and density != 0.5:
            raise bad_option("density", "0.5 with pattern='2:4', two of every four", density, "Give density=0.5.")
        super().__init__(setup, "dst", infer)
        self.options: dict[str, Any] = {"density": density, "init": init, "growth": growth, "drop": drop, "rate": rate}
        self.options |= {"rate_min": rate_min, "period": period, "share": share, "reserve": reserve, "infer": infer}
        added = {"pattern": (pattern, "free"), "full": (full, "refuse")}  # younger options, which earlier runs do not name
        self.options |= {name: value for name, (value, default) in added.items() if value != default}
        self.growth, self.drop, self.rate, self.rate_min, self.period = growth, drop, rate, rate_min, period
        self.share, self.reserve = share, reserve
        shapes = {n: tuple(w.shape) for n, w in self.store.items()}
        self.patterns = {n: pattern_of(pattern, s) for n, s in shapes.items()}
        self.count = dict(zip(shapes, counts(init, list(shapes.values()), 1.0 if density == "rest" else density), strict=True))
        if pattern == "2:4":
            self.count = {n: w.numel() // 2 for n, w in self.store.items()}
        self.count = {n: whole_rows(self.patterns[n], s, self.count[n]) for n, s in shapes.items()}
        self.fired = {n: torch.zeros_like(m) for n, m in self.masks.items()}
        groups = self.optimizer.param_groups
        if growth == "momentum" and not any("betas" in g or g.get("momentum") for g in groups):
            raise bad_option("growth", "one without momentum, as the optimizer has none", growth, "Give --momentum 0.9.")

    def choose(self, free: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Random weights, k_l in each layer: of all of them, of the free ones, or of the free ones as far as is reserved."""
        left = max(1, self.expected - self.tasks)
        if self.options["density"] == "rest":
            rest = {n: max(1, members(f) // left) for n, f in free.items()}
            self.count = {n: whole_rows(self.patterns[n], free[n].shape, k, at_most=True) for n, k in rest.items()}
        self._refuse_if_full(free)
        found = {}
        for n, pattern in self.patterns.items():
            all_of_it, count = torch.ones_like(free[n]), self.count[n]
            need = pattern.lacking(torch.zeros_like(free[n]), count)
            if not self.share:
                found[n] = pattern.draw(free[n], need, self.generator)
            elif not self.reserve:
                found[n] = pattern.draw(all_of_it, need, self.generator)
            else:
                own = pattern.draw(free[n], need.minimum((pattern.held(free[n]) // left).clamp(min=1)), self.generator)
                found[n] = own | pattern.draw(~free[n], pattern.lacking(own, count), self.generator)
        self.fired = {n: m.clone() for n, m in found.items()}
        return found

    def _refuse_if_full(self, free: Mapping[str, Tensor]) -> None:
        """Where weights are not shared, all tasks still expected must find enough; else this one some layer that is not full."""
        if self.share:
            full = [n for n, f in free.items() if not f.any()]
            if len(full) == len(self.layers) and self.options.get("full") != "share":
                raise OptionError(
                    f"task {self.tasks} must find free weights; all {len(full)} layers have none left ({listed(full)}). "
                    "Give a smaller density or reserve=true from the start, full=share, or a larger model."
                )
            return
        left = max(1, self.expected - self.tasks)
        short = [n for n, f in free.items() if bool((self.patterns[n].lacking(f, self.count[n] * left) > 0).any())]
        if short:
            every_task = max(self.expected, self.tasks + 1)
            fits = min(self.store[n].numel() / (self.count[n] * every_task) for n in self.layers)
            density = fits * sum(self.count.values()) / sum(w.numel() for w in self.store.values())
            raise OptionError(
                f"{left} task{'s' if left > 1 else ''} must find enough free weights; {len(short)} layers have too few "
                f"({listed(short)}). A density of {math.floor(1000 * density) / 1000:g} would fit all {every_task} tasks: "
                "give that, density=rest, share=true, or a larger model."
            )

    def stepped(self) -> dict[str, Tensor]:
        """Exchange weights where it is time."""
        device = self.store[self.layers[0]].device
        if self._steps % every(self.period, self.updates) or self._steps >= self.updates or self._task in self.archive:
            return {}
        share = rate(self._steps, self.updates, self.rate, self.rate_min)
        for n, w in self._weights.items():
            self._exchange(n, w, math.ceil(share * members(self.masks[n])))
        self._settle()
        return {"rate": torch.tensor(share, device=device), "used": torch.tensor(self.owned, device=device)}

    def _exchange(self, name: str, weight: Tensor, count: int) -> None:
        mask, how = self.masks[name], self._how(name)
        leaving = dropped(weight, mask, count, self.drop, weight.grad)
        kept = mask & ~leaving
        new = torch.zeros_like(mask)
        for part, growth in self._parts(name, how):
            new |= self._grow(name, weight, part & ~kept, leaving & part, growth)
        fresh = new & ~mask
        weight.mul_(number((kept | new) & mask, weight))
        weight.add_(self.store[name] * number(fresh & self.used[name], weight))
        if how != "momentum":
            for value in self.optimizer.state.get(weight, {}).values():
                if isinstance(value, torch.Tensor) and value.shape == weight.shape:
                    value.mul_(number(~fresh, value))
        self.masks[name] = kept | new
        self.fired[name] = self.fired[name] | new

    def _parts(self, name: str, how: str) -> list[tuple[Tensor, str]]:
        """Where weights may come, and how they are chosen there; where a part is reserved, each part replaces its own."""
        used = self.used[name]
        if self.reserve:
            return [(~used, how), (used, "unfired" if how == "unfired" else "random")]
        return [(torch.ones_like(used) if self.share else ~used, how)]

    def _grow(self, name: str, weight: Tensor, candidates: Tensor, leaving: Tensor, how: str) -> Tensor:
        """As many as leave, in each row of a pattern; of too few candidates all, and then some of those that were to leave stay."""
        pattern = self.patterns[name]
        need = pattern.held(leaving)
        new = pattern.grow(candidates, need, how, self.generator, self.fired[name], self._signal(name, weight, how))
        missing = need - pattern.held(new)
        return new | pattern.draw(leaving & ~new, missing, self.generator) if missing.any() else new

    def _how(self, name: str) -> str:
        if self.growth == "adaptive":
            return "random" if self.tasks < self.expected / 2 else "gradient"
        if self.growth == "capacity":
            used = self.used[name]
            return "unfired" if 2 * members(used) <= used.numel() else "gradient"
        return self.growth

    def _signal(self, name: str, weight: Tensor, how: str) -> Tensor | None:
        if how == "gradient":
            assert weight.grad is not None
            return weight.grad * number(~self.used[name], weight)
        if how != "momentum":
            return None
        state = self.optimizer.state[weight]
        found: Tensor = state["exp_avg"] / (state["exp_avg_sq"].sqrt() + 1e-8) if "exp_avg" in state else state["momentum_buffer"]
        return found

    def state_dict(self) -> dict[str, Any]:
        """As `Subnets`, with what was active in the task in progress."""
        return {**super().state_dict(), "fired": pack(self.fired)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        super().load_state_dict(state)
        self.fired = unpack(state["fired"], self.store)

    def describe(self) -> Mapping[str, Any]:
        """Name and options, for the resolved spec."""
        return {"strategy": "DST", "options": self.options}
