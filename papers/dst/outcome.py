"""What is read off the runs: accuracy of every cell, the differences that the paper's advice is about, what the defects cost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from papers import figures
from papers.dst.cells import DEFECTS, DENSITIES, GROWTHS, INITS, Cell
from papers.dst.published import accuracy
from papers.measures import difference, metric
from papers.study import BySeed, Runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from clframe.eval.result import Results

WRITTEN = re.compile(r"density=([\d.]+),init=(\w+),growth=(\w+)")
ADVICE: dict[int, dict[str, tuple[Cell, Cell]]] = {
    10: {
        "0.2: ERK over uniform, unfired": (Cell("erk", "unfired", 0.2), Cell("uniform", "unfired", 0.2)),
        "0.2: ERK over uniform, random": (Cell("erk", "random", 0.2), Cell("uniform", "random", 0.2)),
        "0.2: ERK, unfired over gradient": (Cell("erk", "unfired", 0.2), Cell("erk", "gradient", 0.2)),
        "0.1: uniform gradient over ERK random": (Cell("uniform", "gradient", 0.1), Cell("erk", "random", 0.1)),
        "0.1: ERK, adaptive over random": (Cell("erk", "adaptive", 0.1), Cell("erk", "random", 0.1)),
        "0.1: ERK, adaptive over gradient": (Cell("erk", "adaptive", 0.1), Cell("erk", "gradient", 0.1)),
        "0.05: uniform over ERK, gradient": (Cell("uniform", "gradient", 0.05), Cell("erk", "gradient", 0.05)),
        "0.05: uniform over ERK, random": (Cell("uniform", "random", 0.05), Cell("erk", "random", 0.05)),
        "0.05: uniform, gradient over random": (Cell("uniform", "gradient", 0.05), Cell("uniform", "random", 0.05)),
        "0.05: ERK, gradient over random": (Cell("erk", "gradient", 0.05), Cell("erk", "random", 0.05)),
    },
    20: {
        "0.2: ERK over uniform, unfired": (Cell("erk", "unfired", 0.2), Cell("uniform", "unfired", 0.2)),
        "0.05: uniform over ERK, gradient": (Cell("uniform", "gradient", 0.05), Cell("erk", "gradient", 0.05)),
        "uniform gradient: 0.05 over 0.2": (Cell("uniform", "gradient", 0.05), Cell("uniform", "gradient", 0.2)),
        "ERK gradient: 0.05 over 0.2": (Cell("erk", "gradient", 0.05), Cell("erk", "gradient", 0.2)),
    },
}
"""The first minus the second, in points of accuracy."""


def cells(results: Results) -> dict[Cell, Results]:
    """The runs of every cell."""
    return {_cell(name): results.of(name) for name in results.strategies}


def quantities(runs: Runs) -> dict[str, BySeed]:
    """Advice first, then defects, then every cell."""
    found: dict[str, BySeed] = {}
    accuracies = {tasks: {c: metric(r, "acc") for c, r in cells(runs[f"tasks{tasks}"]).items()} for tasks in ADVICE}
    for tasks, rows in ADVICE.items():
        for name, (first, second) in rows.items():
            found[f"{tasks} tasks/{name}"] = difference(accuracies[tasks][first], accuracies[tasks][second])
    found |= _defects(runs["defects10"], accuracies[10])
    for tasks in ADVICE:
        every = runs[f"tasks{tasks}"]
        seeds = sorted({r.seed for r in every})
        found[f"{tasks} tasks/largest |BWT|"] = {
            s: max(100 * abs(r.metrics.bwt or 0.0) for r in every if r.seed == s) for s in seeds
        }
        for cell in sorted(accuracies[tasks]):
            found[f"{tasks} tasks/acc/{cell.init}, {cell.growth}, {cell.density}"] = accuracies[tasks][cell]
    others = runs["others10"]
    for name in others.strategies:
        found[f"10 tasks/acc/{name}"] = metric(others.of(name), "acc")
    found["10 tasks/la/finetune"] = metric(others.of("finetune"), "la")
    return found


def _defects(results: Results, right: dict[Cell, BySeed]) -> dict[str, BySeed]:
    found = {}
    for name in results.strategies:
        on = [d for d in DEFECTS if f"{d}=true" in name]
        what = "all" if len(on) == len(DEFECTS) else on[0]
        cell = _cell(name)
        init = "ERK" if cell.init == "erk" else cell.init
        found[f"defects/{what}: {init} random {cell.density}"] = difference(right[cell], metric(results.of(name), "acc"))
    gap = "defects/restore: {} random 0.05"
    erk, uniform = Cell("erk", "random", 0.05), Cell("uniform", "random", 0.05)
    loss = difference(found[gap.format("ERK")], found[gap.format("uniform")])
    found["defects/restore: 0.05: uniform over ERK, random"] = _sum(difference(right[uniform], right[erk]), loss)
    return dict(sorted(found.items()))


def _sum(first: BySeed, second: BySeed) -> BySeed:
    pairs = {seed: (first[seed], second[seed]) for seed in first if seed in second}
    return {seed: None if a is None or b is None else a + b for seed, (a, b) in pairs.items()}


def _cell(strategy: str) -> Cell:
    match = WRITTEN.search(strategy)
    assert match is not None, strategy
    return Cell(match[2], match[3], float(match[1]))


def figure(runs: Runs) -> Figure:
    """Ten tasks: accuracy of each growth under both initialisations, a panel for each density; the paper's below."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(9.5, 5.6), layout="constrained", facecolor="white")
    fig.suptitle("Split CIFAR-100, ten tasks: accuracy, %", x=0.01, ha="left", fontsize=11, color=figures.INK)
    rows = fig.subplots(2, len(DENSITIES), sharey="row")
    ours = {c: list(metric(r, "acc").values()) for c, r in cells(runs["tasks10"]).items()}
    for column, density in enumerate(DENSITIES):
        _panel(rows[0][column], {(i, g): _ours(ours[Cell(i, g, density)]) for i, g in _pairs()})
        rows[0][column].set_title(f"density {density}", fontsize=10, color=figures.INK, loc="left")
        _panel(rows[1][column], {(i, g): accuracy(10, Cell(i, g, density)) for i, g in _pairs()})
    rows[0][0].set_ylabel("obtained, thinned data", fontsize=9, color=figures.INK)
    rows[1][0].set_ylabel("paper, ResNet-18", fontsize=9, color=figures.INK)
    rows[0][2].legend(fontsize=9, frameon=False, loc="upper right")
    return fig


def _pairs() -> Iterator[tuple[str, str]]:
    return ((i, g) for i in INITS for g in GROWTHS)


def _ours(values: list[float | None]) -> tuple[float, float]:
    known = np.array([v for v in values if v is not None])
    return float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else 0.0


def _panel(ax: Axes, values: dict[tuple[str, str], tuple[float, float] | None]) -> None:
    """Mean and standard deviation over seeds."""
    for i, init in enumerate(INITS):
        points = [(j + 0.24 * (i - 0.5), v) for j, g in enumerate(GROWTHS) if (v := values[init, g]) is not None]
        x, mean, sd = [p[0] for p in points], [p[1][0] for p in points], [p[1][1] for p in points]
        label = "ERK" if init == "erk" else init
        ax.errorbar(x, mean, sd, fmt="o", color=figures.COLOURS[i], markersize=4.5, elinewidth=1.2, label=label)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.set_xticks(range(len(GROWTHS)), GROWTHS, rotation=30, ha="right", fontsize=8)
    ax.tick_params(colors=figures.SOFT)
    ax.grid(axis="y", color=figures.GRID, linewidth=0.7)
    ax.set_axisbelow(True)
