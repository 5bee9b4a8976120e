"""A strategy as it is at one moment, kept in memory, to come back to: protocols train an experience many times from one point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from clframe.seeding import global_state, set_global_state
from clframe.strategies.part import bytes_of
from clframe.types import Stateful, Step


@dataclass(frozen=True)
class Snapshot:
    """Model, optimizer, the method's own state with its memory and generators, torch's global generators, and the position.

    Attributes:
        state: what `state_dict` returned, copied.
        generators: torch's global ones.
        step: the last update whose effects the state holds; None at the start. `experience.steps(after=step)` goes on from it.

    Example:
        >>> from clframe.models import build
        >>> from clframe.strategies import Learner
        >>> model = build("mlp", (4,), 2)
        >>> learner = Learner(model, torch.optim.SGD(model.parameters(), lr=0.1))
        >>> here = Snapshot.of(learner)
        >>> with torch.no_grad():
        ...     _ = [p.zero_() for p in model.parameters()]
        >>> here.restore(learner)
        >>> any(p.any() for p in model.parameters())
        True
    """

    state: Any
    generators: dict[str, Any]
    step: Step | None = None

    @classmethod
    def of(cls, strategy: Stateful, step: Step | None = None) -> Snapshot:
        """What the strategy is now; it may go on, the snapshot stays."""
        return cls(copied(strategy.state_dict()), copied(global_state()), step)

    def restore(self, strategy: Stateful) -> None:
        """Put the strategy, and torch's global generators, back to that moment; may be done any number of times.

        The strategy must be the one that the snapshot is of, or one made in the same way. Where the moment lies within an
        experience, call `strategy.begin(train)` of that experience first: it binds what no state holds.
        """
        strategy.load_state_dict(copied(self.state))
        set_global_state(copied(self.generators))

    @property
    def bytes(self) -> int:
        """Bytes of all tensors that are held."""
        return bytes_of(self.state)


def copied(state: Any) -> Any:
    """A plain state that later training does not change: with tensors and arrays of its own, and lists for tuples.

    Example:
        >>> held = {"w": torch.zeros(2), "n": [1, None]}
        >>> twin = copied(held)
        >>> held["w"].add_(1); twin
        tensor([1., 1.])
        {'w': tensor([0., 0.]), 'n': [1, None]}
    """
    if isinstance(state, torch.Tensor):
        return state.detach().clone()
    if isinstance(state, np.ndarray):
        return state.copy()
    if isinstance(state, Mapping):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [copied(value) for value in state]
    return state
