"""The subnets of finished tasks: a bit a weight, and what is private to each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from clframe.errors import bad_option
from clframe.strategies.part import bytes_of
from clframe.strategies.sparse.bits import number, pack, unpack

if TYPE_CHECKING:
    from torch import Tensor


class Archive:
    """Masks as bits and private values of finished tasks, beside one dense store that they share.

    Args:
        like: a tensor of the shape and on the device of each masked weight, by name.

    Raises:
        OptionError: a task that is not finished.

    Example:
        >>> archive = Archive({"w": torch.zeros(2, 2)})
        >>> archive.keep(0, {"w": torch.eye(2).bool()}, {})
        >>> archive.weights(0, {"w": torch.full((2, 2), 3.0)})["w"].tolist()
        [[3.0, 0.0], [0.0, 3.0]]
    """

    def __init__(self, like: Mapping[str, Tensor]) -> None:
        self._like = dict(like)
        self._held: dict[int, tuple[Tensor, dict[str, Tensor]]] = {}
        self._last: tuple[int, dict[str, Tensor]] | None = None

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, task: object) -> bool:
        return task in self._held

    @property
    def tasks(self) -> list[int]:
        """Finished tasks, in the order of their numbers."""
        return sorted(self._held)

    def keep(self, task: int, masks: Mapping[str, Tensor], private: Mapping[str, Tensor]) -> None:
        """A task is finished, or finished again."""
        self._held[task], self._last = (pack(masks), dict(private)), None

    def masks(self, task: int) -> dict[str, Tensor]:
        """The masks of a task, by name."""
        return unpack(self._of(task)[0], self._like)

    def finished(self) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Each task with its masks, in the order in which they finished; a task that came back keeps its first place."""
        return ((task, self.masks(task)) for task in self._held)

    def private(self, task: int) -> dict[str, Tensor]:
        """What is private to a task: biases, normalisation."""
        return self._of(task)[1]

    def weights(self, task: int, store: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All that the backbone computes with for a task: D M_t, and what is private to it. The last one asked for is kept."""
        if self._last is None or self._last[0] != task:
            masks = self.masks(task)
            self._last = task, {**{n: store[n] * number(masks[n], store[n]) for n in self._like}, **self.private(task)}
        return self._last[1]

    def used(self) -> dict[str, Tensor]:
        """The weights that some task owns: the union of all masks."""
        found = {n: torch.zeros_like(v, dtype=torch.bool) for n, v in self._like.items()}
        for task in self._held:
            for n, mask in self.masks(task).items():
                found[n] |= mask
        return found

    def forget_last(self) -> None:
        """What `weights` keeps is made anew."""
        self._last = None

    @property
    def bytes(self) -> int:
        """Memory of bits and private values."""
        return bytes_of([list(held) for held in self._held.values()])

    def state(self) -> list[dict[str, Any]]:
        """For a checkpoint."""
        return [{"task": t, "bits": bits, "private": dict(p)} for t, (bits, p) in self._held.items()]

    def load(self, state: list[dict[str, Any]]) -> None:
        """Put back what `state` returned."""
        place = next(iter(self._like.values())).device
        self._last = None
        self._held = {t["task"]: (t["bits"].clone(), {n: v.to(place).clone() for n, v in t["private"].items()}) for t in state}

    def _of(self, task: int) -> tuple[Tensor, dict[str, Tensor]]:
        if task not in self._held:
            raise bad_option("task", f"one that is finished: {self.tasks}", task, "Train it first.")
        return self._held[task]
