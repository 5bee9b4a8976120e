"""What is read off the runs: accuracy at the end and of the weakest task, what is certified, whether promises are kept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from clframe.eval.metrics.certificates import at_last, summary
from clframe.eval.result import Result
from papers import figures
from papers.measures import difference, each, metric
from papers.study import BySeed, Runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from clframe.eval.result import Results

STREAMS = {
    "split": "Split MNIST, told",
    "told": "Permuted MNIST-10, told",
    "longer": "the same, 5 passes",
    "one": "Permuted, one network",
    "wider": "one network, wider",
    "cifar": "Split CIFAR-100, CNN",
}
ORDER = ("hyperinterval", "hyperinterval, hard", "intercontinet", "hnet", "ewc")


def method(strategy: str) -> str:
    """The name of a method, and "hard" where its containment is.

    >>> method("hyperinterval(gamma=0.03,hard=True)"), method("ewc(strength=10)")
    ('hyperinterval, hard', 'ewc')
    """
    name = re.split(r"\W", strategy)[0]
    return f"{name}, hard" if "hard=true" in strategy.lower() else name


def by_method(runs: Runs, stream: str) -> dict[str, Results]:
    """The runs of a stream, by method."""
    found = {
        method(s): results.of(s) for group, results in runs.items() if group.startswith(f"{stream}-") for s in results.strategies
    }
    return {name: found[name] for name in ORDER if name in found}


def weakest(result: Result) -> float:
    """The lowest accuracy of a task at the end of the stream, in percent."""
    return 100 * float(result.accuracy[-1].min())


def of_promises(result: Result, name: str) -> float | None:
    """A summary of the certificates, in percent; None where nothing was promised."""
    if result.certificates is None:
        return None
    value = summary(result.certificates, result.curves)[name]
    return 100 * value if isinstance(value, float) else None


def wrong_though_certified(result: Result) -> float | None:
    """Certified samples of promises that are kept at the end which are classified wrongly, summed over tasks."""
    if result.certificates is None:
        return None
    wrong, kept = (at_last(result.certificates, result.curves, n) for n in ("certified_wrong", "kept"))
    return float(wrong[kept == 1].sum())


def quantities(runs: Runs) -> dict[str, BySeed]:
    """Of every stream and method."""
    found: dict[str, BySeed] = {}
    for stream in STREAMS:
        of = by_method(runs, stream)
        for name, results in of.items():
            found[f"{stream}/{name}/acc"] = metric(results, "acc")
            found[f"{stream}/{name}/weakest"] = each(results, weakest)
            found[f"{stream}/{name}/bwt"] = metric(results, "bwt")
            if results[0].certificates is not None:
                found[f"{stream}/{name}/certified"] = each(results, lambda r: of_promises(r, "certified_final"))
                found[f"{stream}/{name}/containment"] = each(results, lambda r: of_promises(r, "containment_final"))
                found[f"{stream}/{name}/bound"] = each(results, lambda r: of_promises(r, "forgetting_bound_max"))
                found[f"{stream}/{name}/wrong"] = each(results, wrong_though_certified)
        if {"hyperinterval", "hyperinterval, hard"} <= set(of):
            soft, hard = found[f"{stream}/hyperinterval/acc"], found[f"{stream}/hyperinterval, hard/acc"]
            found[f"{stream}/soft over hard"] = difference(soft, hard)
    return found


def figure(runs: Runs) -> Figure:
    """Accuracy at the end, certified accuracy and the weakest task of every method, a panel for each stream."""
    return drawn(quantities(runs))


def drawn(found: Mapping[str, BySeed]) -> Figure:
    """The figure, from the quantities."""
    fig, axes = figures.panels([3.3, *[2.2] * 5], "Accuracy at the end, and what of it is certified, %", height=2.9)
    for i, (ax, (stream, title)) in enumerate(zip(axes, STREAMS.items(), strict=True)):
        _panel(ax, found, stream)
        ax.set_title(title, fontsize=10, color=figures.INK, loc="left")
        ax.set_yticks(range(len(ORDER)), ORDER if i == 0 else [""] * len(ORDER), fontsize=9)
        ax.set_ylim(len(ORDER) - 0.5, -0.5)
        ax.grid(axis="x", color=figures.GRID, linewidth=0.7)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower right", ncols=4, fontsize=9, frameon=False)
    return fig


def _panel(ax: Axes, found: Mapping[str, BySeed], stream: str) -> None:
    """A dot for the mean, a line from the lowest to the highest seed; certificates that are not kept are crossed out."""
    marks = (("accuracy", "o", 0), ("certified and kept", "s", 1), ("certified, not kept", "x", 1), ("weakest task", "|", 3))
    points: dict[str, list[tuple[float, list[float]]]] = {label: [] for label, *_ in marks}

    def of(name: str, what: str) -> list[float]:
        return [v for v in found.get(f"{stream}/{name}/{what}", {}).values() if v is not None]

    for y, name in enumerate(ORDER):
        points["accuracy"].append((y - 0.12, of(name, "acc")))
        points["weakest task"].append((y - 0.12, of(name, "weakest")))
        kept = all(v == 100 for v in of(name, "containment"))
        points["certified and kept" if kept else "certified, not kept"].append((y + 0.14, of(name, "certified")))
    for label, marker, colour in marks:
        shown = [(y, values) for y, values in points[label] if values]
        shade = figures.SOFT if colour == 3 else figures.COLOURS[colour]
        ax.plot([np.mean(v) for _, v in shown], [y for y, _ in shown], marker, color=shade, markersize=6, label=label)
        for y, values in shown:
            ax.plot([min(values), max(values)], [y, y], color=shade, linewidth=1.2)
