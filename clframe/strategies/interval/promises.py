"""The boxes of weights that were promised when tasks ended, and what holds a later box where promises must be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from clframe.models.interval import Box

if TYPE_CHECKING:
    from torch import Tensor


class Promises:
    """One box of weights (P,) for each task that has ended.

    Args:
        shared: one network answers for all tasks, so that it must lie in all their boxes; else each task has its own.

    Attributes:
        boxes: by task.

    Example:
        >>> held = Promises(shared=True)
        >>> held.keep(0, Box(torch.tensor([0.0]), torch.tensor([2.0])))
        >>> held.keep(1, Box(torch.tensor([1.0]), torch.tensor([3.0])))
        >>> held.limit(2).lower.item(), held.limit(2).upper.item()
        (1.0, 2.0)
    """

    def __init__(self, shared: bool) -> None:
        self.shared = shared
        self.boxes: dict[int, Box] = {}
        self._common: Box | None = None

    def keep(self, task: int, box: Box) -> None:
        """A task has ended, perhaps once more."""
        again = task in self.boxes
        self.boxes[task] = box
        boxes = list(self.boxes.values()) if again or self._common is None else [self._common, box]
        self._common = Box(torch.stack([b.lower for b in boxes]).amax(0), torch.stack([b.upper for b in boxes]).amin(0))

    def limit(self, task: int) -> Box | None:
        """What must hold whatever answers for this task; None where nothing was promised yet."""
        return self._common if self.shared else self.boxes.get(task)

    def ends(self) -> dict[int, list[Tensor]]:
        """Both ends of each box, by task: the state."""
        return {t: [box.lower, box.upper] for t, box in self.boxes.items()}

    def put_back(self, ends: dict[int, list[Tensor]], device: torch.device) -> None:
        """Put back what `ends` returned."""
        self.boxes, self._common = {}, None
        for task, both in ends.items():
            self.keep(task, Box(*(end.to(device, copy=True) for end in both)))
