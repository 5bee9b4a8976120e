"""The machines of a Ray cluster, or the processors of this one through Ray."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from clframe.checkpoint import Interrupted
from clframe.errors import ClframeError, RunError
from clframe.executors.cluster import ANSWER_SECONDS, connect, host_and_port, library, look_around, surroundings
from clframe.executors.far_side import Home, Sent, sent
from clframe.executors.task import Ended, Outcome, Progress, Task

T = TypeVar("T")

STOP_SECONDS = 300.0
"""After Ctrl-C, for runs in progress to come to the end of their update and save."""
RETRIES = 3
"""Times that a task is given out again after its machine or process was lost; a run then goes on from its checkpoint."""


class OnRay:
    """Sends every task to a Ray cluster, which does as many at a time as it has processors for.

    A task reserves as many processors as it says in an attribute `cores` (1 without it), at most those of the largest machine.
    An error of a task is its outcome and is never tried again. A task whose machine or process was lost is given out again up to
    three times, which is exact: a run goes on from its checkpoint, or from its start.

    At the start of each round every machine must have the same clframe and torch, and must see the directory that the tasks
    write to; tasks say it in an attribute `out`. What a task writes is not copied.

    Args:
        address: "ray://HOST:PORT"; None takes the cluster that RAY_ADDRESS names or that runs on this machine, else starts one
            here and ends it at the end.

    Raises:
        MissingExtraError: Ray is not installed.
        OptionError: an address of another form.
    """

    def __init__(self, address: str | None = None) -> None:
        library()
        named = os.environ.get("RAY_ADDRESS", "")
        self.address = named if address is None and named.startswith("ray://") else address
        if self.address is not None:
            host_and_port(self.address)
        self._connected = False
        self._given = 0
        self._known: set[str] = set()
        self._things: Sent | None = None
        self._board: Any = None

    def __call__(self, tasks: Sequence[Task[T]], progress: Progress | None = None, ended: Ended | None = None) -> list[Outcome[T]]:
        """See `Executor`.

        Raises:
            RunError: the cluster cannot be reached, or one of its machines is not fit for the tasks.
        """
        if not tasks:
            return []
        ray, outcomes = library(), dict[int, Outcome[T]]()
        refs, first = self._give_out(tasks), self._given - len(tasks)
        place = {ref: i for i, ref in enumerate(refs)}
        pending, read = list(refs), None
        try:
            while pending:
                done, pending = ray.wait(pending, timeout=0.3)
                if pending:
                    more, pending = ray.wait(pending, num_returns=len(pending), timeout=0)
                    done = done + more
                for i in sorted(place[ref] for ref in done):
                    outcomes[i] = _outcome(tasks[i], refs[i])
                    if ended is not None:
                        ended(i, outcomes[i])
                if progress is not None:
                    read = self._report(read, tasks, first, progress)
            if progress is not None:  # what was told since the last question
                ray.wait([read], timeout=1.0)
                ray.wait([read := self._report(read, tasks, first, progress)], timeout=1.0)
                self._report(read, tasks, first, progress)
        except BaseException:
            with suppress(ray.exceptions.RayError, ConnectionError):
                self._stop({first + place[ref]: ref for ref in pending})
            raise
        return [outcomes[i] for i in range(len(tasks))]

    def _give_out(self, tasks: Sequence[Task[Any]]) -> list[Any]:
        """Send the tasks, numbered on from those of earlier rounds."""
        ray = library()
        if self._things is None:
            self._connected, self._things = connect(self.address), sent()
            self._board = ray.remote(num_cpus=0, max_restarts=-1)(self._things.board).remote()
        home: Home = {"directory": os.getcwd(), "path": [os.path.abspath(place) for place in sys.path]}
        most = look_around(self._things.look, home, tasks, self._known)
        do = ray.remote(max_retries=RETRIES, retry_exceptions=False, runtime_env=surroundings())(self._things.do)
        refs = []
        for number, task in enumerate(tasks, self._given):
            cores = max(1, int(getattr(task, "cores", 1)))
            here = do.options(num_cpus=min(cores, most) if most else cores, name=task.name)
            refs.append(here.remote(home, self._board, number, ray.cloudpickle.dumps(_resolved(task))))
        self._given += len(tasks)
        return refs

    def _report(self, read: Any, tasks: Sequence[Task[Any]], first: int, progress: Progress) -> Any:
        """Tell what the board has answered, and ask again; the answer is not waited for."""
        ray = library()
        if read is None or not ray.wait([read], timeout=0)[0]:
            return self._board.read.remote() if read is None else read
        with suppress(ray.exceptions.RayError):
            for number, (n, total) in sorted(ray.get(read).items()):
                if first <= number < first + len(tasks):
                    progress(tasks[number - first].name, n, total)
        return self._board.read.remote()

    def _stop(self, pending: Mapping[int, Any]) -> None:
        """Runs in progress save after their update and stop; those that have not begun are called off."""
        ray = library()
        begun = ray.get(self._board.stop.remote(), timeout=ANSWER_SECONDS)
        for number, ref in pending.items():
            if number not in begun:
                ray.cancel(ref)
        running = [ref for number, ref in pending.items() if number in begun]
        if running:
            ray.wait(running, num_returns=len(running), timeout=STOP_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._connected:
            library().shutdown()
        elif self._board is not None:
            library().kill(self._board)
        self._connected, self._things, self._board = False, None, None


def _resolved(task: Any) -> Any:
    """A task that writes to a relative path is sent with the whole one: the working directory may not exist there."""
    out = getattr(task, "out", None)
    if isinstance(out, Path) and not out.is_absolute() and dataclasses.is_dataclass(task):
        return dataclasses.replace(task, out=out.absolute())  # type: ignore[type-var]
    return task


def _outcome(task: Task[T], ref: Any) -> Outcome[T]:
    """What came of the task.

    Raises:
        Interrupted: it was stopped from outside, and has saved.
        Exception: a defect, or an error in the user's code.
    """
    ray = library()
    try:
        kind, value = pickle.loads(ray.get(ref))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        return RunError(
            f"{task.name!r} must keep its process until it is done; it was lost {RETRIES + 1} times ({type(error).__name__}), "
            "perhaps for want of memory. The same command goes on from what it saved."
        )
    if kind == "stopped":
        raise Interrupted(signal.SIGTERM if value is None else value)
    outcome: T | ClframeError = value
    return outcome
