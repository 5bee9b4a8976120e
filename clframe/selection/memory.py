"""A bounded memory of ids over a stream: what it keeps is decided by a rule such as reservoir or class-balanced sampling.

A memory holds ids, not samples: the data stays where it is, and a recalled id is fetched (and augmented) like any other.
Its bytes are declared as if the samples were stored, because on a device they would be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch

from clframe.errors import bad_option
from clframe.types import Ids, Selection

if TYPE_CHECKING:
    from torch import Tensor


class Memory(ABC):
    """Slots for at most `size` ids, filled by one pass over a stream.

    Subclasses implement `update`, which sees each batch once and must cost the same whatever `size` is, and set
    `self.seen`. They draw only from `self.generator`.

    Args:
        size: number of slots.
        generator: the memory's own random numbers.

    Attributes:
        index: ids (size,), int64; the first `filled` are in use.
        filled: slots in use.
        seen: samples offered so far.
    """

    def __init__(self, size: int, generator: torch.Generator) -> None:
        if not isinstance(size, int) or size < 1:
            raise bad_option("size", "a positive integer", size, "Give size=500 for 500 remembered samples.")
        self.size, self.generator = size, generator
        self.index = torch.zeros(size, dtype=torch.int64)
        self._slots: Ids = self.index.numpy()
        self.filled = 0
        self.seen = 0

    @abstractmethod
    def update(self, index: Tensor, y: Tensor) -> None:
        """Offer the samples of one batch, ids (B,) on the CPU and labels (B,) on any device, in order."""

    @abstractmethod
    def selection(self) -> Selection:
        """What is remembered, with the inclusion probability of each and the weight 1 / probability."""

    def draw(self, count: int) -> Tensor:
        """At most `count` different remembered ids (k,), uniformly at random."""
        if self.filled <= count:
            return self.index[: self.filled].clone()
        if self.filled < 8 * count:
            return self.index[torch.randperm(self.filled, generator=self.generator)[:count]]
        while True:
            slots = torch.randint(self.filled, (count,), generator=self.generator)
            if len(set(slots.tolist())) == count:
                return self.index.index_select(0, slots)

    def state_dict(self) -> dict[str, Any]:
        """Ids, counts and the generator: plain tensors and numbers."""
        return {
            "index": self.index[: self.filled].clone(),
            "seen": self.seen,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.filled, self.seen = len(state["index"]), state["seen"]
        self.index[: self.filled] = state["index"]
        self.generator.set_state(state["generator"])

    def __len__(self) -> int:
        return self.filled
