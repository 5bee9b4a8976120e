"""SpaceNet: a task gets neurons of its own, with sparse connections between them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from clframe.errors import OptionError, bad_option
from clframe.strategies.build import Setup
from clframe.strategies.sparse.allocation import listed
from clframe.strategies.sparse.bits import members, pack, unpack
from clframe.strategies.sparse.exchange import check_period, draw_mask, dropped, every, grown
from clframe.strategies.sparse.subnets import Subnets

if TYPE_CHECKING:
    from torch import Tensor


class SpaceNet(Subnets):
    """SpaceNet: a task draws some of the free neurons and connects these sparsely; the most important ones become its own.

        S_l      a share `neurons` of the units of layer l that are not reserved, those with most free weights first, at random
                 among equals; S_0 all inputs
        M_t      a share `density` of the weights from S_{l-1} to S_l, drawn at random from those that are free, and at most what is
                 left of the layer for each of the tasks still expected
        Omega   += |change of w x gradient|                                after every update
        exchange the share `drop` of the smallest Omega, for as many with the largest Omega(unit in) Omega(unit out)
        at the end, the `reserve` most important units of every layer are reserved: no later task draws them

    with Omega of a unit the sum over its connections. A unit is a neuron of a Linear layer or a map of a Conv layer. Beyond S_l a
    subnet has no weight, so that `clframe export` cuts it out of the network as a small dense one.

    Args:
        setup: what every strategy is made from.
        neurons: share of the units of a layer that a task draws, in (0, 1].
        reserve: share of the units of a layer that become its own; by default half of `neurons`, or less where the tasks expected
            would not find enough.
        density: share of the connections between drawn units, in (0, 1].
        drop: share of them that is exchanged, in [0, 1].
        period: updates between exchanges; by default 100, or a tenth of the updates of the task where that is less.
        infer: "none" where the task is told; "entropy" or "energy" to infer it (see `Subnets`).

    Raises:
        OptionError: an option breaks its rule; a layer whose inputs are not the units of the one before it; too few units or
            weights for the tasks that are expected, with the layers and what would fit.

    Logs:
        - ce: the cross-entropy of the batch.
        - spacenet/used: share of the masked weights that some task owns, after updates with an exchange.

    Example:
        >>> import clframe
        >>> clframe.run("task-incremental", "spacenet(period=20)").metrics.bwt
        0.0

    Reference: Sokar, Mocanu and Pechenizkiy, "SpaceNet: make free space for continual learning", 2021.

    Differences:
        1. Each task computes with its own weights alone; there all tasks' weights answer together, which forgets.
        2. The output layer is not sparse: each task has rows of its own.
        3. Biases and normalisation are private to each task.
        4. Exchanges come after `period` updates, there after every epoch.
        5. New connections keep what the optimizer has stored for their position.
        6. The importance of a unit counts all its connections, those that come in and those that go out; of the last layer those
           that come in.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        neurons: float = 0.2,
        reserve: float | None = None,
        density: float = 0.5,
        drop: float = 0.2,
        period: int | None = None,
        infer: str = "none",
    ) -> None:
        for name, value in (("neurons", neurons), ("density", density)):
            if not 0 < value <= 1:
                raise bad_option(name, "a share in (0, 1]", value, f"Give {name}=0.2.")
        if not 0 <= drop <= 1:
            raise bad_option("drop", "a share in [0, 1]", drop, "Give drop=0.2.")
        check_period(period)
        super().__init__(setup, "spacenet", infer)
        if reserve is None:
            reserve = min(neurons / 2, (1 - neurons) / max(1, self.expected - 1))
        if not 0 <= reserve <= neurons:
            raise bad_option("reserve", f"a share in [0, {neurons}], which is neurons", reserve, "Leave it out.")
        self.neurons, self.reserve, self.density, self.drop, self.period = neurons, reserve, density, drop, period
        _refuse_branches(self.store)
        self.reserved = {n: torch.zeros(len(w), dtype=torch.bool, device=w.device) for n, w in self.store.items()}
        self.drawn = {n: torch.zeros_like(r) for n, r in self.reserved.items()}
        self.omega = {n: torch.zeros_like(w) for n, w in self.store.items()}
        self._before: dict[str, Tensor] = {}

    def choose(self, free: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Draw units, and connections between them."""
        self._refuse_if_full()
        for n, reserved in self.reserved.items():
            most = free[n].flatten(1).sum(1) + torch.rand(len(reserved), generator=self.generator).to(reserved.device)
            self.drawn[n] = grown(~reserved, self._units(n), "gradient", self.generator, signal=most)
            self.omega[n].zero_()
        found = {}
        for n, block in self._blocks().items():
            room = members(free[n][~self.reserved[n]]) // max(1, self.expected - self.tasks)
            found[n] = draw_mask(block & free[n], min(math.ceil(self.density * members(block)), max(1, room)), self.generator)
        empty = [n for n, m in found.items() if not m.any()]
        if empty:
            raise OptionError(
                f"task {self.tasks} must find free weights between its units; {len(empty)} of the layers have none "
                f"({listed(empty)}). Give smaller neurons or density from the start, or a reserve, or a larger model."
            )
        return found

    def stepping(self) -> None:
        """Remember the weights, to see how the step changes them."""
        self._before = {n: w.detach().clone() for n, w in self._weights.items()}

    def stepped(self) -> dict[str, Tensor]:
        """Add to the importance; exchange connections where it is time."""
        if self._task in self.archive:
            return {}
        for n, w in self._weights.items():
            assert w.grad is not None
            self.omega[n] += ((w - self._before[n]) * w.grad).abs() * self.masks[n]
        if self._steps % every(self.period, self.updates) or self._steps >= self.updates:
            return {}
        blocks = self._blocks()
        for n, w in self._weights.items():
            self._exchange(n, w, blocks[n] & ~self.used[n])
        self._settle()
        return {"used": torch.tensor(self.owned, device=self.store[self.layers[0]].device)}

    def finishing(self) -> None:
        """Reserve the units that mattered most."""
        if self._task in self.archive:
            return
        for n, omega in self._importance().items():
            count = min(self._reserve(len(omega)), members(self.drawn[n]))
            self.reserved[n] = self.reserved[n] | grown(self.drawn[n], count, "gradient", self.generator, signal=omega)

    def _exchange(self, name: str, weight: Tensor, room: Tensor) -> None:
        mask, omega = self.masks[name], self.omega[name]
        leaving = dropped(omega, mask, math.ceil(self.drop * members(mask)))
        kept = mask & ~leaving
        into, out = _flat(omega * kept).sum(1), _flat(omega * kept).sum(0)
        product = (into[:, None] * out[None, :]).view(*mask.shape[:2], *[1] * (mask.dim() - 2)).expand_as(mask)
        new = grown(room & ~kept, members(leaving), "gradient", self.generator, signal=product)
        weight.masked_fill_((new & ~mask) | (leaving & ~new), 0.0)
        omega.mul_(kept)
        self.masks[name] = kept | new

    def _importance(self) -> dict[str, Tensor]:
        """Omega of every unit: of what comes in, and of what the next layer takes."""
        found = {n: _flat(o).sum(1) for n, o in self.omega.items()}
        for before, n in pairwise(self.layers):
            found[before] = found[before] + _flat(self.omega[n]).sum(0).view(len(found[before]), -1).sum(1)
        return found

    def _blocks(self) -> dict[str, Tensor]:
        """The weights between drawn units."""
        found, before = {}, None
        for n, w in self.store.items():
            block = self.drawn[n].view(-1, *[1] * (w.dim() - 1)).expand_as(w)
            if before is not None:
                columns = before.repeat_interleave(w.shape[1] // len(before))
                block = block & columns.view(1, -1, *[1] * (w.dim() - 2))
            found[n], before = block, self.drawn[n]
        return found

    def _units(self, name: str) -> int:
        return max(1, round(self.neurons * len(self.store[name])))

    def _refuse_if_full(self) -> None:
        """This task and those still expected must find units that are not reserved."""
        left = max(1, self.expected - self.tasks)
        short = [n for n, r in self.reserved.items() if members(~r) < self._units(n) + (left - 1) * self._reserve(len(r))]
        if short:
            fits = math.floor(1000 * (1 - self.neurons) / max(1, self.expected - 1, self.tasks)) / 1000
            raise OptionError(
                f"{left} task{'s' if left > 1 else ''} must find enough units that are not reserved; {len(short)} of the layers "
                f"have too few ({listed(short)}). Give reserve={fits:g}, smaller neurons, or a larger model."
            )

    def _reserve(self, units: int) -> int:
        return int(self.reserve * units + 1e-9)

    def state_dict(self) -> dict[str, Any]:
        """As for all subnets, and units and importance."""
        units = {"reserved": pack(self.reserved), "drawn": pack(self.drawn), "omega": dict(self.omega)}
        return super().state_dict() | units

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        super().load_state_dict(state)
        self.reserved, self.drawn = (unpack(state[k], self.reserved) for k in ("reserved", "drawn"))
        self.omega = {n: state["omega"][n].to(o.device).clone() for n, o in self.omega.items()}

    def describe(self) -> Mapping[str, Any]:
        """Name and options, for the resolved spec."""
        options = {"neurons": self.neurons, "reserve": self.reserve, "density": self.density, "drop": self.drop}
        return {"strategy": "SpaceNet", "options": options | {"period": self.period, "infer": self.infer}}


def _flat(omega: Tensor) -> Tensor:
    """(out, in), summed over the pixels of a kernel."""
    return omega.flatten(2).sum(2) if omega.dim() > 2 else omega


def _refuse_branches(store: Mapping[str, Tensor]) -> None:
    names = list(store)
    for before, n in pairwise(names):
        if store[n].shape[1] % len(store[before]):
            raise bad_option(
                "model",
                "a chain of layers for 'spacenet', each reading the one before it",
                f"{listed([n])} with {store[n].shape[1]} inputs after {len(store[before])} units",
                "Give 'mlp' or 'cnn'.",
            )
