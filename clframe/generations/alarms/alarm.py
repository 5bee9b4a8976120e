"""One alarm: a number, what chance alone gives, a threshold, and whether it rings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class Alarm:
    """What was measured, and whether it rings.

    Attributes:
        name: of the threshold in the file of thresholds.
        value: what was measured.
        low, high: between these lie the values that chance alone gives, all but a share `level` at the bad end and as much at the
            other.
        threshold: the value must be worse than this to ring.
        p: share of the values of chance that are at least as bad as this one, itself counted.
        rings: the value is worse than the threshold, and p is at most the level of this alarm.
        means: in words.
    """

    name: str
    value: float
    low: float
    high: float
    threshold: float
    p: float
    rings: bool
    means: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def judged(name: str, value: float, chance: Floats, threshold: float, level: float, means: str, *, bad: str) -> Alarm:
    """Ring where the value is worse than the threshold, and chance alone seldom gives one as bad.

        p = (1 + #{b: s_b at least as bad as s}) / (1 + B),   rings  <=>  s worse than the threshold and p <= level

    Under exchange (see `exchange`) P(p <= level) <= level exactly, for any number B of exchanges.

    Args:
        name, threshold, means: see `Alarm`.
        value: s.
        chance: s_b (B,).
        level: probability of a false alarm.
        bad: "low" or "high".

    Example:
        >>> one = judged("variance_ratio", 0.5, np.linspace(0.9, 1.1, 99), 0.9, 0.05, "less varied", bad="low")
        >>> one.rings, one.p, round(one.low, 2)
        (True, 0.01, 0.91)

    Reference: Phipson, Smyth, "Permutation p-values should never be zero", 2010.
    """
    sign = {"low": -1.0, "high": 1.0}[bad]
    as_bad = ~(sign * chance < sign * value - 1e-12 * abs(value))  # where there is no number, too
    p = (1 + int(as_bad.sum())) / (1 + len(chance))
    low, high = np.nanquantile(chance, [level, 1 - level], method="inverted_cdf")
    rings = sign * value > sign * threshold and p <= level
    return Alarm(name, float(value), float(low), float(high), threshold, p, bool(rings), means)
