"""Figures of a study: ranks of both phases, what trials are worth, critical differences, performance profiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clframe.eval.metrics import METRICS
from clframe.eval.protocol.outcome import Group
from clframe.eval.protocol.report.ranks import Differences
from clframe.eval.protocol.report.target import R_MAX, Times, profile, ratios
from clframe.eval.report import format as fmt
from clframe.eval.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Drawn = tuple["Figure | None", str]
"""A figure, or None and the reason why there is none."""
ROW = 15.0
"""Pixels between two labels."""
LETTER = 5.6
FURTHEST = 100.0
"""Where a performance profile is cut off."""


def rank_figure(group: Group, order: Sequence[str], width: float = style.WIDTH) -> Drawn:
    """The rank of every method in the tuning phase (left) and in the evaluation phase (right), one line a method.

    Args:
        group: one protocol on one scenario.
        order: all methods of the study, so that each has one colour throughout.
        width: in pixels.

    Returns:
        The figure, or None and why there is none: nothing was tuned, or fewer than two methods have both ranks.
    """
    lines = [line for line in group.lines if line.tuning_rank is not None]
    if not lines:
        return None, "Nothing was chosen in a tuning phase, so there are no two ranks to compare."
    if sum(line.rank is not None for line in lines) < 2:
        return None, "Fewer than two methods have a rank in both phases, so their order cannot be compared."
    names = dict(zip(order, style.short_names(order), strict=True))
    last = len(group.lines)
    lost = any(line.rank is None for line in lines)
    fig = style.figure(width, 64 + ROW * 1.35 * (last + lost))
    margin = 44 + LETTER * max(len(names[line.method]) for line in lines)
    ax = style.axes(fig, left=margin, right=margin, top=30, bottom=8)
    _bare(ax)
    ax.set_xlim(0, 1)
    ax.set_ylim(last + lost + 0.4, 0.6)
    left, right = [], []
    for line in lines:
        colour, dash = style.strategy_style(order.index(line.method))
        before, after = float(line.tuning_rank or 0), float(line.rank or last + 1)
        shade = 1.0 if line.rank is not None else 0.45
        ax.plot(
            [0, 1],
            [before, after],
            color=colour,
            linewidth=1.6,
            linestyle=dash,
            alpha=shade,
            marker="o",
            markersize=4,
            clip_on=False,
        )
        left.append((before, f"{names[line.method]}  {before:g}", colour))
        right.append((after, f"{f'{after:g}' if line.rank is not None else fmt.DASH}  {names[line.method]}", colour))
    for at, text, side in ((0, "rank in tuning", "right"), (1, "in evaluation", "left")):
        ax.annotate(text, (at, 1), (0, 14), "axes fraction", "offset points", color=style.SOFT, fontsize=10, ha=side)
    _labels(ax, 0, left, "right")
    _labels(ax, 1, right, "left")
    return fig, ""


def best_of_figure(group: Group, metric: str, order: Sequence[str], width: float = style.WIDTH) -> Drawn:
    """The expected best tuning score of r trials, for every method; dotted where the other trials have no score.

    Args:
        group: one protocol on one scenario.
        metric: what the choice looks at.
        order: all methods of the study.
        width: in pixels.

    Returns:
        The figure, or None and why there is none: no method has two trials with a score.
    """
    lines = [line for line in group.lines if line.best_of and line.trials]
    if not any(len(line.best_of) > 1 for line in lines):
        return None, "No method has two trials with a score of the whole phase, so more cannot be compared with fewer."
    from matplotlib.ticker import MaxNLocator

    names = dict(zip(order, style.short_names(order), strict=True))
    most = max(line.trials for line in lines)
    fig = style.figure(width, max(250, 60 + ROW * len(lines)))
    ax = style.axes(fig, left=40, right=28 + LETTER * max(len(names[line.method]) for line in lines), top=20)
    if metric == "acc":
        style.accuracy_axis(ax)
    else:
        ax.grid(axis="y", color=style.GRID, linewidth=0.7)
    ax.set_xlim(1, max(most, 2))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    ax.set_xlabel("trials", color=style.SOFT, fontsize=10)
    ax.set_title(f"{fmt.metric_name(metric)} in tuning", color=style.SOFT, fontsize=10, loc="left", pad=6)
    ends = []
    for line in lines:
        colour, dash = style.strategy_style(order.index(line.method))
        reached = len(line.best_of)
        mark = "o" if reached == 1 else None
        ax.plot(
            range(1, reached + 1),
            line.best_of,
            color=colour,
            linewidth=1.4,
            linestyle=dash,
            marker=mark,
            markersize=4,
            clip_on=False,
        )
        if reached < most:
            ax.plot([reached, most], [line.best_of[-1]] * 2, color=colour, linewidth=1, linestyle=(0, (1, 2)))
        ends.append((line.best_of[-1], names[line.method], colour))
    _labels(ax, 1, ends, "left")
    return fig, ""


def differences_figure(found: Differences, order: Sequence[str], width: float = style.WIDTH) -> Figure:
    """The critical-difference diagram: methods at their mean ranks, the best on the left; bars join those not told apart.

    Args:
        found: the comparison.
        order: all methods of the study.
        width: in pixels.
    """
    names = dict(zip(order, style.short_names(order), strict=True))
    methods, k = list(found.ranks), len(found.ranks)
    half, bars = (k + 1) // 2, 9.0 * len(found.cliques)
    top, rows = 58.0, max(half, k - half)
    height = top + 14 + bars + ROW * 1.2 * rows + 4
    fig = style.figure(width, height)
    margin = 12 + LETTER * (max(len(names[m]) for m in methods) + 5)
    inner = width - 2 * margin
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)

    def at(rank: float) -> float:
        return margin + inner * (rank - 1) / (k - 1)

    thin: Any = {"color": style.SOFT, "linewidth": 0.8, "solid_capstyle": "butt"}
    ax.plot([at(1), at(k)], [top, top], **thin)
    for rank in range(1, k + 1):
        ax.plot([at(rank)] * 2, [top - 5, top], **thin)
        if k <= 12 or rank % 5 == 0 or rank == 1:
            ax.text(at(rank), top - 8, str(rank), color=style.SOFT, fontsize=10, ha="center", va="bottom")
    reach = at(1 + min(found.critical, k - 1))
    ax.plot([at(1), reach], [18, 18], color=style.INK, linewidth=1.2)
    for x in (at(1), reach):
        ax.plot([x, x], [14, 22], color=style.INK, linewidth=1.2)
    wide = " (wider than all ranks)" if found.critical > k - 1 else ""
    ax.text(at(1), 10, f"CD {found.critical:.2f}{wide}", color=style.INK, fontsize=10, va="bottom")
    for i, clique in enumerate(found.cliques):
        y, ends = top + 9 + 9 * i, (at(found.ranks[clique[0]]) - 3, at(found.ranks[clique[-1]]) + 3)
        ax.plot(ends, [y, y], color=style.INK, linewidth=3, solid_capstyle="round")
    for i, method in enumerate(methods):
        on_left = i < half
        row = i if on_left else k - 1 - i
        y, x = top + 18 + bars + ROW * 1.2 * row, at(found.ranks[method])
        edge = margin - 6 if on_left else width - margin + 6
        colour, dash = style.strategy_style(order.index(method))
        ax.plot([x, x, edge], [top, y, y], color=colour, linewidth=1.1, linestyle=dash)
        text = f"{names[method]}  {found.ranks[method]:.2f}" if on_left else f"{found.ranks[method]:.2f}  {names[method]}"
        place = edge - 4 if on_left else edge + 4
        ha = "right" if on_left else "left"
        ax.text(place, y, text, color=colour, fontsize=10, ha=ha, va="center", parse_math=False)
    return fig


def profile_figure(times: Times, order: Sequence[str], r_max: float = R_MAX, width: float = style.WIDTH) -> Drawn:
    """The share of workloads that each method brings to the target in at most tau times the time of the fastest.

    A method that never reaches it has no line. The dotted line is where the score of the profile ends.

    Args:
        times: method -> one time a workload.
        order: all methods of the study.
        r_max: where the score ends; the figure goes on to the slowest, if need be.
        width: in pixels.

    Returns:
        The figure, or None and why there is none: one method, or no target that any of them reached.
    """
    if len(times) < 2:
        return None, "There is one method, so there is nobody to be faster than."
    found = {m: [r for r in own if math.isfinite(r)] for m, own in ratios(times).items()}
    found = {m: own for m, own in found.items() if own}
    if not found:
        return None, "No method reached a target, so there are no times to compare."
    names = dict(zip(order, style.short_names(order), strict=True))
    right = max(r_max, min(1.1 * max(map(max, found.values())), FURTHEST))
    fig = style.figure(width, max(250, 60 + ROW * len(found)))
    ax = style.axes(fig, right=28 + LETTER * max(len(names[m]) for m in found), top=12)
    style.accuracy_axis(ax)
    ax.set_xscale("log", base=2)
    ax.set_xlim(1, right)
    ticks = [t for t in (1, 2, 4, 8, 16, 32, 64) if t <= right]
    ax.set_xticks(ticks, [f"{t}" for t in ticks])
    ax.minorticks_off()
    if right > r_max:
        ax.axvline(r_max, color=style.SOFT, linewidth=0.8, linestyle=(0, (1, 2)))
    ax.set_xlabel("times as long as the fastest", color=style.SOFT, fontsize=10)
    ends = []
    for method, own in found.items():
        colour, dash = style.strategy_style(order.index(method))
        steps = [1.0, *sorted({r for r in own if 1 < r < right}), right]
        shares = [profile(times, tau)[method] for tau in steps]
        ax.step(steps, shares, where="post", color=colour, linewidth=1.4, linestyle=dash)
        ends.append((shares[-1], names[method], colour))
    _labels(ax, 1, ends, "left")
    return fig, ""


def direction(metric: str) -> str:
    """Whether more or less of the metric is better, in words."""
    return "higher is better" if METRICS[metric].higher_is_better else "lower is better"


def _bare(ax: Axes) -> None:
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set_xticks([])
    ax.set_yticks([])


def _labels(ax: Axes, at: float, ends: Sequence[tuple[float, str, str]], ha: str) -> None:
    """Names beside the axes (at 0: on the left, at 1: on the right), moved apart, each tied to its value."""
    box = ax.get_window_extent()
    pixel = 72 / ax.figure.dpi
    width, height = box.width * pixel, box.height * pixel
    low, high = ax.get_ylim()
    shares = [(y - low) / (high - low) for y, _, _ in ends]
    over = max(0.0, (len(ends) - 1) * ROW / height - 1) / 2
    places = style.spread([round(s * 200) / 200 for s in shares], ROW / height, min(0.0, -over), max(1.0, 1 + over))
    offset = (10 / width) * (1 if at else -1)
    leader = {"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0, "relpos": (1.0 - at, 0.5)}
    for place, share, (_, text, colour) in zip(places, shares, ends, strict=True):
        ax.annotate(
            text,
            (at + offset / 3, share),
            xytext=(at + 2 * offset, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=colour,
            fontsize=10,
            ha=ha,
            va="center",
            arrowprops={**leader, "color": colour},
            annotation_clip=False,
            parse_math=False,
        )
