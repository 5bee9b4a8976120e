"""What may be chosen: options and their ranges, as they stand in a study's YAML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clframe.errors import OptionError, bad_option

FORMS = "a list of values, {range: [low, high]} or {log-range: [low, high]}"


@dataclass(frozen=True)
class Choice:
    """One of a list of values, each as likely."""

    values: tuple[Any, ...]

    def at(self, u: float) -> Any:
        """The value at u of [0, 1)."""
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]

    def edge(self, value: Any) -> bool:
        """Whether the value is the smallest or the largest of at least three numbers."""
        if len(self.values) < 3 or not all(map(_number, self.values)):
            return False
        return value in (min(self.values), max(self.values))

    @property
    def extremes(self) -> tuple[Any, ...]:
        """What must be possible for all to be: every value."""
        return self.values


@dataclass(frozen=True)
class Range:
    """A number between two others, uniform in itself or in its logarithm; whole where both ends are.

    Attributes:
        low, high: the ends, both included.
        log: uniform in the logarithm.
    """

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only integers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def at(self, u: float) -> float:
        """The value at u of [0, 1): the quantile; rounded to four digits, so that it can be written down as it is."""
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        value = math.exp(math.log(low) + u * (math.log(high) - math.log(low))) if self.log else low + u * (high - low)
        if self.whole:
            return int(min(max(round(value), self.low), self.high))
        return min(max(float(f"{value:.4g}"), self.low), self.high)

    @property
    def extremes(self) -> tuple[float, ...]:
        """What must be possible for all to be: both ends."""
        return (self.low, self.high)

    def edge(self, value: float) -> bool:
        """Whether the value lies in the outer twentieth of the range, at either end."""
        low, high, at = (math.log(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return not low + 0.05 * (high - low) <= at <= high - 0.05 * (high - low)


Dimension = Choice | Range
Space = dict[str, Dimension]
"""Option -> its dimension: a run's option such as "lr", or a part's such as "ewc.strength"."""


def dimension(name: str, written: object) -> Dimension:
    """A dimension as it is written in YAML.

    Args:
        name: what messages call it.
        written: a list of values, {"range": [low, high]} or {"log-range": [low, high]}.

    Raises:
        OptionError: another form, an empty list, a value twice, ends in the wrong order or, for a log-range, not positive.

    Example:
        >>> dimension("lr", {"log-range": [0.001, 1.0]}).at(0.5)
        0.03162
        >>> dimension("batch_size", [10, 32]).at(0.5)
        32
        >>> dimension("epochs", {"range": [1, 4]}).at(0.99)
        4
    """
    if isinstance(written, list):
        if not written:
            raise bad_option(name, "a list with at least one value", written, "Name the values to try.")
        twice = next((v for i, v in enumerate(written) if v in written[:i]), None)
        if twice is not None:
            raise bad_option(name, "a list of different values", twice, "It is there twice: leave one out.")
        return Choice(tuple(written))
    if isinstance(written, Mapping) and len(written) == 1 and next(iter(written)) in ("range", "log-range"):
        (kind, ends), log = next(iter(written.items())), "log-range" in written
        if not (isinstance(ends, list) and len(ends) == 2 and all(_number(e) for e in ends) and ends[0] < ends[1]):
            raise bad_option(f"{name}: {kind}", "two numbers, the smaller first", ends, f"Write {{{kind}: [0.01, 1.0]}}.")
        if log and ends[0] <= 0:
            raise bad_option(f"{name}: {kind}", "positive at both ends", ends, f"Write {{{kind}: [0.001, 1.0]}}, or a range.")
        return Range(ends[0], ends[1], log)
    if isinstance(written, Mapping):
        raise bad_option(name, FORMS, written, "Write {log-range: [0.01, 0.1]}.")
    raise bad_option(name, FORMS, written, "A fixed value belongs to 'options' or to the method itself.")


def space(where: str, written: object) -> Space:
    """All dimensions of a mapping.

    Raises:
        OptionError: no mapping, or a dimension that is none; the message begins with `where`.
    """
    if not isinstance(written, Mapping):
        raise bad_option(where, "a mapping of options to what may be tried", written, "Write it as {lr: [0.01, 0.1]}.")
    found: Space = {}
    for name, values in written.items():
        try:
            found[str(name)] = dimension(str(name), values)
        except OptionError as error:
            raise OptionError(f"{where}.{error}") from error
    return found


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
