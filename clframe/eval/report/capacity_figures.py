"""Figures of a network that tasks share: who owns which layer, what becomes of the weights task by task, how subnets overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clframe.eval.report import style
from clframe.eval.report.capacity import Capacity, percent
from clframe.eval.report.plots import LINES
from clframe.eval.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Box = tuple[float, float, float, float]
KINDS = (
    ("newly taken", style.CELL, 1.0),
    ("shared", style.CELL, 0.42),
    ("frozen, not used", style.SOFT, 0.28),
    ("free", style.SOFT, 0.0),
)
"""What becomes of the weights with a task, as in `Capacity.parts`: name, colour, opacity; without any, an outline."""
_SHADES = 50


def owners_figure(run: Result | Capacity, width: float = style.WIDTH) -> Figure:
    """Which task owns how much of each layer at the end, one bar a layer, and what is free.

    Args:
        run: a run with a capacity table.
        width: width in pixels.

    Raises:
        OptionError: it has none.
    """
    c = _as_capacity(run)
    fig = style.figure(width, 66 + 20 * len(c.layers))
    ax = style.axes(fig, left=10 + 5.6 * max(map(len, c.layers)), right=66, top=30)
    ax.spines["left"].set_visible(False)
    colours = style.experience_colours(len(c.tasks))
    rows = np.arange(len(c.layers)) + np.where(np.arange(len(c.layers)) > 0, 0.25, 0)
    ax.set_xlim(0, 100)
    ax.set_ylim(rows[-1] + 0.55, -0.55)
    left = np.zeros(len(c.layers))
    for t, colour in enumerate(colours):
        wide = 100 * c.own[:, t] / c.size
        seam = np.minimum(0.2, wide / 2)
        _boxes(ax, [(x, y - 0.36, w, 0.72) for x, y, w in zip(left, rows, wide - seam, strict=True)], colour)
        for x, y, w in zip(left, rows, wide, strict=True):
            if len(c.tasks) <= LINES and w * _pixels(ax)[0] / 100 > 8 + 6 * len(str(c.tasks[t])):
                ax.text(
                    x + w / 2, y, str(c.tasks[t]), color=style.on_experience(t, len(colours)), fontsize=9, ha="center", va="center"
                )
        left += wide
    _boxes(ax, [(x, y - 0.36, 100 - x, 0.72) for x, y in zip(left, rows, strict=True)], style.SOFT, 0.0)
    for y, share in zip(rows, 1 - c.owned, strict=True):
        ax.text(101.5, y, f"{percent(share)} % free", color=style.INK, fontsize=10, ha="left", va="center", clip_on=False)
    ax.set_yticks(rows, c.layers)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("share of the layer's weights, %", color=style.SOFT, fontsize=10)
    _task_legend(ax, c.tasks, colours)
    return fig


def tasks_figure(run: Result | Capacity, layer: int = 0, width: float = style.WIDTH, height: float = 230) -> Figure:
    """What became of the weights of a layer when each task was over: newly taken, shared, frozen and not used, free.

    Args:
        run: a run with a capacity table.
        layer: 0 for all layers together, else the number of one.
        width: width in pixels.
        height: height in pixels.

    Raises:
        OptionError: it has none.
    """
    c = _as_capacity(run)
    fig = style.figure(width, height)
    ax = style.axes(fig, left=40, top=28)
    count = len(c.tasks)
    ax.set_xlim(-0.6, max(count, 4) - 0.4)
    ax.set_ylim(0, 100)
    own, shared, idle, free = (100 * p[layer] for p in c.parts)
    bottom = np.zeros(count)
    for values, (_, colour, strength) in zip((idle, shared, own, free), (KINDS[2], KINDS[1], KINDS[0], KINDS[3]), strict=True):
        _boxes(ax, [(t - 0.4, b, 0.8, v) for t, (b, v) in enumerate(zip(bottom, values, strict=True))], colour, strength)
        bottom += values
    step = max(1, -(-count // 12))
    ax.set_xticks(range(0, count, step), [str(t) for t in c.tasks[::step]])
    ax.tick_params(axis="x", length=0)
    ax.set_yticks([0, 25, 50, 75, 100])
    ax.set_xlabel("after task", color=style.SOFT, fontsize=10)
    ax.set_ylabel("weights, %", color=style.SOFT, fontsize=10, labelpad=2)
    _legend(ax, KINDS)
    return fig


def overlap_figure(run: Result | Capacity, width: float = style.WIDTH) -> Figure:
    """How far the subnets of two tasks are the same: weights of both over weights of either.

    Up to 12 tasks the cells have numbers; beyond, the colours go from 0 to the largest overlap, and a scale says so.

    Args:
        run: a run with a capacity table.
        width: width in pixels.

    Raises:
        OptionError: it has none.
    """
    c = _as_capacity(run)
    values = c.jaccard[1:, :-1]
    count = len(values)
    numbers = count < LINES
    top = 1.0 if numbers else max(float(np.nanmax(values)), 0.01)
    cell = (width - 60) / max(count, 5)
    high = min(max(cell * 0.62, 18), 34) if numbers else min(cell, 240 / count)
    fig = style.figure(width, count * high + 52 + 20 * (not numbers))
    ax = style.axes(fig, left=48, right=12, top=10 + 20 * (not numbers), bottom=42)
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set_xlim(-0.5, max(count, 5) - 0.5)
    ax.set_ylim(count - 0.5, -0.5)
    gap = 0.04 if numbers else 0.02
    shade = np.round(_SHADES * values / top)
    for level in np.unique(shade[~np.isnan(shade)]):
        cells = [(x - 0.5 + gap, y - 0.5 + gap, 1 - 2 * gap, 1 - 2 * gap) for y, x in np.argwhere(shade == level).tolist()]
        _boxes(ax, cells, style.CELL, 0.04 + 0.96 * float(level) / _SHADES)
    for (row, column), value in np.ndenumerate(values):
        if numbers and not np.isnan(value):
            text = f"{value:.2f}".lstrip("0") if value < 0.995 else "1.0"
            ax.text(column, row, text, color="#ffffff" if value > 0.6 else style.INK, fontsize=10, ha="center", va="center")
    step = max(1, -(-count // 12))
    ax.set_xticks(range(0, count, step), [str(t) for t in c.tasks[:-1:step]])
    ax.set_yticks(range(0, count, step), [str(t) for t in c.tasks[1::step]])
    ax.tick_params(length=0)
    ax.set_xlabel("earlier task", color=style.SOFT, fontsize=10)
    ax.set_ylabel("later task", color=style.SOFT, fontsize=10)
    if not numbers:
        _legend(ax, [(f"{top * part:.2f}", style.CELL, 0.04 + 0.96 * part) for part in (0, 0.25, 0.5, 0.75, 1)])
    return fig


def _as_capacity(run: Result | Capacity) -> Capacity:
    return Capacity.of(run) if isinstance(run, Result) else run


def _pixels(ax: Axes) -> tuple[float, float]:
    """Width and height of the axes."""
    box, scale = ax.get_window_extent(), 72 / ax.figure.dpi
    return box.width * scale, box.height * scale


def _boxes(ax: Axes, boxes: Sequence[Box], colour: str, strength: float = 1.0, above: bool = False) -> None:
    """Rectangles (x, y, width, height) as one path, in values, or in shares of the axes where they lie above them."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    corners = [((x, y), (x + w, y), (x + w, y + h), (x, y + h), (x, y)) for x, y, w, h in boxes if w > 0 and h > 0]
    if not corners:
        return
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    path = Path(np.array(corners).reshape(-1, 2), codes * len(corners))
    patch = PathPatch(path, facecolor=colour, linewidth=0, alpha=strength)
    if not strength:
        patch = PathPatch(path, facecolor="none", edgecolor=style.SOFT, linewidth=0.5)
    if above:
        patch.set_transform(ax.transAxes)
        patch.set_clip_on(False)
    ax.add_patch(patch)


