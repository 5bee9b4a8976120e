"""The stability gap in numbers: how deep, how long, how large, boundary by boundary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from clframe.errors import bad_option
from clframe.eval.metrics.curves import Curves, Floats, mean_or_none


@dataclass(frozen=True, slots=True)
class Gap:
    """What happened to one experience while the one after a boundary was trained.

    Attributes:
        boundary: the experience that had just ended, from 0.
        experience: the experience looked at, at most `boundary`.
        before: A(E_i, f_|T_j|), accuracy at the boundary.
        lowest: the lowest accuracy before the next boundary.
        depth: `before` minus the lowest accuracy of the first `horizon` updates; negative if it only rose; NaN if unknown.
        recovery: updates from the boundary to the recovery; 0 if it never fell; infinite if none came by the next boundary.
        area: accuracy lost times updates, up to the recovery or the next boundary.
    """

    boundary: int
    experience: int
    before: float
    lowest: float
    depth: float
    recovery: float
    area: float


def gaps(curves: Curves, *, horizon: int | None = None, tolerance: float = 0.0) -> tuple[Gap, ...]:
    """One `Gap` for each boundary and each experience before it: k(k-1)/2 of them.

    Args:
        curves: the curves of one run.
        horizon: H, updates after the boundary in which the depth is sought; None for all of the next experience.
        tolerance: epsilon, the accuracy that a recovery may lack.

    Raises:
        OptionError: the horizon is below 1 or the tolerance outside [0, 1].

    Example:
        >>> from clframe.eval.metrics import dip
        >>> (gap,) = gaps(dip())
        >>> round(gap.depth, 12), gap.recovery, round(gap.area, 12)
        (0.6, inf, 0.8)
        >>> gaps(dip(), tolerance=0.25)[0].recovery
        2.0
    """
    t = _measure(curves, horizon, tolerance)
    return tuple(
        Gap(j, i, *(float(column[j, i]) for column in (t.before, t.lowest, t.depth, t.recovery, t.area)))
        for j in range(len(t.depth))
        for i in range(j + 1)
    )


class _Table(NamedTuple):
    """The fields of `Gap` (k-1, k-1): a row a boundary, a column an experience; NaN above the diagonal."""

    before: Floats
    lowest: Floats
    depth: Floats
    recovery: Floats
    area: Floats

    def pairs(self, column: Floats) -> Floats:
        """One column of the table, flat, over the pairs that count: those with something to lose, an accuracy above 0 before."""
        flat: Floats = column[np.tril_indices(len(column))]
        before = self.before[np.tril_indices(len(column))]
        return flat[~(before <= 0.0)]


def _measure(curves: Curves, horizon: int | None = None, tolerance: float = 0.0) -> _Table:
    if horizon is not None and horizon < 1:
        raise bad_option("horizon", "None or an integer of at least 1 update", horizon, "Give horizon=50.")
    if not 0.0 <= tolerance <= 1.0:
        raise bad_option("tolerance", "an accuracy in [0, 1]", tolerance, "Give tolerance=0.01 for one point.")
    size = max(curves.k - 1, 0)
    table = np.full((5, size, size), np.nan)
    for j in range(size):
        table[:, j, : j + 1] = _boundary(curves, j, horizon, tolerance)
    return _Table(*table)


def _boundary(curves: Curves, j: int, horizon: int | None, tolerance: float) -> Floats:
    """The five fields (5, j + 1) of every experience before boundary j, all at once."""
    start, stop = curves.ends[j], curves.ends[j + 1]
    rows = slice(*np.searchsorted(curves.times, [start, stop], side="right"))
    times, values = curves.times[rows, None], curves.accuracy[rows, : j + 1]
    before = curves.curve_matrix[j + 1, : j + 1]
    known = ~np.isnan(values)
    filled = np.where(known, values, np.inf)
    bottom, lowest = filled.argmin(axis=0), filled.min(axis=0)
    near = filled if horizon is None else filled[times[:, 0] <= start + horizon]
    deepest = near.min(axis=0, initial=np.inf)
    level = before - tolerance - 1e-12
    at = np.arange(len(times))[:, None]
    back = known & (values >= level) & (at >= bottom)
    last = np.where(back.any(axis=0), back.argmax(axis=0), len(times) - 1)
    recovery = np.where(back.any(axis=0), times[last, 0] - start, np.inf)
    recovery[lowest >= level] = 0.0
    evaluated = np.maximum.accumulate(np.where(known, times, start), axis=0)
    updates = np.diff(evaluated, axis=0, prepend=start)
    lost = np.where(known, np.maximum(before - values, 0.0) * updates, 0.0)
    area = np.where(at <= last, lost, 0.0).sum(axis=0)
    fields = np.stack([before, lowest, before - deepest, recovery, area])
    fields[1:, np.isnan(before) | np.isinf(lowest)] = np.nan
    fields[2, np.isinf(deepest)] = np.nan
    return fields


def recovery_table(curves: Curves, tolerance: float = 0.0) -> Floats:
    """Recovery times in updates (k-1, k-1): a row a boundary, a column an experience; infinite where it never recovered.

    tau[j, i] = n* - |T_j|, n* the first n from the lowest point of E_i on, before the next boundary, with
    A(E_i, f_n) >= A(E_i, f_|T_j|) - epsilon; epsilon = `tolerance`. 0 where it never fell below; NaN for i > j. Low is better.

    Raises:
        OptionError: the tolerance is outside [0, 1].

    Example:
        >>> from clframe.eval.metrics import dip, recovery_table
        >>> recovery_table(dip()).tolist(), recovery_table(dip(), tolerance=0.25).tolist()
        ([[inf]], [[2.0]])

    Reference: none published.

    Differences:
        1. "First n after the boundary with A >= A_before - epsilon" would be 1 for every gap that opens after the second
           update; the search starts at the lowest point instead.
    """
    return _measure(curves, tolerance=tolerance).recovery


def recovery_time_median(curves: Curves, tolerance: float = 0.0) -> float | None:
    """Median recovery time in updates over boundaries and previous experiences with something to lose. Low is better.

    An experience that never recovers counts as infinite, so None means k = 1 or that half or more never recovered:
    `recovered_share` tells which.

    Example:
        >>> from clframe.eval.metrics import dip, recovery_time_median
        >>> recovery_time_median(dip()), recovery_time_median(dip(), tolerance=0.25)
        (None, 2.0)
    """
    times = _recoveries(curves, tolerance)
    if len(times) == 0 or np.isnan(times).any():
        return None
    median = float(np.median(times))
    return median if math.isfinite(median) else None


def recovery_time_mean(curves: Curves, tolerance: float = 0.0) -> float | None:
    """Mean recovery time in updates over the pairs that recovered. Low is better; read it beside `recovered_share`.

    Example:
        >>> from clframe.eval.metrics import dip, recovery_time_mean
        >>> recovery_time_mean(dip()), recovery_time_mean(dip(), tolerance=0.25)
        (None, 2.0)
    """
    times = _recoveries(curves, tolerance)
    return mean_or_none(times[~np.isinf(times)])


def recovered_share(curves: Curves, tolerance: float = 0.0) -> float | None:
    """Share of boundaries x previous experiences (with something to lose) that recovered before the next boundary. High is better.

    Example:
        >>> from clframe.eval.metrics import dip, recovered_share
        >>> recovered_share(dip()), recovered_share(dip(), tolerance=0.25)
        (0.0, 1.0)
    """
    times = _recoveries(curves, tolerance)
    return mean_or_none(np.where(np.isnan(times), np.nan, np.isfinite(times)))


def gap_depth(curves: Curves, horizon: int | None = None) -> float | None:
    """Mean depth of the gap over boundaries and previous experiences with something to lose. Low is better.

    depth[j, i] = A(E_i, f_|T_j|) - min_n { A(E_i, f_n) : |T_j| < n <= min(|T_j| + H, |T_{j+1}|) }, H = `horizon`;
    negative if accuracy only rose. Pairs with accuracy 0 at the boundary are left out: what is gone cannot fall, and a method that
    forgets everything at once would look steady. None for k = 1, or where nothing was left at any boundary.

    Raises:
        OptionError: the horizon is below 1.

    Example:
        >>> from clframe.eval.metrics import dip, gap_depth
        >>> round(gap_depth(dip()), 12)
        0.6

    Reference: none published.
    """
    table = _measure(curves, horizon)
    return mean_or_none(table.pairs(table.depth))


def gap_area(curves: Curves, tolerance: float = 0.0) -> float | None:
    """Mean area of the gap, in accuracy x updates, over boundaries and previous experiences with something to lose. Low is better.

    area[j, i] = sum_n (A(E_i, f_|T_j|) - A(E_i, f_n))_+ from |T_j| to the recovery, or the next boundary where there is none. A
    value stands for the updates since the evaluation before it. None for k = 1.

    Example:
        >>> from clframe.eval.metrics import dip, gap_area
        >>> round(gap_area(dip()), 12)
        0.8

    Reference: none published.
    """
    table = _measure(curves, tolerance=tolerance)
    return mean_or_none(table.pairs(table.area))


def relative_dip(curves: Curves) -> float | None:
    """The dip as a share of what was known: 0 none, 1 everything lost at some update. Low is better.

    (1/(k-1)) sum_{i<k} (a_i - min_n { A(E_i, f_n) : |T_i| < n <= |T_k| }) / a_i, with a_i = A(E_i, f_|T_i|) from the curve.
    None for k = 1 or where some a_i is 0.

    Example:
        >>> from clframe.eval.metrics import dip, relative_dip
        >>> round(relative_dip(dip()), 12)
        0.666666666667

    Reference: close to the "avg-SG" reported in 2507.14056, whose formula we could not read; hence the name of its own.
    """
    dips = []
    for i in range(curves.k - 1):
        known = float(curves.curve_matrix[i + 1, i])
        _, values = curves.series(i, after=curves.ends[i])
        dips.append((known - float(values.min())) / known if known > 0 and len(values) else math.nan)
    return mean_or_none(dips)


def _recoveries(curves: Curves, tolerance: float) -> Floats:
    table = _measure(curves, tolerance=tolerance)
    return table.pairs(table.recovery)
