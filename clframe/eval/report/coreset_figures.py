"""Figures of coresets: size against error beside uniform, coverage, weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clframe.errors import bad_option
from clframe.eval.report import style
from clframe.eval.report.plots import BANDS
from clframe.eval.report.series import Floats
from clframe.selection.coverage import Coverage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from clframe.selection.trial import Comparison, Trial

AXES = {"size": "rows chosen (log scale)", "queries": "losses looked at (log scale)"}


def pareto_figure(
    found: Comparison, by: str = "size", own: tuple[float, float] | None = None, width: float = style.WIDTH
) -> Figure:
    """Error of the mean loss against size, both on logarithmic axes, with 95 % intervals; uniform is always there.

    Args:
        found: trials; those without an estimate are left out.
        by: "size", rows chosen, or "queries", losses looked at.
        own: a coreset to mark: its size or losses, and the standard error of its mean, as a share of it.
        width: width in pixels.

    Raises:
        OptionError: fewer than 5 repeats, which give no interval that says anything; or no trial with an estimate.

    Example:
        >>> from clframe.selection import pool_of
        >>> from clframe.selection.trial import Comparison, trials
        >>> pool = pool_of(np.arange(400.0)[:, None], loss=np.arange(400.0))
        >>> tried = trials(pool, [20, 80], ["stratified"], repeats=5, k=10)
        >>> figure = pareto_figure(Comparison.of(pool, tried, repeats=5, k=10))
        >>> [ax.get_xlabel() for ax in figure.axes]
        ['rows chosen (log scale)']
    """
    lines = drawn(found)
    fig = style.figure(width, 280)
    names = style.short_names(list(lines), 20)
    ax = style.axes(fig, left=40, right=12 + 6.2 * max(map(len, names)), top=26, bottom=36)
    every = [t for line in lines.values() for t in line]
    marked = [own] if own is not None else []
    at = [float(getattr(t, by)) for t in every]
    _log_axis(ax, "x", at + [x for x, _ in marked], sorted(set(at)) if by == "size" else ())
    _log_axis(ax, "y", [100 * v for t in every for v in (t.error, t.low, t.high) if v] + [100 * y for _, y in marked])
    ax.set_xlabel(AXES[by], color=style.SOFT, fontsize=10)
    ax.text(-0.04, 1.03, "error, % (log scale)", transform=ax.transAxes, color=style.SOFT, fontsize=10)
    ax.grid(color=style.GRID, linewidth=0.7)
    ends = []
    for i, (method, line) in enumerate(lines.items()):
        colour = style.SOFT if method == "uniform" else style.strategy_style(i - 1)[0]
        aside = 1.05 ** (i - (len(lines) - 1) / 2) if len({t.size for t in every}) == 1 else 1.0
        x = [aside * float(getattr(t, by)) for t in line]
        _line(ax, x, line, colour, band=method == "uniform" or len(lines) <= BANDS)
        ends.append((x[-1], 100 * float(line[-1].error or 0), names[i], colour))
    for place, error in marked:
        ax.plot([place], [100 * error], marker="D", markersize=7, color=style.INK, markerfacecolor="none", zorder=5)
    _labels(ax, ends)
    return fig


def drawn(found: Comparison) -> dict[str, list[Trial]]:
    """The trials of each method that has estimates, uniform first, by size.

    Raises:
        OptionError: see `pareto_figure`.
    """
    if found.repeats < 5:
        raise bad_option("repeats of the comparison", "at least 5 to be drawn", found.repeats, "Compare with --repeats 50.")
    methods = dict.fromkeys(["uniform", *(t.method for t in found.trials)])
    lines = {m: sorted((t for t in found.trials if t.method == m and t.error), key=lambda t: t.size) for m in methods}
    if not lines["uniform"]:
        raise bad_option("comparison", "of a mean loss above 0 that is not known exactly", found.mean, "Compare smaller sizes.")
    return {m: line for m, line in lines.items() if line}


def coverage_figure(c: Coverage, width: float = style.WIDTH) -> Figure:
    """Parts by their coverage, the least covered first, on an axis of the share of the pool; 1 is the share in the pool.

    Line: by weight. Dotted: by count, each part at its own place.
    """
    order = np.lexsort((-c.pool, c.coverage))
    fig = style.figure(width, 230)
    ax = style.axes(fig, left=34, right=14, top=12, bottom=36)
    edges = np.concatenate([[0.0], np.cumsum(c.shares[order])])
    counted = (c.by_count / c.shares)[order]
    top = max(2.0, min(4.0, float(np.quantile(c.coverage, 0.98)) * 1.15))
    ax.stairs(np.minimum(counted, top), edges, color=style.SOFT, linewidth=0.8, baseline=None, alpha=0.7)
    ax.stairs(np.minimum(c.coverage[order], top), edges, color=style.CELL, linewidth=1.6, baseline=None)
    ax.axhline(1, color=style.SOFT, linewidth=0.8, linestyle=(0, (1, 2)))
    ax.set_xlim(0, 1)
    ax.set_ylim(0, top)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    ax.set_xlabel("of the pool, the least covered first", color=style.SOFT, fontsize=10)
    ax.grid(axis="y", color=style.GRID, linewidth=0.7)
    return fig


def shares_figure(c: Coverage, width: float = style.WIDTH) -> Figure:
    """Each part's share: bar in the pool, filled mark by weight, ring by count."""
    fig = style.figure(width, 48 + 22 * len(c.parts))
    longest = min(24, max(map(len, c.parts)))
    ax = style.axes(fig, left=12 + 6.2 * longest, right=16, top=6, bottom=36)
    at = np.arange(len(c.parts))
    ax.barh(at, 100 * c.shares, height=0.62, color=style.SOFT, alpha=0.28)
    ax.plot(
        100 * c.by_count, at, linestyle="none", marker="o", markersize=8, color=style.SOFT, markerfacecolor="none", clip_on=False
    )
    ax.plot(100 * c.by_weight, at, linestyle="none", marker="o", markersize=5, color=style.CELL, clip_on=False)
    ax.set_yticks(at, [p if len(p) <= longest else f"{p[: longest - 1]}…" for p in c.parts], parse_math=False)
    ax.set_ylim(len(c.parts) - 0.4, -0.6)
    ax.set_xlim(0, 104 * float(max(c.shares.max(), c.by_count.max(), c.by_weight.max())))
    ax.set_xlabel("share, %", color=style.SOFT, fontsize=10)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color=style.GRID, linewidth=0.7)
    return fig


