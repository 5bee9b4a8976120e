"""All alarms on the rows of one generation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.errors import DataError, bad_option
from clframe.generations.alarms import on_neighbours, on_numbers, on_texts
from clframe.generations.alarms.alarm import Alarm, judged
from clframe.generations.alarms.data import Data
from clframe.generations.alarms.measured import Measured
from clframe.generations.alarms.thresholds import Thresholds

Tell = Callable[[int, int], object]
Part = Callable[[Data, Thresholds], Iterator[Measured]]
NAMES: dict[Part, tuple[str, ...]] = {
    on_numbers.of_losses: ("loss_since_first", "loss_since_last"),
    on_numbers.of_variance: ("variance_ratio", "determinant_ratio"),
    on_numbers.of_cells: ("cell_entropy", "empty_cells", "starved_mass", "tail_coverage"),
    on_numbers.of_near_copies: ("near_copies",),
    on_neighbours.of_neighbours: ("density", "coverage"),
    on_neighbours.of_mauve: ("mauve",),
    on_neighbours.of_vendi: ("vendi_ratio",),
    on_numbers.of_exact_copies: ("exact_copies",),
    on_texts.of_texts: ("distinct_1", "distinct_2", "distinct_3", "gram_entropy"),
}
WITHOUT_EMBEDDINGS = (on_numbers.of_losses, on_numbers.of_exact_copies, on_texts.of_texts)


@final
@dataclass(frozen=True)
class Checked:
    """The alarms of one generation.

    Attributes:
        generation: that was looked at.
        alarms: in the order of the thresholds.
        left_out: names of alarms that are on, but for which there is nothing to look at.
    """

    generation: int
    alarms: list[Alarm]
    left_out: list[str]

    @property
    def rings(self) -> bool:
        """Whether any does."""
        return any(alarm.rings for alarm in self.alarms)


def check(data: Data, limits: Thresholds | None = None, tell: Tell | None = None) -> Checked:
    """Measure what the data allows, and say what rings.

    Each number is compared with what chance alone gives, at the level of all alarms over their number (Bonferroni), and with its
    threshold: it rings where it is worse than both. So on a fresh sample of real data any alarm rings with at most the probability
    `level`, and with many rows a difference that is certain but small rings none.

    Args:
        data: real rows and generated ones.
        limits: thresholds; by default those of `Thresholds()`.
        tell: progress, called with (measures done, measures).

    Raises:
        DataError: embeddings of different widths, or that are not finite; held-out losses of different rows.
        OptionError: too few exchanges for the level.

    Example:
        >>> random = np.random.default_rng(0)
        >>> real, made = random.normal(size=(2000, 4)).astype(np.float32), random.normal(size=(500, 4)).astype(np.float32)
        >>> limits = Thresholds(mauve=None, density=None, coverage=None, vendi_ratio=None)
        >>> check(Data(real=real, made=made), limits).rings
        False
        >>> [one.name for one in check(Data(real=real, made=made / 2), limits).alarms if one.rings][:2]
        ['variance_ratio', 'determinant_ratio']

    Reference: Bonferroni, "Teoria statistica delle classi e calcolo delle probabilità", 1936; each alarm has its own.
    """
    limits = limits or Thresholds()
    _check(data)
    parts = [part for part, names in NAMES.items() if any(getattr(limits, name) is not None for name in names)]
    found: list[Measured] = []
    for done, part in enumerate(parts):
        if part in WITHOUT_EMBEDDINGS or (data.made is not None and data.real is not None):
            found += [one for one in part(data, limits) if getattr(limits, one.name) is not None]
        if tell is not None:
            tell(done + 1, len(parts))
    least = math.ceil(len(found) / limits.level)
    if found and limits.exchanges + 1 < least:
        rule = f"at least {least - 1:,} for {len(found)} alarms at level {limits.level:g}"
        raise bad_option("exchanges", rule, limits.exchanges, f"Give exchanges: {least - 1}.")
    alarms = [_judged(one, limits, limits.level / len(found)) for one in found]
    on = {name for names in NAMES.values() for name in names if getattr(limits, name) is not None}
    return Checked(data.generation, alarms, sorted(on - {one.name for one in found}))


def _judged(one: Measured, limits: Thresholds, level: float) -> Alarm:
    return judged(one.name, one.value, one.chance, getattr(limits, one.name), level, one.means, bad=one.bad)


def _check(data: Data) -> None:
    given = {name: x for name in ("real", "made", "outside") if (x := getattr(data, name)) is not None}
    for name, x in given.items():
        if x.ndim != 2 or not len(x) or not np.isfinite(x).all():
            raise DataError(
                f"{name} embeddings must be finite numbers (n, d) with rows; got {x.shape}. Mend or leave out the rows."
            )
    if len({x.shape[1] for x in given.values()}) > 1:
        told = ", ".join(f"{name} {x.shape[1]:,}" for name, x in given.items())
        raise DataError(f"embeddings must have the same numbers in a row; got {told}. Embed all with one model.")
