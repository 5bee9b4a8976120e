"""GDumb's sampler: the first samples of every class, greedily balanced."""

from __future__ import annotations

from typing import final

import torch

from clframe.selection.by_quota import ByQuota


@final
class Greedy(ByQuota):
    """Keeps samples as they come until their class has its quota, floor(size / classes seen); later ones are let go.

    When a new class needs room, a random sample of the largest class gives way.

    Example:
        >>> memory = Greedy(4, torch.Generator().manual_seed(0))
        >>> slots = memory.update(torch.arange(100), torch.tensor([0] * 90 + [1] * 10))
        >>> len(memory), sorted(memory.selection().index.tolist())[2:]
        (4, [90, 91])

    Reference: Prabhu, Torr, Dokania, "GDumb: a simple approach that questions our progress in continual learning", 2020,
    algorithm 1.
    """

    def leaving(self, places: list[int]) -> int:
        """A random one."""
        return int(torch.randint(len(places), (), generator=self.generator))

    def replaces(self, places: list[int]) -> int | None:
        """None: a class at its quota stays as it is."""
        return None
