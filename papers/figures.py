"""What the figures of the studies share: the accuracy of the first task around a switch, seeds as a band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from clframe.eval.result import Results
from papers.measures import Floats, around, gradient_curve, task1_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, GRID = "#1f2328", "#6b7280", "#d9dce1"
COLOURS = ("#0072b2", "#d55e00", "#00835f", "#b8578f")


def panels(widths: Sequence[float], title: str, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    """A white figure with panels of these widths in inches, side by side, and a title at its left."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(sum(widths), height), layout="constrained", facecolor="white")
    fig.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    axes = list(fig.subplots(1, len(widths), squeeze=False, gridspec_kw={"width_ratios": list(widths)})[0])
    for ax in axes:
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        ax.tick_params(labelsize=9, colors=SOFT)
        ax.grid(axis="y", color=GRID, linewidth=0.7)
        ax.set_axisbelow(True)
    return fig, axes


def percent_axis(ax: Axes, label: str = "accuracy of task 1, %") -> None:
    """The y axis of accuracies."""
    ax.set_ylim(-2, 102)
    ax.set_yticks([0, 25, 50, 75, 100])
    ax.set_ylabel(label, fontsize=9, color=INK)


def band(ax: Axes, x: Floats, values: Floats, colour: str, label: str, marker: bool = False, dash: str = "-") -> None:
    """The mean over seeds (S, T) with a band from the lowest to the highest seed, where every seed was measured."""
    known = ~np.isnan(values).any(axis=0)
    x, values = x[known], values[:, known]
    if values.shape[0] > 1:
        ax.fill_between(x, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0)
    ax.plot(x, values.mean(axis=0), dash, color=colour, linewidth=1.3, label=label, marker="." if marker else "", markersize=4)


def stream(ax: Axes, results: Results, colour: str, label: str) -> None:
    """Task 1 along the whole stream, every update; vertical lines at the switches, diamonds at the ends of tasks."""
    ends = results[0].curves.ends
    n = np.arange(ends[-1] + 1)
    values = np.stack([task1_curve(r) for r in results])
    band(ax, n.astype(np.float64), values, colour, label)
    mean = values.mean(axis=0)
    ax.plot(ends, mean[list(ends)], "D", color=INK, markersize=4, label="at the end of a task", zorder=3)
    for end in ends[:-1]:
        ax.axvline(end, color=SOFT, linewidth=0.7, zorder=0.5)
    ax.set_xlim(0, ends[-1])
    ax.set_xlabel("updates", fontsize=9, color=INK)


def switch(ax: Axes, results: Results, boundary: int, after: int, colour: str, label: str, before: int = 5) -> None:
    """Task 1 from `before` updates before a switch to `after` updates after it."""
    offsets = range(-before, after + 1)
    values = around(results, boundary, offsets, task1_curve)
    band(ax, np.asarray(offsets, dtype=np.float64), values, colour, label, marker=after <= 40)
    switch_axis(ax, before, after)


def gradients(ax: Axes, results: Results, boundary: int, after: int, label: str) -> None:
    """Norms of both parts of the gradient in the first `after` updates after a switch."""
    offsets = np.arange(1, after + 1)
    for part, colour in (("plasticity", COLOURS[1]), ("stability", COLOURS[2])):
        values = around(results, boundary, offsets.tolist(), gradient_curve(part))
        band(ax, offsets.astype(np.float64), values, colour, part, marker=True)
    switch_axis(ax, 0, after)
    ax.set_ylabel(label, fontsize=9, color=INK)
    legend(ax, "upper right")


def switch_axis(ax: Axes, before: int, after: int) -> None:
    """The x axis of updates since a switch."""
    ax.set_xlim(-before, after)
    ax.axvline(0, color=SOFT, linewidth=0.7, zorder=0.5)
    ax.set_xlabel("updates since the switch", fontsize=9, color=INK)


def legend(ax: Axes, place: Literal["lower right", "upper right"] = "lower right") -> None:
    """A small legend."""
    ax.legend(loc=place, fontsize=8.5, frameon=True, framealpha=0.9, edgecolor=GRID, labelcolor=INK)
