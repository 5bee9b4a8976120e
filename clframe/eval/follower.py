"""Sends to dashboards what is new in the record table: while a run goes on, or from a run that has been."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from clframe.eval.boards import About, Board, about, further, keep, opened, rows_of, summary, terms_of, values
from clframe.eval.records import Records
from clframe.eval.result import Result

SECONDS = 1.0
"""Between two looks at the record table."""


class Follower:
    """Reads rows that are new and sends them on. The loop knows nothing of it: it is told of progress, as a bar is.

    After update n it sends what belongs to updates before n, because the rows of n may not all be there yet. What was sent is
    written down, so that a run that is resumed goes on where its dashboards are.

    Args:
        boards: the dashboards.
        run: the run that they show.
        records: its record table.
    """

    def __init__(self, boards: dict[str, Board], run: About, records: Records) -> None:
        self.boards, self.run, self.records = boards, run, records
        self._next = time.monotonic() + SECONDS

    def telling(self, progress: Callable[[int, int], object] | None, total: int) -> Callable[[int], object] | None:
        """What is to be called after each update: this follower, and the progress that somebody asked for."""
        if not self.boards:
            return None if progress is None else lambda n: progress(n, total)

        def tell(n: int) -> object:
            self.look(n)
            return None if progress is None else progress(n, total)

        return tell

    def look(self, n: int) -> None:
        """Update n is done: where it is time, send all of the updates before it."""
        if time.monotonic() < self._next:
            return
        self.records.flush()
        self._send(n - 1)
        self._next = time.monotonic() + SECONDS

    def finish(self, result: Result) -> None:
        """The run is over: send the rest and what came out."""
        if not self.boards:
            return
        self._send(int(result.updates[-1]))
        finish(self.boards, result)
        keep(self.boards, self.run.folder)

    def _send(self, until: int) -> None:
        for board in self.boards.values():
            for n, found in values(*self.records.between(board.position, until)):
                board.log(n, found)
            board.position = max(board.position, until)
            board.flush()
        keep(self.boards, self.run.folder)


Following = AbstractContextManager[Follower]


@contextmanager
def following(boards: dict[str, Board], run: About, records: Records) -> Iterator[Follower]:
    """A follower; a run that stops leaves its dashboards readable, and open for more."""
    follower = Follower(boards, run, records)
    try:
        yield follower
    except BaseException:
        for board in boards.values():
            board.close(None)
        raise


def send(result: Result, to: str) -> None:
    """Send a run that has been to dashboards, from where each is: what it has already is not sent again.

    Args:
        result: the run, finished or not.
        to: the dashboards, such as "tensorboard" or "tensorboard,mlflow(experiment=digits)".

    Raises:
        OptionError: an unknown dashboard or option.
        MissingExtraError: its package is not installed.
    """
    run = about(result.spec, result.scenario, result.path)
    boards = opened(to, run)
    last = int(result.updates[-1])
    for board in boards.values():
        if board.position < last:
            for n, found in values(rows_of(result), terms_of(result.terms)):
                if n > board.position:
                    board.log(n, found)
            board.position = last
            if result.finished:
                finish({"": board}, result)
                continue
        board.close(None)
    keep(boards, run.folder)


def finish(boards: dict[str, Board], result: Result) -> None:
    """Send the tables that are complete at the end, and what came out."""
    for board in boards.values():
        for n, found in further(result):
            board.log(n, found)
        board.close(summary(result))
