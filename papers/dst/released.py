"""`dst` with defects of the released code switched on, one by one: what they are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from clframe.models import Network
from clframe.strategies.build import Setup
from clframe.strategies.sparse import DST
from clframe.strategies.sparse.bits import pack, unpack
from clframe.strategies.sparse.checks import maskable

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.types import Train


class Released(DST):
    """Dynamic sparse training as it is in the released code, as far as its defects are asked for.

    Args:
        setup: what every strategy is made from.
        density, init, growth, period: as in `dst`.
        restore: a weight of an earlier task that is grown is trained as 0, and evaluated with the stored value.
        head: the head is masked and frozen like any layer, the rows of tasks to come included.
        lost: weights that the first task does not own are set to 0, so that later tasks begin there.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        density: float = 0.1,
        init: str = "erk",
        growth: str = "gradient",
        period: int = 100,
        restore: bool = False,
        head: bool = False,
        lost: bool = False,
    ) -> None:
        self.restore, self.head, self.lost = restore, head, lost
        self.ghosts: dict[str, Tensor] = {}
        super().__init__(setup, density=density, init=init, growth=growth, period=period)  # type: ignore[arg-type]
        self.options |= {"restore": restore, "head": head, "lost": lost}
        self._no_ghosts()

    def masked(self, model: Network) -> dict[str, Tensor]:
        """The backbone's weights, and the head's where it is masked, too."""
        return maskable(model) | ({"head.weight": model.head.weight} if self.head else {})

    def begin(self, train: Train) -> None:
        """A task begins: no weight is trained as 0 yet."""
        self._no_ghosts()
        super().begin(train)

    def end(self, train: Train) -> None:
        """The stored values come back into the network, whatever they were trained as."""
        self._no_ghosts()
        super().end(train)
        with torch.no_grad():
            for n, w in self._weights.items():
                if self.lost and self.tasks == 1:
                    self.store[n] = self.store[n] * self.used[n]
                w.copy_(self.store[n] * self.masks[n])
        self._settle()

    def _exchange(self, name: str, weight: Tensor, count: int) -> None:
        before = self.masks[name]
        super()._exchange(name, weight, count)
        if self.restore:
            new = self.masks[name] & ~before & self.used[name]
            self.ghosts[name] = (self.ghosts[name] & self.masks[name]) | new
            weight.masked_fill_(new, 0.0)

    def _settle(self) -> None:
        stored = self.store
        self.store = {n: v.masked_fill(self.ghosts[n], 0.0) if n in self.ghosts else v for n, v in stored.items()}
        super()._settle()
        self.store = stored

    def _no_ghosts(self) -> None:
        self.ghosts = {n: torch.zeros_like(m) for n, m in self.masks.items()}

    def state_dict(self) -> dict[str, Any]:
        """As in `dst`, and what is trained as 0."""
        return super().state_dict() | {"ghosts": pack(self.ghosts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.ghosts = unpack(state["ghosts"], self.store)
        super().load_state_dict(state)