def _legend(ax: Axes, entries: Sequence[tuple[str, str, float]]) -> None:
    """Above the axes, from their left end: squares of these colours and opacities, each with its name."""
    width, height = _pixels(ax)
    x = 0.0
    for name, colour, strength in entries:
        _boxes(ax, [(x / width, 1 + 10 / height, 10 / width, 10 / height)], colour, strength, above=True)
        ax.text((x + 14) / width, 1 + 15 / height, name, color=style.INK, fontsize=10, va="center", transform=ax.transAxes)
        x += 26 + 5.3 * len(name)


def _task_legend(ax: Axes, tasks: Sequence[int], colours: Sequence[str]) -> None:
    """Above the axes: the colours of the tasks, in their order."""
    width, height = _pixels(ax)
    each = min(16.0, 150 / len(tasks))
    start = 78.0 + 6 * len(str(tasks[0]))
    first, last = ("", "") if len(tasks) <= LINES else (f" {tasks[0]}", str(tasks[-1]))
    place: dict[str, Any] = {"y": 1 + 15 / height, "va": "center", "fontsize": 10, "transform": ax.transAxes}
    ax.text(0, s=f"taken by task{first}", color=style.INK, **place)
    for i, (task, colour) in enumerate(zip(tasks, colours, strict=True)):
        x = start + i * each
        _boxes(ax, [(x / width, 1 + 9 / height, (each - 0.5) / width, 12 / height)], colour, above=True)
        if len(tasks) <= LINES:
            ax.text(
                (x + each / 2) / width,
                s=str(task),
                color=style.on_experience(i, len(colours)),
                ha="center",
                **{**place, "fontsize": 9},
            )
    ax.text((start + len(tasks) * each + 4) / width, s=last, color=style.INK, **place)
