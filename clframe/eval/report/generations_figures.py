"""Figures of generations: a measure against the generation, a line for each policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from clframe.eval.report import style
from clframe.eval.report.series import Floats
from clframe.eval.statistics import summarise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from clframe.generations.outcome import Outcome

STEEP = 12.0
"""The axis is logarithmic where the largest mean is so many times the smallest."""
MEASURES = {"loss": "held-out real loss", "variance": "variance of the samples / of real data"}


def generations_figure(told: Sequence[Outcome], measure: str, policies: Sequence[str], width: float = style.WIDTH) -> Figure:
    """The mean over seeds with its 95 % interval; the expectation of theory is dotted.

    Args:
        told: outcomes of one generator.
        measure: "loss" or "variance".
        policies: all policies of the page, which gives each its colour.
        width: in pixels.
    """
    names = style.short_names([o.policy for o in told], 24)
    fig = style.figure(width, 290)
    ax = style.axes(fig, left=46, right=14 + 6.0 * max(map(len, names)), top=26, bottom=36)
    known = [o for o in told if np.isfinite(getattr(o, measure)).any()]
    means = np.concatenate([getattr(o, measure).mean(axis=0) for o in known])
    if means.min() > 0 and means.max() / means.min() > STEEP:
        ax.set_yscale("log")
    ends = []
    for name, o in zip(names, told, strict=True):
        if o not in known:
            continue
        colour, dash = style.strategy_style(list(policies).index(o.policy))
        values = getattr(o, measure)
        _line(ax, values, colour, dash)
        expected = getattr(o, f"expected_{measure}")
        if expected is not None:
            at = np.arange(1, len(expected) + 1)
            ax.plot(at, expected, color=colour, linewidth=1.1, linestyle=(0, (1, 2)), marker=".", markersize=4)
        ends.append((values.shape[1], float(values[:, -1].mean()), name, colour))
    _axes(ax, max(o.loss.shape[1] for o in told))
    ax.text(0, 1.04, MEASURES[measure] + _scaled(ax), transform=ax.transAxes, color=style.SOFT, fontsize=10, ha="left")
    _labels(ax, ends)
    return fig


def _line(ax: Axes, values: Floats, colour: str, dash: style.Dash) -> None:
    at = np.arange(1, values.shape[1] + 1)
    ax.plot(at, values.mean(axis=0), color=colour, linewidth=1.6, linestyle=dash)
    if len(values) > 1:
        told = [summarise(column.tolist()) for column in values.T]
        low, high = np.array([t.low for t in told], dtype=float), np.array([t.high for t in told], dtype=float)
        if ax.get_yscale() == "log":
            low = np.maximum(low, values.min(axis=0) / 2)
        ax.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)


def _axes(ax: Axes, generations: int) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_xlim(1, max(generations, 2))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlabel("generation", color=style.SOFT, fontsize=10)
    ax.grid(axis="y", color=style.GRID, linewidth=0.7)
    ax.margins(y=0.06)


def _scaled(ax: Axes) -> str:
    """Tick labels of two decimals at most, as the page keeps them; what they are to be multiplied by, for the title."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    power = max(0, -math.floor(math.log10(max(ax.get_ylim()[1], 1e-300))))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{round(v * 10**power, 2):g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    return f" (× 1e-{power})" if power else ""


def _labels(ax: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names at the right edge, moved apart, each tied to the last point of its line."""
    box, (wide, tall) = ax.get_position(), ax.figure.get_size_inches() * 72  # type: ignore[union-attr]
    place = ax.transData + ax.transAxes.inverted()
    wanted = [float(place.transform((x, y))[1]) for x, y, _, _ in ends]
    for at, (x, y, text, colour) in zip(style.spread(wanted, 13 / (box.height * tall), 0.0, 1.0), ends, strict=True):
        ax.annotate(
            text,
            (x, y),
            xytext=(1 + 9 / (box.width * wide), at),
            textcoords="axes fraction",
            color=colour,
            fontsize=10,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2},
            annotation_clip=False,
            parse_math=False,
        )
