"""Class-balancing reservoir sampling: as many slots for a rare class as for a frequent one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from clframe.selection.memory import Memory, last_of_each
from clframe.types import Selection

if TYPE_CHECKING:
    from torch import Tensor


class ClassBalanced(Memory):
    """Keeps the classes as equal as the stream allows, and within each class a uniform sample.

    While slots are free every sample is stored. After that, a sample of class c: if c is not (and never was) a largest class,
    it replaces a random sample of the largest class; otherwise it enters with probability m_c / n_c in the place of a random
    sample of its own class, where m_c of the n_c samples seen of class c are stored.

    Cost per sample does not depend on `size`, only on the number of classes.

    Example:
        >>> memory = ClassBalanced(4, torch.Generator().manual_seed(0))
        >>> y = torch.tensor([0] * 90 + [1] * 10)
        >>> slots = memory.update(torch.arange(100), y)
        >>> sorted(y[memory.selection().index].tolist())
        [0, 0, 1, 1]

    Reference: Chrysakis and Moens, "Online continual learning from imbalanced data", 2020, algorithm 1.
    Differences: 1. of several largest classes the one with the smallest label gives way, so that a run is repeatable.
    """

    def __init__(self, size: int, generator: torch.Generator) -> None:
        super().__init__(size, generator)
        self._places: dict[int, list[int]] = {}
        self._count: dict[int, int] = {}
        self._full: set[int] = set()
        self._largest: set[int] = set()

    def update(self, index: Tensor, y: Tensor) -> Tensor:
        """Offer one batch."""
        slots = []
        u = torch.rand(len(index), 2, generator=self.generator, dtype=torch.float64).tolist()
        for i, label, (accept, choose) in zip(index.tolist(), y.tolist(), u, strict=True):
            self.seen += 1
            self._count[label] = self._count.get(label, 0) + 1
            own = self._places.setdefault(label, [])
            if self.filled < self.size:
                own.append(self.filled)
                slots.append(self.filled)
                self._slots[self.filled] = i
                self.filled += 1
                continue
            if not self._largest:
                self._find_largest()
            largest = min(self._largest)
            most = len(self._places[largest])
            slot = -1
            if label not in self._full:
                places = self._places[largest]
                position = int(choose * most)
                slot = places[position]
                places[position] = places[-1]
                places.pop()
                own.append(slot)
                self._slots[slot] = i
                self._largest.discard(largest)
                if len(own) == most:
                    self._largest.clear()
            elif accept < len(own) / self._count[label]:
                slot = own[int(choose * len(own))]
                self._slots[slot] = i
            slots.append(slot)
        return last_of_each(slots)

    def _find_largest(self) -> None:
        """The classes with most slots, which are full from now on. Found anew only when they change: not at every sample."""
        most = max(map(len, self._places.values()))
        self._largest = {c for c, places in self._places.items() if len(places) == most}
        self._full |= self._largest

    def selection(self) -> Selection:
        """Each with the probability of its class, m_c / n_c."""
        probability = np.ones(self.filled)
        for label, places in self._places.items():
            probability[places] = len(places) / self._count[label]
        return Selection(self._slots[: self.filled].copy(), 1.0 / probability, probability)

    def state_dict(self) -> dict[str, Any]:
        """As `Memory.state_dict`, with the slots and counts of every class."""
        labels = list(self._count)
        return {
            **super().state_dict(),
            "labels": labels,
            "places": [list(self._places[c]) for c in labels],
            "counts": [self._count[c] for c in labels],
            "full": sorted(self._full),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        super().load_state_dict(state)
        self._places = {c: list(p) for c, p in zip(state["labels"], state["places"], strict=True)}
        self._count = dict(zip(state["labels"], state["counts"], strict=True))
        self._full = set(state["full"])
        self._largest = set()
