"""Reservoir sampling: a uniform sample of everything seen, whatever the length of the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from clframe.selection.memory import Memory, last_of_each
from clframe.types import Selection

if TYPE_CHECKING:
    from torch import Tensor


class Reservoir(Memory):
    """Every sample seen so far is in the memory with the same probability, size / seen.

    The i-th sample offered (i = 1, 2, ...) takes slot i while i <= size; after that it draws j uniformly from 1..i and
    replaces slot j if j <= size. Cost per batch does not depend on `size`.

    Example:
        >>> memory = Reservoir(3, torch.Generator().manual_seed(0))
        >>> slots = memory.update(torch.arange(100), torch.zeros(100, dtype=torch.int64))
        >>> len(memory), memory.selection().probability.tolist()
        (3, [0.03, 0.03, 0.03])

    Reference: Vitter, "Random sampling with a reservoir", 1985, algorithm R.
    """

    def update(self, index: Tensor, y: Tensor) -> Tensor:
        """Offer one batch."""
        ids = index.tolist()
        free = min(self.size - self.filled, len(ids))
        slots = list(range(self.filled, self.filled + free))
        self._slots[self.filled : self.filled + free] = ids[:free]
        self.filled += free
        self.seen += free
        if free == len(ids):
            return torch.tensor(slots, dtype=torch.int64)
        shares = torch.rand(len(ids) - free, generator=self.generator, dtype=torch.float64).tolist()
        for i, share in zip(ids[free:], shares, strict=True):
            self.seen += 1
            slot = int(share * self.seen)
            if slot < self.size:
                self._slots[slot] = i
            slots.append(slot if slot < self.size else -1)
        return last_of_each(slots)

    def selection(self) -> Selection:
        """A uniform sample of the stream: each with probability filled / seen."""
        probability = np.full(self.filled, self.filled / max(self.seen, 1))
        return Selection(self._slots[: self.filled].copy(), 1.0 / probability, probability)
