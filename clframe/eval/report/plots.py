"""Figures of results: accuracy per experience per update, boundaries, matrices, times, comparisons. All deterministic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from clframe.eval.report import style
from clframe.eval.report.series import Floats, Track, centre, reach, thin, track, window
from clframe.eval.result import Result, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = 12
"""Up to this many experiences each gets a line and its cells get numbers; beyond it, colours."""
BANDS = 4
"""Up to this many strategies in one figure are drawn with a band over seeds."""
_POINTS = 6_000


def curves_figure(result: Result | Results | Track, chance: float | None = None, width: float = style.WIDTH) -> Figure:
    """Accuracy of every experience after every measured update, from the first update that trained it; boundaries drawn.

    Args:
        result: a run; the runs of one strategy (mean over seeds, band from the lowest to the highest seed); or a `Track`.
        chance: accuracy of guessing, drawn as a dotted line; None draws none.
        width: width in pixels.

    Example:
        >>> import clframe
        >>> figure = clframe.run("split-digits", "finetune", seed=0).figure()
        >>> [ax.get_xlabel() for ax in figure.axes]
        ['updates']
    """
    curves = _as_track(result)
    fig = style.figure(width, 230)
    ax = style.axes(fig, top=24, right=24)
    update_axis(ax, curves)
    if curves.experiences > LINES:
        _curve_image(ax, curves)
        return fig
    style.accuracy_axis(ax)
    _chance(ax, chance)
    colours = style.experience_colours(curves.experiences)
    _header(ax, curves, colours)
    buckets = max(40, _POINTS // (4 * curves.experiences * (2 if curves.seeds > 1 else 1)))
    ends: list[tuple[float, str, str]] = []
    for i, colour in enumerate(colours):
        values = np.where(curves.seen[:, i], curves.accuracy[:, :, i], np.nan)
        last = line(ax, curves.times, values, buckets, colour, "-")
        if last is not None:
            ends.append((last, str(i), colour))
    style.end_labels(ax, ends)
    return fig


def comparison_figure(
    tracks: Sequence[Track],
    chance: float | None = None,
    order: Sequence[str] = (),
    width: float = style.WIDTH,
    labels: Sequence[str] = (),
) -> Figure:
    """Mean accuracy over the experiences seen so far, after every measured update, all strategies.

    Args:
        tracks: one a strategy; up to four get a band from the lowest to the highest seed.
        chance: accuracy of guessing, drawn as a dotted line; None draws none.
        order: all strategies of the report, so that each has one colour throughout.
        width: width in pixels.
        labels: what to write at the lines; the short names of the strategies by default.
    """
    narrow = width <= style.WIDTH
    names = list(labels) or style.short_names([t.strategy for t in tracks])
    fig = style.figure(width, 260 if narrow else 320)
    ax = style.axes(fig, right=12 + 6.2 * max(map(len, names)))
    update_axis(ax, max(tracks, key=lambda t: t.times[-1]))
    style.accuracy_axis(ax)
    _chance(ax, chance)
    ends: list[tuple[float, str, str]] = []
    for t, name in zip(tracks, names, strict=True):
        colour, dash = style.strategy_style((order or [t.strategy for t in tracks]).index(t.strategy))
        last = line(ax, t.times, t.over_seen, 120 if narrow else 220, colour, dash, band=len(tracks) <= BANDS)
        if last is not None:
            ends.append((last, name, colour))
    style.end_labels(ax, ends)
    return fig


def boundary_figure(
    results: Results, boundary: int, chance: float | None = None, order: Sequence[str] = (), width: float = style.WIDTH
) -> Figure | None:
    """Mean accuracy on the previous experiences around one boundary, all strategies, with the depth of the fall.

    Args:
        results: runs of one scenario.
        boundary: 0 is the end of the first stretch of training.
        chance: accuracy of guessing, drawn as a dotted line; None draws none.
        order: all strategies of the report, so that each has one colour throughout.
        width: width in pixels.

    Returns:
        The figure, or None where no run went past this boundary or nothing was measured there.
    """
    before, after = reach([r.curves for r in results])
    found = {s: window([r.curves for r in results.of(s)], boundary, before, after) for s in results.strategies}
    windows = {s: w for s, w in found.items() if w is not None}
    if not windows:
        return None
    names = dict(zip(results.strategies, style.short_names(results.strategies), strict=True))
    fig = style.figure(width, 220)
    ax = style.axes(fig, right=12 + 6.2 * (max(map(len, names.values())) + 6))
    style.accuracy_axis(ax)
    ax.set_xlim(min(w.offsets[0] for w in windows.values()), max(w.offsets[-1] for w in windows.values()))
    ax.set_xlabel("updates since the boundary", color=style.SOFT, fontsize=10)
    ax.axvline(0, color=style.SOFT, linewidth=1)
    _chance(ax, chance)
    ends: list[tuple[float, str, str]] = []
    for strategy, seen in windows.items():
        colour, dash = style.strategy_style((order or results.strategies).index(strategy))
        last = line(ax, seen.offsets, seen.accuracy, 80, colour, dash, band=len(windows) <= BANDS)
        if last is not None:
            fall = f"−{seen.depth:.2f}" if seen.depth >= 0.005 else "0"
            ends.append((last, f"{names[strategy]} {fall}", colour))
    style.end_labels(ax, ends)
    return fig


def matrix_figure(matrix: Floats, width: float = style.WIDTH) -> Figure:
    """Accuracy on every experience at the start and at every boundary, as a map; numbers in the cells of small ones.

    Args:
        matrix: accuracy (K + 1, N); row 0 is the initial model; NaN where it was not measured.
        width: width in pixels.
    """
    rows, columns = matrix.shape
    numbers = max(rows - 1, columns) <= LINES
    cell = (width - 80) / max(columns, 5)
    height = min(max(cell * 0.62, 18), 34) if numbers else max(min(cell, 200 / rows), 3)
    fig = style.figure(width, rows * height + 54)
    ax = style.axes(fig, left=68, right=12, top=38, bottom=14)
    for side in ax.spines.values():
        side.set_visible(False)
    image = np.zeros((rows, columns, 4))
    image[..., :3] = [int(style.CELL[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    image[..., 3] = np.nan_to_num(0.04 + 0.96 * np.clip(matrix, 0, 1))
    if numbers:
        _cells(ax, matrix)
    else:
        ax.imshow(image, aspect="auto", interpolation="none")
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(rows - 0.5, -0.5)
    step = 1 if numbers else max(1, -(-columns // 10))
    ax.set_xticks(range(0, columns, step), [str(i) for i in range(0, columns, step)])
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.set_xlabel("accuracy on experience", color=style.SOFT, fontsize=10)
    labels = ["start", *(f"after {i}" for i in range(rows - 1))]
    step = 1 if numbers else max(1, -(-rows // 12))
    ax.set_yticks(range(0, rows, step), labels[:rows:step])
    ax.tick_params(length=0)
    return fig


def time_figure(results: Results, order: Sequence[str] = (), width: float = style.WIDTH) -> Figure:
    """Seconds in training and in evaluation, mean over seeds, one bar a strategy."""
    names = style.short_names(results.strategies)
    fig = style.figure(width, 30 + 34 * len(names))
    ax = style.axes(fig, left=8, right=8, top=2, bottom=26)
    ax.spines["left"].set_visible(False)
    budgets = [[r.budget for r in results.of(s)] for s in results.strategies]
    train = [float(np.mean([b.train_seconds for b in group])) for group in budgets]
    measure = [float(np.mean([b.eval_seconds for b in group])) for group in budgets]
    for y, (strategy, name, a, b) in enumerate(zip(results.strategies, names, train, measure, strict=True)):
        colour, _ = style.strategy_style((order or results.strategies).index(strategy))
        ax.barh(y, a, height=0.42, color=colour)
        ax.barh(y, b, left=a, height=0.42, facecolor=colour, alpha=0.35)
        text = f"{name}: {_seconds(a)} training + {_seconds(b)} evaluation"
        ax.text(0, y - 0.3, text, color=style.INK, fontsize=10, va="bottom", parse_math=False)
    ax.set_ylim(len(names) - 0.6, -0.85)
    ax.set_xlim(0, max([a + b for a, b in zip(train, measure, strict=True)] + [1e-9]))
    ax.set_yticks([])
    ax.set_xlabel("seconds a run", color=style.SOFT, fontsize=10)
    return fig


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value < 100 else f"{value:,.0f} s"


def _as_track(result: Result | Results | Track) -> Track:
    if isinstance(result, Track):
        return result
    results = Results([result]) if isinstance(result, Result) else result
    return track(results, results.strategies[0])


def line(ax: Axes, x: Floats, values: Floats, buckets: int, colour: str, dash: style.Dash, band: bool = True) -> float | None:
    """Draw the mean over seeds (S, T) and, if wanted, the band from the lowest to the highest seed; return the last mean."""
    mean = centre(values)
    kept = thin(x, mean, buckets)
    if not len(kept):
        return None
    if band and values.shape[0] > 1:
        known = ~np.isnan(mean)
        low, high = np.full(len(x), np.nan), np.full(len(x), np.nan)
        low[known], high[known] = np.nanmin(values[:, known], axis=0), np.nanmax(values[:, known], axis=0)
        edge = np.union1d(thin(x, low, buckets // 2), thin(x, high, buckets // 2))
        ax.fill_between(x[edge], low[edge], high[edge], color=colour, alpha=0.16, linewidth=0)
    ax.plot(x[kept], mean[kept], color=colour, linewidth=1.4, linestyle=dash, solid_joinstyle="round")
    return float(mean[kept[-1]])


def update_axis(ax: Axes, curves: Track) -> None:
    """The x axis in updates, with a line at every boundary."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    ax.set_xlim(0, max(float(curves.times[-1]), 1))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.set_xlabel("updates", color=style.SOFT, fontsize=10)
    few = curves.experiences <= LINES
    for start, _ in curves.stretches[1:]:
        ax.axvline(start, color=style.SOFT if few else style.GRID, linewidth=0.7 if few else 0.5, zorder=0.5)


