"""One task after another, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from clframe.errors import ClframeError
from clframe.executors.task import Ended, Outcome, Progress, Task

T = TypeVar("T")


class InProcess:
    """Does the tasks in their order."""

    def __call__(self, tasks: Sequence[Task[T]], progress: Progress | None = None, ended: Ended | None = None) -> list[Outcome[T]]:
        """See `Executor`."""
        outcomes: list[Outcome[T]] = []
        for position, task in enumerate(tasks):
            try:
                outcomes.append(task(None if progress is None else partial(progress, task.name)))
            except ClframeError as error:
                outcomes.append(error)
            if ended is not None:
                ended(position, outcomes[-1])
        return outcomes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to end."""
