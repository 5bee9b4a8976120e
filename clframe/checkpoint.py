"""One file that holds a run's declared state: atomic, plain tensors and numbers, loadable with `weights_only=True`."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from clframe.errors import RunError
from clframe.seeding import global_state, set_global_state
from clframe.types import Stateful, Step

FORMAT = 1


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, after the run was saved. `number` is the signal."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(f"stopped by signal {number}")
        self.number = number


class Checkpoint:
    """Saves the state of a run now and then, between two updates.

    Args:
        path: the file, or None for a run that keeps nothing.
        identity: hash of the spec; a file with another one is refused.
        members: what to save, by name.
        seconds: time between two saves.
        every: updates between two saves, instead of `seconds`.
        progress: called with the updates done, after each; if it returns true, the run saves and stops.

    Attributes:
        step: the last update whose effects the state holds; None at the start of the stream.
        state: the file's content, if there was a file.

    Raises:
        RunError: a damaged file, or one of another spec.
    """

    def __init__(
        self,
        path: Path | None,
        identity: str,
        members: Mapping[str, Stateful],
        *,
        seconds: float = 30.0,
        every: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        self.path, self.identity, self.members = path, identity, members
        self._seconds, self._every, self._progress = seconds, every, progress
        self._last = time.monotonic()
        self._signal: int | None = None
        self.state = load(path, identity) if path is not None and path.exists() else None
        self.step = Step(*self.state["step"]) if self.state is not None else None

    def due(self, step: Step) -> bool:
        """Whether to save after this update: enough time has passed, or somebody asked the run to stop."""
        if self._progress is not None and self._progress(step.n):
            self._signal = signal.SIGTERM
        if self._signal is not None:
            return True
        if self.path is None:
            return False
        if self._every is not None:
            return step.n % self._every == 0
        return time.monotonic() - self._last >= self._seconds

    def save(self, step: Step) -> None:
        """Write the state after `step`; the file is either the old one or the new one, never half of one.

        Raises:
            Interrupted: somebody asked the run to stop; the state is safe.
            RunError: the disk is full; the old file is intact.
        """
        if self.path is not None:
            state = {name: member.state_dict() for name, member in self.members.items()}
            write(self.path, {"format": FORMAT, "identity": self.identity, "step": list(step), "rng": global_state(), **state})
            self.step, self._last = step, time.monotonic()
        if self._signal is not None:
            raise Interrupted(self._signal)

    def restore(self) -> None:
        """Put the file's state back into every member and into torch's global generators."""
        assert self.state is not None
        for name, member in self.members.items():
            member.load_state_dict(self.state[name])
        set_global_state(self.state["rng"])
        self.state = None

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Inside, Ctrl-C and SIGTERM save at the end of the update in progress and then stop; a second Ctrl-C stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: object) -> None:
            if number == self._signal == signal.SIGINT:
                raise KeyboardInterrupt
            self._signal = number

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Save a plain state atomically: a temporary file beside it, flushed to the disk, then renamed.

    Raises:
        RunError: no space, or no permission; what was there is intact.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(path, error) from error


def load(path: Path, identity: str | None = None) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        RunError: a damaged file, another format, or the checkpoint of another spec.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        format_, found = state["format"], state["identity"]
    except Exception as error:
        raise RunError(
            f"checkpoint {str(path)!r} must be a complete file; it cannot be read ({type(error).__name__}). "
            "Delete it to start this run again from its beginning, or put back a copy."
        ) from error
    if format_ != FORMAT:
        raise RunError(
            f"checkpoint {str(path)!r} must be of format {FORMAT}; got {format_!r}. Use the version of clframe that wrote it."
        )
    if identity is not None and found != identity:
        raise RunError(
            f"checkpoint {str(path)!r} must belong to this run; it belongs to another spec ({found[:12]}, not {identity[:12]}). "
            "Choose another directory with --out, or give the options of the run that is in it."
        )
    return state


def disk_error(path: Path, error: BaseException) -> RunError:
    """The sentence for a write that failed."""
    full = getattr(error, "errno", None) == errno.ENOSPC or "No space" in str(error) or "file write failed" in str(error)
    why = "the disk is full" if full else str(error)
    return RunError(
        f"{str(path)!r} must be writable; {why}. Make room or choose another --out, then run the same command again: "
        "what had been saved is intact."
    )
