"""A long job over an executor, with a folder for what is finished of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clframe.errors import ClframeError
from clframe.executors import Executor
from clframe.selection.engine import Engine, Tell
from clframe.selection.engine_folder import discard, looked_at, opened


@contextmanager
def working(executor: Executor, work: str | Path | None, key: str, tell: Tell | None) -> Iterator[Engine]:
    """An engine for the job with this key, whose executor ends with it; the folder stays, if anything is finished in it.

    Args:
        executor: does the pieces.
        work: the folder; None for none.
        key: says what the job is.
        tell: progress.

    Raises:
        RunError: the folder belongs to another job, holds other files, or cannot be written.

    Example:
        >>> from clframe.executors import InProcess
        >>> with working(InProcess(), None, "a job", None) as engine:
        ...     engine.alone
        True
    """
    folder = None if work is None else opened(work, key)
    try:
        with executor:
            yield Engine(executor, folder, tell)
    except KeyboardInterrupt as stop:
        if folder is not None:
            stop.add_note(f"What is finished is in {folder}; the same command goes on from there.")
        raise
    except ClframeError:
        if folder is not None and not looked_at(folder, key):  # nothing is finished
            discard(folder)
        raise
