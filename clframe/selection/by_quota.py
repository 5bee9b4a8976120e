"""What memories with the same room for every class share: slots by class, and who gives way."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import torch

from clframe.selection.memory import Memory, last_of_each
from clframe.types import Selection

if TYPE_CHECKING:
    from torch import Tensor


class ByQuota(Memory):
    """Every class seen so far has the same quota of slots, floor(size / classes seen); it may exceed it while nobody needs room.

    A sample of a class below its quota takes a free slot, or one of the largest class; what happens to a sample of a class at
    its quota, and which sample of the largest class gives way, is the subclass's.
    """

    unbiased: ClassVar[bool] = False

    def __init__(self, size: int, generator: torch.Generator) -> None:
        super().__init__(size, generator)
        self._places: dict[int, list[int]] = {}
        self._count: dict[int, int] = {}

    @abstractmethod
    def leaving(self, places: list[int]) -> int:
        """Position in `places`, oldest first, of the sample that gives way to one of another class."""

    @abstractmethod
    def replaces(self, places: list[int]) -> int | None:
        """Position in `places` of the sample that gives way to a new one of its own class; None to keep them as they are."""

    @final
    def update(self, index: Tensor, y: Tensor) -> Tensor:
        """Offer one batch."""
        slots = []
        for i, label in zip(index.tolist(), y.tolist(), strict=True):
            self.seen += 1
            self._count[label] = self._count.get(label, 0) + 1
            slot = self._slot_for(self._places.setdefault(label, []))
            if slot >= 0:
                self._places[label].append(slot)
                self._slots[slot] = i
            slots.append(slot)
        return last_of_each(slots)

    def _slot_for(self, own: list[int]) -> int:
        if len(own) >= self.size // len(self._places):
            position = self.replaces(own) if own else None
            return -1 if position is None else own.pop(position)
        if self.filled < self.size:
            self.filled += 1
            return self.filled - 1
        largest = max(self._places.values(), key=len)
        return largest.pop(self.leaving(largest))

    def selection(self) -> Selection:
        """Each weighted so that every class counts as often as it was seen; the choice within a class is not random."""
        probability = np.ones(self.filled)
        for label, places in self._places.items():
            probability[places] = len(places) / self._count[label]
        return Selection(self._slots[: self.filled].copy(), 1.0 / probability, probability)

    def state_dict(self) -> dict[str, Any]:
        """As `Memory.state_dict`, with the slots and counts of every class."""
        labels = list(self._places)
        return {
            **super().state_dict(),
            "labels": labels,
            "places": [list(self._places[c]) for c in labels],
            "counts": [self._count[c] for c in labels],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        super().load_state_dict(state)
        self._places = {c: list(p) for c, p in zip(state["labels"], state["places"], strict=True)}
        self._count = dict(zip(state["labels"], state["counts"], strict=True))
