"""What is done, and what does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias, TypeVar

from clframe.errors import ClframeError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Tell = Callable[[int, int], object]
"""Called by a task with (updates done, updates in all); if it returns true, the task saves and stops."""
Progress = Callable[[str, int, int], None]
"""Called with (name of the task, updates done, updates in all)."""
Ended = Callable[[int, Any], None]
"""Called with (position of the task, its outcome) when a task has come to its end."""

Outcome: TypeAlias = T | ClframeError


class Task(Protocol[T_co]):
    """Something to do, that can be sent to another process."""

    @property
    def name(self) -> str:
        """For progress and messages."""
        ...

    def __call__(self, tell: Tell | None) -> T_co:
        """Do it."""
        ...


class Executor(Protocol):
    """Does tasks. Every executor gives the same outcomes in the same order."""

    def __call__(self, tasks: Sequence[Task[T]], progress: Progress | None = None, ended: Ended | None = None) -> list[Outcome[T]]:
        """Do the tasks; of each what it returned, or the `ClframeError` that ended it. One that fails does not stop the others.

        Raises:
            Interrupted: Ctrl-C; every task that was being done has saved.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