def _header(ax: Axes, curves: Track, colours: Sequence[str]) -> None:
    """Above the axes: which experience was trained when, in its colour."""
    for experience, (start, stop) in enumerate(curves.stretches):
        colour = colours[experience]
        ax.plot([start, stop], [1.06, 1.06], color=colour, linewidth=3, solid_capstyle="butt", clip_on=False)
        ax.text((start + stop) / 2, 1.085, str(experience), color=colour, fontsize=10, ha="center", va="bottom")


def _curve_image(ax: Axes, curves: Track) -> None:
    """Many experiences: one row each, colour is the lowest mean accuracy among the updates of a column."""
    width = min(300, len(curves.times))
    column = np.minimum(curves.times / max(curves.times[-1], 1) * width, width - 1).astype(np.int64)
    mean = np.where(curves.seen, centre(curves.accuracy), np.nan)
    lowest = np.full((width, mean.shape[1]), np.inf)
    np.minimum.at(lowest, column, np.where(np.isnan(mean), np.inf, mean))
    for c in range(1, width):  # a column without an evaluation keeps the value before it
        lowest[c] = np.where(np.isinf(lowest[c]), lowest[c - 1], lowest[c])
    lowest[np.isinf(lowest)] = np.nan
    image = np.zeros((mean.shape[1], width, 4))
    image[..., :3] = [int(style.CELL[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    image[..., 3] = np.nan_to_num(0.04 + 0.96 * lowest.T)
    extent = (0.0, float(curves.times[-1]), mean.shape[1] - 0.5, -0.5)
    ax.imshow(image, aspect="auto", interpolation="none", extent=extent)
    ax.set_ylabel("experience", color=style.SOFT, fontsize=10)


def _cells(ax: Axes, matrix: Floats) -> None:
    """Cells whose strength is the accuracy, with the number inside."""
    from matplotlib.patches import Rectangle

    for (row, column), value in np.ndenumerate(matrix):
        if np.isnan(value):
            ax.text(column, row, "–", color=style.SOFT, fontsize=10, ha="center", va="center")
            continue
        box = Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, facecolor=style.CELL, linewidth=0)
        box.set_alpha(0.04 + 0.96 * float(value))
        ax.add_patch(box)
        colour = "#ffffff" if value > 0.78 else style.INK
        ax.text(
            column,
            row,
            f"{value:.2f}".lstrip("0") if value < 0.995 else "1.0",
            color=colour,
            fontsize=10,
            ha="center",
            va="center",
        )


def _chance(ax: Axes, chance: float | None) -> None:
    if chance is not None:
        ax.axhline(chance, color=style.SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
