"""A pool of processes on this machine, kept for as many rounds of tasks as there are."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import util
from types import TracebackType
from typing import Any, Self, TypeVar

from clframe.checkpoint import Interrupted
from clframe.errors import ClframeError, RunError
from clframe.executors.in_process import InProcess
from clframe.executors.task import Ended, Outcome, Progress, Task

T = TypeVar("T")

CELLS = 3
"""Of every worker, on the board: the position of its task, updates done, updates in all. The last cell says whether to stop."""


class Processes:
    """Does `jobs` tasks at a time, each in a process of its own; a single one is done here.

    A worker starts as a fresh interpreter and imports torch, which takes seconds: the pool is made once, when there is something
    to share out.

    Args:
        jobs: processes at most.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._pool: ProcessPoolExecutor | None = None
        self._board: Any = None

    def __call__(self, tasks: Sequence[Task[T]], progress: Progress | None = None, ended: Ended | None = None) -> list[Outcome[T]]:
        """See `Executor`.

        Raises:
            RunError: a process was killed.
        """
        if self._pool is None and (len(tasks) <= 1 or self.jobs == 1):
            return InProcess()(tasks, progress, ended)
        pool = self._pool if self._pool is not None else self._open()
        self._board[:-1] = [-1] * (CELLS * self.jobs)
        futures: list[Future[T]] = [pool.submit(_one, i, task, os.getpid()) for i, task in enumerate(tasks)]
        place = {future: i for i, future in enumerate(futures)}
        pending: set[Future[T]] = set(futures)
        try:
            while pending:
                done, pending = wait(pending, timeout=0.2)
                if ended is not None:
                    for future in sorted(done, key=place.__getitem__):
                        ended(place[future], _outcome(future))
                if progress is not None:
                    self._report(tasks, progress)
        except KeyboardInterrupt:
            self._board[-1] = 1  # each run saves after the update in progress, and stops
            pool.shutdown(cancel_futures=True)
            raise
        return list(map(_outcome, futures))

    def _open(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        self._board = context.Array("q", CELLS * self.jobs + 1, lock=False)
        places = context.SimpleQueue()
        for place in range(self.jobs):
            places.put(place)
        self._pool = ProcessPoolExecutor(self.jobs, mp_context=context, initializer=_attach, initargs=(self._board, places))
        return self._pool

    def _report(self, tasks: Sequence[Task[Any]], progress: Progress) -> None:
        for start in range(0, CELLS * self.jobs, CELLS):
            position, n, total = self._board[start : start + CELLS]
            if 0 <= position < len(tasks) and total > 0:
                progress(tasks[position].name, n, total)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


_board: Any = None
_place = 0


def _attach(board: Any, places: Any) -> None:
    """In a worker: Ctrl-C is for the run in progress (which saves), not for a worker that waits."""
    global _board, _place
    _board, _place = board, CELLS * places.get()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    util.Finalize(None, _leave, exitpriority=-100)


def _leave() -> None:
    """The last thing that a worker does: to take torch apart again would cost it another second."""
    if sys.exc_info()[0] is None:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _one(position: int, task: Task[T], parent: int) -> T:
    def tell(n: int, total: int) -> bool:
        _board[_place : _place + CELLS] = (position, n, total)
        if os.getppid() != parent:
            os._exit(1)  # nobody is left to hand the result to; the checkpoint stands
        return bool(_board[-1])

    if _board[-1]:
        raise Interrupted
    return task(tell)


def _outcome(future: Future[T]) -> Outcome[T]:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, ClframeError):
        return error
    if isinstance(error, BrokenProcessPool):
        raise RunError(
            "every process must live until its runs are done; one was killed, perhaps for want of memory. "
            "The same command goes on from what was saved; give fewer jobs if it happens again."
        ) from error
    raise error
