"""The figure: closed forms, images and texts, one row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clframe.eval.statistics import summarise
from clframe.generations import theory
from papers.figures import COLOURS, GRID, INK, SOFT
from papers.measured import Cell
from papers.model_collapse.groups import POLICIES
from papers.model_collapse.outcome import mean_of, series, tables
from papers.study import Runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

STYLE = {
    "replace": (COLOURS[1], "v"),
    "accumulate": (COLOURS[0], "o"),
    "accumulate-subsample": (COLOURS[2], "s"),
    "sensitivity": (COLOURS[3], "D"),
    "sensitivity, distinct": (INK, "*"),
    "uniform, repeated": (SOFT, "P"),
    "fixed-real": ("#b07d00", "^"),
    "golden": ("#2b9fd8", "X"),
}
"""Colour and marker of each policy."""
BASE = "accumulate-subsample"
Line = list[tuple[float, ...]]
"""Of each generation the mean, and the ends of its interval."""


def figure(runs: Runs) -> Figure:
    """Three rows of three panels."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(14.0, 12.0), layout="constrained", facecolor="white")
    rows: Any = fig.subfigures(3, 1, height_ratios=[1.0, 1.0, 1.05])
    _closed(rows[0], runs)
    _titled(rows[1], "A VAE on MNIST, on held-out real images (mean and 95 % interval over seeds)")
    _model(rows[1], runs["vae"], "nats an image", ("coverage", "coverage of real neighbourhoods"))
    _titled(rows[2], "A language model on tiny Shakespeare, on held-out real text")
    _model(rows[2], runs["language"], "nats a token", ("gram_entropy", "entropy of pairs of words, less real"))
    used = [name for name in STYLE if any(name in _named(runs[group]) for group in runs)]
    handles = [rows[2].axes[0].plot([], [], color=STYLE[n][0], marker=STYLE[n][1], linewidth=1.2, label=n)[0] for n in used]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(used), fontsize=9.5, frameon=False, labelcolor=INK)
    return fig


def _named(cells: Sequence[Cell]) -> set[str]:
    return {name for name, words in POLICIES.items() if any(cell.options["policy"] == words for cell in cells)}


def _closed(part: SubFigure, runs: Runs) -> None:
    _titled(part, "Closed forms (lines) and clframe's policies and generators (points, mean and 95 % interval)")
    axes = part.subplots(1, 3)
    linear, gaussian = tables(runs["linear"]), tables(runs["gaussian"])
    rows = min(rows for rows, _ in linear)
    every = {name: [_ends(column) for column in table.T] for (at, name), table in linear.items() if at == rows}
    for ax, names in ((axes[0], theory.POLICIES), (axes[1], [name for name in STYLE if name != "replace"])):
        for shift, name in enumerate(n for n in names if n in every):
            _draw(ax, every[name], name, joined=ax is axes[1], shift=0.07 * (shift - 2) * (ax is axes[1]))
    for name in theory.POLICIES:
        expected = theory.linear_ratio(name, len(every[name]))
        axes[0].plot(range(1, len(expected) + 1), expected, color=STYLE[name][0], linewidth=1.2)
    _plain(axes[0], f"least squares, T = {rows}: error, of generation 1")
    _plain(axes[1], "the same without replace, all policies")
    _variances(axes[2], gaussian)


def _variances(ax: Axes, gaussian: Mapping[tuple[int, str], Any]) -> None:
    for (rows, name), table in gaussian.items():
        style: dict[str, Any] = {"color": STYLE[name][0], "linewidth": 1.2, "linestyle": "-" if rows == 10 else "--"}
        means = [mean_of(column).mean for column in table.T]
        generations = range(1, len(means) + 1)
        ax.plot(generations, means, STYLE[name][1], color=STYLE[name][0], markersize=4, markevery=3)
        if name in theory.POLICIES[:2]:
            ax.plot(generations, theory.gaussian_variance(name, len(means), rows=rows), **style)
    _plain(ax, "Gaussian: variance, of the true one (T = 10 –, T = 100 - -)")
    ax.set_ylim(0, 1.05)


def _model(part: SubFigure, cells: Sequence[Cell], unit: str, third: tuple[str, str]) -> None:
    """Loss; loss beside that of accumulate-subsample, seed by seed; one of the alarms."""
    axes, every = part.subplots(1, 3), series(cells)
    names = [name for name in STYLE if name in every]
    for shift, name in enumerate(names):
        away = 0.05 * (shift - len(names) / 2)
        _draw(axes[0], _over_seeds(every[name]["loss"]), name, joined=True, shift=away)
        if name not in (BASE, "replace"):
            beside = {s: _less(values, every[BASE]["loss"][s]) for s, values in every[name]["loss"].items()}
            _draw(axes[1], _over_seeds(beside), name, joined=True, shift=away)
        _draw(axes[2], _over_seeds(every[name][third[0]]), name, joined=True, shift=away)
    axes[1].axhline(0, color=STYLE[BASE][0], linewidth=1.2)
    _plain(axes[0], f"held-out real loss, {unit}")
    _plain(axes[1], f"the same, less that of {BASE}")
    _plain(axes[2], third[1])


def _over_seeds(by_seed: Mapping[int, Sequence[float | None]]) -> Line:
    found = [summarise(values) for values in zip(*by_seed.values(), strict=True)]
    ends = [(s.mean, s.mean if s.low is None else s.low, s.mean if s.high is None else s.high) for s in found]
    return [tuple(float("nan") if value is None else value for value in one) for one in ends]


def _less(values: Sequence[float | None], base: Sequence[float | None]) -> list[float | None]:
    return [None if a is None or b is None else a - b for a, b in zip(values, base, strict=True)]


def _ends(column: Any) -> tuple[float, ...]:
    found = mean_of(column)
    return found.mean, found.low, found.high


def _draw(ax: Axes, points: Line, name: str, *, joined: bool, shift: float) -> None:
    mean, low, high = np.array(points).T
    colour, marker = STYLE[name]
    style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 7 if marker == "*" else 4.5, "capsize": 2}
    x = np.arange(1, len(mean) + 1) + shift
    ax.errorbar(x, mean, yerr=[mean - low, high - mean], linestyle="-" if joined else "", linewidth=1.0, elinewidth=0.9, **style)


def _titled(part: SubFigure, title: str) -> None:
    part.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)


def _plain(ax: Axes, title: str) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.tick_params(labelsize=9, colors=SOFT)
    ax.grid(axis="y", color=GRID, linewidth=0.7)
    ax.set_axisbelow(True)
    ax.set_title(title, fontsize=10, color=INK, loc="left")
    ax.set_xlabel("generation", fontsize=9, color=INK)
    ax.locator_params(axis="x", integer=True)
