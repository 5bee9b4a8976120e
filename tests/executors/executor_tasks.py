"""Tasks that can be sent to another process, which finds this module by its name."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clframe.checkpoint import Interrupted
from clframe.errors import RunError
from clframe.executors import Tell

if TYPE_CHECKING:
    from clframe.eval.result import Result


@dataclass(frozen=True)
class Square:
    """A number's square; a negative one is refused, and 13 is a defect."""

    number: int
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return f"square of {self.number}"

    def __call__(self, tell: Tell | None) -> int:
        time.sleep(self.seconds)
        if tell is not None:
            tell(1, 2)
        if self.number < 0:
            raise RunError(f"number must be positive; got {self.number}.")
        if self.number == 13:
            raise ZeroDivisionError("thirteen")
        return self.number**2


@dataclass(frozen=True)
class Long:
    """Updates without an end: where it is told to stop, it saves and stops."""

    out: Path

    @property
    def name(self) -> str:
        return self.out.name

    def __call__(self, tell: Tell | None) -> None:
        assert tell is not None
        self.out.with_suffix(".begun").touch()
        for n in range(6000):
            time.sleep(0.01)
            if tell(n, 6000):
                self.out.write_text(str(n))
                raise Interrupted


@dataclass(frozen=True)
class Dying:
    """Takes its process with it, the first times."""

    out: Path
    times: int

    @property
    def name(self) -> str:
        return self.out.name

    def __call__(self, tell: Tell | None) -> int:
        before = len(self.out.read_text()) if self.out.exists() else 0
        if before < self.times:
            self.out.write_text("x" * (before + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return before


@dataclass(frozen=True)
class Where:
    """The working directory, an environment variable, and the processors that it asked for."""

    name: str = "where"
    cores: int = 1

    def __call__(self, tell: Tell | None) -> tuple[str, str | None, str | None]:
        return os.getcwd(), os.environ.get("CLFRAME_DATA"), os.environ.get("OMP_NUM_THREADS")


def equal(one: Result, two: Result) -> None:
    """All tables and metrics are equal; measured times differ."""
    import pandas as pd

    assert (one.strategy, one.seed, one.metrics) == (two.strategy, two.seed, two.metrics)
    for table in ("rows", "terms", "classes", "head_rows", "representation"):
        a, b = getattr(one, table), getattr(two, table)
        assert (a is None) == (b is None)
        if a is not None:
            pd.testing.assert_frame_equal(a.drop(columns="seconds", errors="ignore"), b.drop(columns="seconds", errors="ignore"))
