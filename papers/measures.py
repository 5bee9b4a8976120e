"""What is read off finished runs: metrics in percent, the fall at a switch, gradients around it. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from clframe.eval.metrics import Curves, compute, gaps
from clframe.eval.result import Result, Results
from papers.study import BySeed

Floats = npt.NDArray[np.float64]

NEAR = 10
"""Updates after a switch that count as "right after" it: the window of WF10."""


def each(results: Results, of: Callable[[Result], float | None]) -> BySeed:
    """A quantity of every run, by its seed."""
    return {result.seed: of(result) for result in results}


def metric(results: Results, name: str, tasks: int | None = None) -> BySeed:
    """A metric in percent, at the end of the stream or as it stood after so many tasks."""

    def percent(result: Result) -> float | None:
        curves = result.curves if tasks is None else result.curves.until(tasks)
        value = compute(curves, [name])[name]
        return None if value is None else 100 * value

    return each(results, percent)


def difference(first: BySeed, second: BySeed) -> BySeed:
    """first - second, seed by seed."""
    pairs = {seed: (first[seed], second[seed]) for seed in first if seed in second}
    return {seed: None if a is None or b is None else a - b for seed, (a, b) in pairs.items()}


def task1_before(curves: Curves, boundary: int = 0) -> float:
    """Accuracy of the first task when the experience `boundary` ended, in percent."""
    return 100 * float(curves.curve_matrix[boundary + 1, 0])


def task1_lowest(curves: Curves, boundary: int = 0, horizon: int = NEAR) -> float:
    """Lowest accuracy of the first task in the first `horizon` updates after the switch, in percent."""
    end = curves.ends[boundary]
    return 100 * float(curves.series(0, after=end, until=end + horizon)[1].min())


def task1_fall(curves: Curves, boundary: int = 0, horizon: int = NEAR) -> float:
    """How far the first task falls in the first `horizon` updates after the switch, in percentage points."""
    return 100 * next(g.depth for g in gaps(curves, horizon=horizon) if (g.boundary, g.experience) == (boundary, 0))


def task1_deepest(curves: Curves, horizon: int = NEAR) -> float:
    """The largest of the falls of the first task within `horizon` updates of a switch, in percentage points."""
    return 100 * max(g.depth for g in gaps(curves, horizon=horizon) if g.experience == 0)


def task1_recovered(curves: Curves, boundary: int = 0) -> float:
    """The share, in percent, of the first task's fall that is made good by the end of the experience after the switch."""
    gap = next(g for g in gaps(curves) if (g.boundary, g.experience) == (boundary, 0))
    after = float(curves.curve_matrix[boundary + 2, 0])
    return 100.0 if gap.before <= gap.lowest else 100 * (after - gap.lowest) / (gap.before - gap.lowest)


def task1_forgetting(curves: Curves) -> float:
    """Forgetting of the first task alone, first minus last, on its whole test set, in percentage points."""
    return 100 * float(curves.matrix[1, 0] - curves.matrix[curves.k, 0])


def gradient(result: Result, name: str) -> Floats:
    """A logged gradient norm of every update (n_updates,); entry n - 1 is that of update n."""
    rows = result.terms[result.terms.term == f"grad/{name}"]
    values = np.full(int(result.updates[-1]), np.nan)
    values[rows.n.to_numpy() - 1] = rows.value.to_numpy()
    return values


def first_update_ratio(result: Result) -> float:
    """Norm of the stability gradient over that of the plasticity gradient at the first update after a switch, their mean."""
    first = np.asarray(result.curves.ends[:-1])
    return float(np.mean(gradient(result, "stability")[first] / gradient(result, "plasticity")[first]))


def stability_growth(result: Result, horizon: int = NEAR) -> float | None:
    """The largest norm of the stability gradient in updates 2 to `horizon` after a switch over that of the first update.

    Mean over the switches; None where the first is 0.
    """
    norm = gradient(result, "stability")
    ratios = [_over(float(norm[end + 1 : end + horizon].max()), float(norm[end])) for end in result.curves.ends[:-1]]
    return None if any(r is None for r in ratios) else float(np.mean(np.asarray(ratios, dtype=np.float64)))


def around(results: Results, boundary: int, offsets: Sequence[int], of: Callable[[Result], Floats]) -> Floats:
    """Values (S, T) of every seed at these offsets from a switch; `of` gives one value an update, entry n for update n."""
    rows = []
    for result in results:
        values, at = of(result), result.curves.ends[boundary] + np.asarray(offsets)
        inside = (at >= 0) & (at < len(values))
        rows.append(np.where(inside, values[np.clip(at, 0, len(values) - 1)], np.nan))
    return np.stack(rows)


def task1_curve(result: Result) -> Floats:
    """Accuracy of the first task in percent, entry n after update n; NaN where it was not measured."""
    values = np.full(int(result.updates[-1]) + 1, np.nan)
    values[result.updates] = 100 * result.accuracy[:, 0]
    return values


def gradient_curve(name: str) -> Callable[[Result], Floats]:
    """As `gradient`, with entry n for update n; there is none at n = 0."""
    return lambda result: np.concatenate([[np.nan], gradient(result, name)])


def _over(above: float, below: float) -> float | None:
    return None if below == 0 else above / below