def weights_figure(weights: Floats, width: float = style.WIDTH) -> Figure:
    """How many rows have which weight; on a logarithmic axis where the largest is more than 30 times the smallest."""
    fig = style.figure(width, 230)
    ax = style.axes(fig, left=40, right=14, top=12, bottom=36)
    low, high = float(weights.min()), float(weights.max())
    if low > 0 and high > 30 * low:
        _log_axis(ax, "x", [low, high])
        bins = np.geomspace(low, high, 31)
    else:
        bins = np.linspace(low, high, 31)
    ax.hist(weights, bins=bins.tolist(), color=style.CELL, linewidth=0)
    ax.axvline(float(weights.mean()), color=style.INK, linewidth=1, linestyle=(0, (1, 2)))
    ax.set_xlabel("weight", color=style.SOFT, fontsize=10)
    ax.set_ylabel("rows", color=style.SOFT, fontsize=10)
    ax.grid(axis="y", color=style.GRID, linewidth=0.7)
    return fig


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """1, 1.5, 2, 3, 5, 7 times powers of ten within bounds, or fewer of these where they are too many.

    Example:
        >>> ticks(0.7, 13.0), ticks(6, 16), len(ticks(1e-9, 1e9))
        ([1.0, 2.0, 5.0, 10.0], [7.0, 10.0, 15.0], 5)
    """
    found: list[float] = []
    for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [float(f"{s}e{p}") for p in powers for s in steps if low <= float(f"{s}e{p}") <= high]
        if len(found) <= most:
            return found
    return found[:: -(-len(found) // most)]


def _log_axis(ax: Axes, which: str, values: Sequence[float], wanted: Sequence[float] = ()) -> None:
    """A logarithmic axis around some values, with ticks that are numbers: the wanted ones, where they have the room."""
    low, high = min(values), max(values)
    room = max(1.08, (high / low) ** 0.06) if high > low else 1.6
    low, high = low / room, high * room
    getattr(ax, f"set_{which}scale")("log")
    getattr(ax, f"set_{which}lim")(low, high)
    near = np.diff(np.log(wanted)) < 0.13 * math.log(high / low)
    at = list(wanted) if len(wanted) and not near.any() else ticks(low, high)
    at = at if wanted or len(at) > 1 else sorted({float(f"{v:.2g}") for v in np.geomspace(low * 1.05, high / 1.05, 3)})
    getattr(ax, f"set_{which}ticks")(at, [f"{v:,.10g}" for v in at])
    getattr(ax, f"set_{which}ticks")([], minor=True)


def _line(ax: Axes, x: list[float], line: Sequence[Trial], colour: str, band: bool) -> None:
    ends = [(t.error or 0.0, t.low or t.error or 0.0, t.high or t.error or 0.0) for t in line]
    error, low, high = 100 * np.array(ends, dtype=np.float64).T
    if band and len(x) > 1:
        ax.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
    else:
        ax.errorbar(x, error, [error - low, high - error], color=colour, linewidth=0, elinewidth=0.9, alpha=0.7)
    ax.plot(x, error, color=colour, linewidth=1.4, marker="o", markersize=3.5)


def _labels(ax: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names at the right edge, moved apart, each tied to the last point of its line."""
    low, high = (math.log(v) for v in ax.get_ylim())
    box = ax.get_position()
    height, wide = (float(v) * 72 for v in (box.height * ax.figure.get_figheight(), box.width * ax.figure.get_figwidth()))  # type: ignore[union-attr]
    wanted = [(math.log(y) - low) / (high - low) for _, y, _, _ in ends]
    places = style.spread(wanted, gap=13 / height, low=0.0, high=1.0)
    for place, (x, y, text, colour) in zip(places, ends, strict=True):
        tie: dict[str, Any] = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2}
        ax.annotate(
            text,
            (x, y),
            xytext=(1 + 8 / wide, place),
            textcoords="axes fraction",
            color=colour,
            fontsize=10,
            va="center",
            arrowprops=tie,
            annotation_clip=False,
            parse_math=False,
        )
