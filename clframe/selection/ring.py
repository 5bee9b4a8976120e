"""Ring buffers: the newest samples of every class."""

from __future__ import annotations

from typing import final

from clframe.selection.by_quota import ByQuota


@final
class Ring(ByQuota):
    """Keeps the newest samples of each class, floor(size / classes seen) of each: a ring buffer a class.

    Cost per sample does not depend on the stream; a sample that gives way is found in time proportional to its class's quota.

    Example:
        >>> import torch
        >>> memory = Ring(4, torch.Generator())
        >>> slots = memory.update(torch.arange(100), torch.tensor([0] * 90 + [1] * 10))
        >>> sorted(memory.selection().index.tolist())
        [88, 89, 98, 99]

    Reference: Chaudhry et al., "On tiny episodic memories in continual learning", 2019, section 4.1 (ring buffer).
    Differences: 1. the quota follows the classes seen so far, where the paper divides by the classes of the whole stream.
    """

    def leaving(self, places: list[int]) -> int:
        """The oldest."""
        return 0

    def replaces(self, places: list[int]) -> int | None:
        """The oldest."""
        return 0
