"""Work that stops at marked places and goes on when it is told to: a loop of somebody else's, one iteration at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Turns:
    """Runs a function up to its next `pause`, and then no further until it is told to.

    The function runs in a thread of its own, but never at the same time as whoever calls `advance`: one of both always waits for
    the other. So it needs no locks, and what it does is what it would do in one go.

    Args:
        work: calls `pause` on what it is given, wherever it may stop.

    Example:
        >>> def count(turns):
        ...     for n in range(2):
        ...         print(n)
        ...         turns.pause()
        >>> turns = Turns(count)
        >>> turns.advance()
        0
        True
        >>> turns.advance(), turns.advance()
        1
        (True, False)
    """

    def __init__(self, work: Callable[[Turns], object]) -> None:
        self._go, self._came = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._stopped = self.over = self._begun = False
        self._thread = threading.Thread(target=self._run, args=(work,), name="avalanche", daemon=True)

    def advance(self) -> bool:
        """Go on to the next pause; False when the work is over. What the work raises is raised here."""
        if self.over:
            return False
        if self._begun:
            self._go.release()
        else:
            self._begun = True
            self._thread.start()
        try:
            self._came.acquire()
        except BaseException:  # Ctrl-C: let the work come to its pause and end there
            self.close()
            raise
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return not self.over

    def pause(self) -> None:
        """Wait until `advance` is called again; for the work alone."""
        self._came.release()
        self._go.acquire()
        if self._stopped:
            raise _Stopped

    def close(self) -> None:
        """End the work at its next pause; nothing happens where it is over or has not begun."""
        self._stopped = True
        if self._begun and not self.over:
            self._go.release()
            self._thread.join()
        self.over = True

    def _run(self, work: Callable[[Turns], object]) -> None:
        try:
            work(self)
        except _Stopped:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self.over = True
            self._came.release()


class _Stopped(BaseException):
    """Unwinds the work when nobody will tell it to go on."""
