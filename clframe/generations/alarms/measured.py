"""A number with what chance alone gives, before it is judged."""

from __future__ import annotations

from typing import NamedTuple

from clframe.generations.alarms.alarm import Floats


class Measured(NamedTuple):
    """One number.

    Attributes:
        name: of its threshold.
        value: what was measured.
        chance: what chance alone gives (B,).
        bad: the end at which it is bad, "low" or "high".
        means: in words.
    """

    name: str
    value: float
    chance: Floats
    bad: str
    means: str
