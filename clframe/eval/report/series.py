"""Curves of several seeds on one axis, and long curves with fewer points but all their minima."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from clframe.eval.metrics import Curves
from clframe.eval.representation import ALL
from clframe.eval.result import Results

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Track:
    """The runs of one strategy over seeds, on a common axis of updates.

    Where the seeds' boundaries differ (a class order by seed makes experiences of unequal sizes), each seed's axis is stretched
    linearly between boundaries onto the mean boundaries, so that the middle of experience 3 meets the middle of experience 3.

    Attributes:
        strategy: its name.
        times: updates (T,).
        accuracy: accuracy (S, T, N) of each seed, after each update, on each experience; NaN where it was not measured.
        ends: n at which each finished experience ended (K,).
    """

    strategy: str
    times: Floats
    accuracy: Floats
    ends: Floats

    @property
    def seeds(self) -> int:
        """S, number of seeds."""
        return int(self.accuracy.shape[0])

    @property
    def experiences(self) -> int:
        """N, number of experiences."""
        return int(self.accuracy.shape[2])

    @property
    def stretches(self) -> list[tuple[float, float]]:
        """(n before the first update, last n) of each experience trained, a last unfinished one included."""
        stops = [*self.ends.tolist()]
        if len(self.times) and self.times[-1] > (stops[-1] if stops else 0):
            stops.append(float(self.times[-1]))
        return list(zip([0.0, *stops], stops, strict=False))

    @cached_property
    def seen(self) -> npt.NDArray[np.bool_]:
        """Whether the experience had been trained (T, N)."""
        begun = np.full(self.experiences, np.inf)
        for i, (start, _) in enumerate(self.stretches):
            begun[i] = start
        result: npt.NDArray[np.bool_] = self.times[:, None] > begun
        return result

    @cached_property
    def over_seen(self) -> Floats:
        """Mean accuracy over the experiences seen so far (S, T)."""
        return _mean(np.where(self.seen, self.accuracy, np.nan), axis=2)


def track(results: Results, strategy: str) -> Track:
    """The runs of one strategy in one scenario, on a common axis."""
    curves = [r.curves for r in results.of(strategy)]
    return _joined(strategy, curves, [c.times for c in curves], [c.accuracy for c in curves])


def representation_track(results: Results, strategy: str, measure: str) -> Track | None:
    """One measure of the features of all experiences begun, as a `Track` of one column; None where no run has it."""
    runs = [r for r in results.of(strategy) if len(r.representation)]
    tables = [t[(t["evaluated"] == ALL) & (t["name"] == measure)] for t in (r.representation for r in runs)]
    if not any(t["value"].notna().any() for t in tables):
        return None
    times, values = [t["n"].to_numpy() for t in tables], [t[["value"]].to_numpy(dtype=np.float64) for t in tables]
    return _joined(strategy, [r.curves for r in runs], times, values)


def _joined(strategy: str, curves: Sequence[Curves], times: Sequence[Times], values: Sequence[Floats]) -> Track:
    """What each run measured when (T,), (T, N), on a common axis; the curves know the boundaries."""
    most = max(c.k for c in curves)
    reference = np.round(np.mean([c.ends for c in curves if c.k == most], axis=0, dtype=np.float64))
    axes = [_stretch(t.astype(np.float64), c, reference) for t, c in zip(times, curves, strict=True)]
    grid = np.unique(np.concatenate(axes))
    return Track(strategy, grid, np.stack([_onto(grid, a, v) for a, v in zip(axes, values, strict=True)]), reference)


def _stretch(times: Floats, curves: Curves, reference: Floats) -> Floats:
    """A run's times, mapped so that its boundaries fall on the reference's."""
    if curves.k == 0 or np.array_equal(curves.ends, reference[: curves.k]):
        return times
    last = float(curves.ends[-1])
    inside = np.interp(times, [0.0, *curves.ends], [0.0, *reference[: curves.k]])
    after: Floats = np.where(times > last, times - last + reference[curves.k - 1], inside)
    return after


def _onto(grid: Floats, times: Floats, accuracy: Floats) -> Floats:
    """Linear interpolation of each column onto the grid, between its own first and last measurement."""
    result = np.full((len(grid), accuracy.shape[1]), np.nan)
    for i in range(accuracy.shape[1]):
        known = ~np.isnan(accuracy[:, i])
        if np.array_equal(grid, times):
            result[:, i] = accuracy[:, i]
        elif known.any():
            result[:, i] = np.interp(grid, times[known], accuracy[known, i], left=np.nan, right=np.nan)
    return result


@dataclass(frozen=True)
class Window:
    """What happens to the previous experiences around one boundary, for one strategy.

    Attributes:
        offsets: updates since the boundary (T,), negative before it.
        accuracy: mean accuracy over the previous experiences (S, T).
        depth: fall from the boundary to the lowest value after it inside the window, mean over seeds.
    """

    offsets: Floats
    accuracy: Floats
    depth: float


def window(curves: Sequence[Curves], boundary: int, before: int, after: int) -> Window | None:
    """The window [|T_k| - before, |T_k| + after] around boundary k (from 0), over the runs that went past it.

    It ends with the next experience, at the latest, and where the shortest of the runs ends.
    """
    pieces: list[tuple[Floats, Floats]] = []
    for c in curves:
        if boundary >= c.k:
            continue
        offsets = c.times.astype(np.float64) - c.ends[boundary]
        following = c.ends[boundary + 1] if boundary + 1 < c.k else c.times[-1]
        inside = (offsets >= -before) & (offsets <= min(after, following - c.ends[boundary]))
        values = _mean(c.accuracy[inside][:, : boundary + 1], axis=1)
        known = ~np.isnan(values)
        x, y = offsets[inside][known], values[known]
        if (x == 0).any() and (x > 0).any():
            pieces.append((x, y))
    if not pieces:
        return None
    offsets = np.unique(np.concatenate([x for x, _ in pieces]))
    offsets = offsets[(offsets >= max(x[0] for x, _ in pieces)) & (offsets <= min(x[-1] for x, _ in pieces))]
    accuracy = np.stack([np.interp(offsets, x, y, left=np.nan, right=np.nan) for x, y in pieces])
    depth = float(np.mean([y[x == 0][0] - y[x >= 0].min() for x, y in pieces]))
    return Window(offsets, accuracy, depth)


def reach(curves: Sequence[Curves]) -> tuple[int, int]:
    """How many updates before and after a boundary its window shows: enough measurements, not too many updates."""
    longest = max((int(np.diff([0, *c.ends]).max()) for c in curves if c.k), default=1)
    spacing = max((float(np.median(np.diff(c.times))) for c in curves if len(c.times) > 1), default=1.0)
    after = min(longest, max(60, longest // 8, int(15 * spacing)))
    return max(after // 4, 1), after


def thin(x: Floats, y: Floats, buckets: int) -> npt.NDArray[np.int64]:
    """Indices of at most 4 x buckets points that keep the first, last, lowest and highest of every bucket of x.

    Args:
        x: increasing (T,).
        y: values (T,); NaN points are dropped.
        buckets: number of equal stretches of x, about half the pixels that the curve gets.

    Example:
        >>> y = np.ones(10_000); y[1234] = 0.0
        >>> kept = thin(np.arange(10_000.0), y, buckets=100)
        >>> len(kept) <= 400, y[kept].min()
        (True, np.float64(0.0))
    """
    known = np.flatnonzero(~np.isnan(y))
    if len(known) <= 4 * buckets:
        return known
    low, high = x[known[0]], x[known[-1]]
    bucket = np.minimum((x[known] - low) * buckets / (high - low), buckets - 1).astype(np.int64)
    cuts = np.flatnonzero(np.diff(bucket)) + 1
    kept: set[int] = set()
    for part in np.split(known, cuts):
        kept.update((int(part[0]), int(part[-1]), int(part[y[part].argmin()]), int(part[y[part].argmax()])))
    return np.array(sorted(kept), dtype=np.int64)


def _mean(values: Floats, axis: int) -> Floats:
    """Mean without the NaN entries; NaN, without a warning, where nothing else is there."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    mean: Floats = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean


def centre(values: Floats) -> Floats:
    """Mean over seeds (axis 0), NaN where no seed was measured."""
    return _mean(values, axis=0)
