"""What only some runs have: heads measured beside the answer, and measures of the representation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clframe.eval.report import plots, style
from clframe.eval.report.series import representation_track, track
from clframe.eval.report.tables import usable
from clframe.eval.result import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = {"rankme_eigen": "RankMe", "alpha_req": "alpha-ReQ"}
"""The measures that are drawn, of all that are recorded, and how they print."""


def with_heads(order: Sequence[str], results: Results) -> list[str]:
    """The strategies of a report, then the heads that were measured beside their answers: each has a colour of its own."""
    return list(dict.fromkeys([*order, *results.heads.strategies]))


def head_figures(results: Results, chance: float | None = None, order: Sequence[str] = ()) -> dict[str, Figure]:
    """By strategy: mean accuracy over the experiences seen so far, one line for the answer and one for each head.

    Args:
        results: runs of one scenario.
        chance: accuracy of guessing, drawn as a dotted line; None draws none.
        order: all strategies and heads of the report, so that each has one colour throughout.
    """
    found: dict[str, Figure] = {}
    order = order or with_heads(results.strategies, results)
    for strategy in dict.fromkeys(r.strategy for r in results if r.heads):
        runs = usable(results.of(strategy))
        lines = {"answer": runs}
        for head in dict.fromkeys(h for r in runs for h in r.heads):
            lines[head] = Results([r.heads[head] for r in runs if head in r.heads])
        tracks = [track(x, x.strategies[0]) for x in lines.values()]
        found[strategy] = plots.comparison_figure(tracks, chance, order, labels=list(lines))
    return found


def representation_figure(results: Results, measure: str, order: Sequence[str] = (), width: float = style.WIDTH) -> Figure | None:
    """One measure of the features of all experiences begun, over updates, one line a strategy; None where none was recorded.

    Args:
        results: runs of one scenario.
        measure: "rankme_eigen", "rankme_singular" or "alpha_req".
        order: all strategies of the report, so that each has one colour throughout.
        width: width in pixels.
    """
    found = {s: representation_track(usable(results.of(s)), s, measure) for s in results.strategies}
    tracks = {s: t for s, t in found.items() if t is not None}
    if not tracks:
        return None
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    names = style.short_names(list(tracks))
    fig = style.figure(width, 230)
    ax = style.axes(fig, right=12 + 6.2 * max(map(len, names)))
    plots.update_axis(ax, max(tracks.values(), key=lambda t: t.times[-1]))
    top = 1.05 * max(float(np.nanmax(t.accuracy)) for t in tracks.values())
    top = max(top, 1e-9)
    ax.set_ylim(0, top)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.grid(axis="y", color=style.GRID, linewidth=0.7)
    ends: list[tuple[float, str, str]] = []
    for (strategy, t), name in zip(tracks.items(), names, strict=True):
        colour, dash = style.strategy_style((order or results.strategies).index(strategy))
        last = plots.line(ax, t.times, t.accuracy[:, :, 0], 120, colour, dash, band=len(tracks) <= plots.BANDS)
        if last is not None:
            ends.append((last, name, colour))
    style.end_labels(ax, ends, top)
    return fig
