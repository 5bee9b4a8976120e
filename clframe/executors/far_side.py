"""What an `OnRay` sends to the machines of a cluster: a board, a look around, and the doing of one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

TELL_SECONDS = 0.5
"""Between two messages of a task about its progress."""
ANSWER_SECONDS = 30.0
"""A task that cannot reach the board for so long goes on without it."""


class Home(TypedDict):
    """What a machine takes over from the process that sends the tasks.

    Attributes:
        directory: the working directory, where it exists there; relative paths and names such as papers/own.py:method mean it.
        path: where Python looks for modules, after where it looks there anyway.
    """

    directory: str
    path: list[str]


class Sent(NamedTuple):
    """What Ray is given: a class and two functions.

    Attributes:
        board: an actor that knows how far each task is and whether to stop.
        look: (home, token files) -> versions, and the first token file that is not there.
        do: (home, board, number, task as bytes) -> (what came of it, value) as bytes; "done", "failed" or "stopped".
    """

    board: Any
    look: Any
    do: Any


def sent() -> Sent:
    """The class and the functions; they are made in here, so that they travel as code: they also run where clframe is missing."""

    def settle(home: Home) -> None:
        import os
        import sys

        if os.path.isdir(home["directory"]):
            os.chdir(home["directory"])
        sys.path += [place for place in home["path"] if place not in sys.path and os.path.exists(place)]

    def look(home: Home, tokens: Sequence[str], seconds: float) -> dict[str, str | None]:
        import os
        import time
        from importlib import metadata

        settle(home)
        found: dict[str, str | None] = {}
        try:
            import clframe

            found["clframe"] = clframe.__version__
        except ImportError:
            found["clframe"] = None
        try:
            found["torch"] = metadata.version("torch")
        except metadata.PackageNotFoundError:
            found["torch"] = None
        end = time.monotonic() + seconds
        while any(not os.path.exists(token) for token in tokens) and time.monotonic() < end:
            time.sleep(0.1)
        found["unseen"] = next((token for token in tokens if not os.path.exists(token)), None)
        return found

    def do(home: Home, board: Any, number: int, task: bytes) -> bytes:
        settle(home)
        from clframe.executors.far_side import carry_out

        return carry_out(board, number, task)

    return Sent(_board(), look, do)


def _board() -> Any:
    class Board:
        """How far every task is, by number, and whether to stop."""

        def __init__(self) -> None:
            self.told: dict[int, tuple[int, int]] = {}
            self.begun: set[int] = set()
            self.stopped = False

        def begin(self, number: int) -> bool:
            self.begun.add(number)
            return self.stopped

        def tell(self, number: int, n: int, total: int) -> bool:
            self.begun.add(number)
            self.told[number] = (n, total)
            return self.stopped

        def read(self) -> Mapping[int, tuple[int, int]]:
            told, self.told = self.told, {}
            return told

        def stop(self) -> set[int]:
            self.stopped = True
            return self.begun

    return Board


def carry_out(board: Any, number: int, task: bytes) -> bytes:
    """On a machine: do the task, tell the board now and then, and stop when it says so.

    A task does not wait for the board in Ray's own way, which would lend its processor to another task meanwhile.
    """
    import pickle

    from clframe.checkpoint import Interrupted
    from clframe.errors import ClframeError

    outcome: tuple[str, Any]
    try:
        if _answer(board.begin.remote(number).future(), ANSWER_SECONDS):
            raise Interrupted
        teller = _Teller(board, number)
        outcome = ("done", pickle.loads(task)(teller))
        teller.wait()
    except ClframeError as error:
        outcome = ("failed", error)
    except KeyboardInterrupt as stop:
        outcome = ("stopped", getattr(stop, "number", None))
    return pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)


class _Teller:
    """Tells the board how far a task is, and whether it said to stop the last time."""

    def __init__(self, board: Any, number: int) -> None:
        self._board, self._number = board, number
        self._asked: Any = None
        self._last = float("-inf")
        self._stopped = False

    def __call__(self, n: int, total: int) -> bool:
        import time

        if self._asked is not None and self._asked.done():
            self._stopped, self._asked = self._stopped or _answer(self._asked, 0), None
        now = time.monotonic()
        if n == total or (self._asked is None and now - self._last >= TELL_SECONDS):
            self._last, self._asked = now, self._board.tell.remote(self._number, n, total).future()
        return self._stopped

    def wait(self) -> None:
        """Until the last message has arrived, so that it is told before the outcome."""
        if self._asked is not None:
            _answer(self._asked, 1.0)


def _answer(asked: Any, seconds: float) -> bool:
    """What the board answers; where it is lost or out of reach, the task goes on."""
    from ray.exceptions import RayError

    try:
        return bool(asked.result(timeout=seconds))
    except (RayError, TimeoutError):
        return False
