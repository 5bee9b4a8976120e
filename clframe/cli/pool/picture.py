"""The graph of descent as a picture: a column a generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from clframe.errors import RunError, bad_option

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from clframe.cli.pool.graph import Group

COLOURS = {"real": "#0072b2", "synthetic": "#d55e00", "edited": "#00835f"}
INK, SOFT = "#1f2328", "#6b7280"
STEP, ROW, TOP = 150, 62, 56
"""Pixels between generations, between shards, and above them."""


def draw(groups: Sequence[Group], path: str) -> None:
    """Write the picture as SVG: areas by rows, a line from every nearest parent.

    Raises:
        OptionError: the name does not end in .svg.
        RunError: the file cannot be written.
    """
    if Path(path).suffix != ".svg":
        raise bad_option("svg", "a file that ends in .svg", path, "Rename it.")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    slots = _slots(groups)
    width = STEP * (1 + max((x for x, _ in slots.values()), default=0)) + 20
    height = TOP + ROW * (1 + max((y for _, y in slots.values()), default=0)) + 30
    fig = Figure(figsize=(width / 72, height / 72))
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.axis("off")
    pixels = {slot: (STEP * (x + 0.5) + 10, TOP + ROW * (y + 0.4)) for slot, (x, y) in slots.items()}
    most = max((g.rows for g in groups), default=1)
    sizes = [40 + 360 * g.rows / most for g in groups]
    _lines(ax, groups, pixels, sizes)
    for (i, child, _), (x, y) in pixels.items():
        if child is None:
            _node(ax, groups[i], x, y, sizes[i])
    for x, head in {pixels[slot][0]: groups[slot[0]].records[0].generation for slot in pixels if slot[1] is None}.items():
        ax.text(x, 20, f"generation {head}", ha="center", fontsize=10, weight="bold", color=INK)
    for i, (kind, colour) in enumerate(k for k in COLOURS.items() if any(g.records[0].kind == k[0] for g in groups)):
        ax.scatter([24 + 90 * i], [height - 14], s=40, color=colour, linewidths=0)
        ax.text(34 + 90 * i, height - 14, kind, va="center", fontsize=8.5, color=INK)
    try:
        with mpl.rc_context({"svg.hashsalt": "pool", "svg.fonttype": "none"}):
            fig.savefig(path, format="svg", metadata={"Date": None}, facecolor="#ffffff")
    except OSError as error:
        raise RunError(f"{path} must be a file that can be written; got {error}. Name another one.") from error


def _node(ax: Axes, group: Group, x: float, y: float, size: float) -> None:
    first, more = group.records[0], len(group.records) - 1
    ax.scatter([x], [y], s=size, color=COLOURS[first.kind], zorder=3, linewidths=0)
    words = f"{first.short[:8]}{f' and {more:,} more' if more else ''}"
    ax.text(x, y + 22, words, ha="center", va="center", fontsize=8.5, color=INK)
    ax.text(x, y + 33, f"{group.rows:,} rows", ha="center", va="center", fontsize=8, color=SOFT)


Slot = tuple[int, int | None, int]
"""A group, None, its column; or a parent, its child, and a column between theirs, through which their line goes."""


def _slots(groups: Sequence[Group]) -> dict[Slot, tuple[int, float]]:
    """Column and row of each slot: columns by generation, rows by the mean row of what leads there, each column in the middle."""
    ages = sorted({g.records[0].generation for g in groups})
    column = [ages.index(g.records[0].generation) for g in groups]
    comes_from: dict[Slot, list[Slot]] = {(i, None, column[i]): [] for i in range(len(groups))}
    for i, group in enumerate(groups):
        for p in group.parents:
            way = _way(p, i, column)
            for before, slot in pairwise(way):
                comes_from.setdefault(slot, []).append(before)
    members = [[slot for slot in comes_from if slot[2] == c] for c in range(len(ages))]
    tallest, found = max(map(len, members), default=1), dict[Slot, tuple[int, float]]()
    for c, slots in enumerate(members):
        wanted = {slot: [found[before][1] for before in comes_from[slot]] for slot in slots}
        slots.sort(key=lambda slot: sum(wanted[slot]) / max(1, len(wanted[slot])))
        found |= {slot: (c, place + (tallest - len(slots)) / 2) for place, slot in enumerate(slots)}
    return found


def _way(parent: int, child: int, column: Sequence[int]) -> list[Slot]:
    """The slots that the line from a parent to a child goes through."""
    between: list[Slot] = [(parent, child, c) for c in range(column[parent] + 1, column[child])]
    return [(parent, None, column[parent]), *between, (child, None, column[child])]


def _lines(ax: Axes, groups: Sequence[Group], pixels: Mapping[Slot, tuple[float, float]], sizes: Sequence[float]) -> None:
    """From each nearest parent to the child, around what lies between."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Line

    at = {i: c for i, child, c in pixels if child is None}
    column = [at[i] for i in range(len(groups))]
    for i, group in enumerate(groups):
        for p in group.parents:
            points = [pixels[slot] for slot in _way(p, i, column)]
            points[0] = points[0][0] + sizes[p] ** 0.5 / 2 + 3, points[0][1]
            points[-1] = points[-1][0] - sizes[i] ** 0.5 / 2 - 3, points[-1][1]
            bent = [points[0]]
            for (x, y), (to, level) in pairwise(points):
                bent += [((x + to) / 2, y), ((x + to) / 2, level), (to, level)]
            line = Line(bent, [Line.MOVETO] + [Line.CURVE4] * (len(bent) - 1))
            ax.add_patch(FancyArrowPatch(path=line, arrowstyle="-|>", mutation_scale=9, fc="none", ec=SOFT, lw=0.9))
