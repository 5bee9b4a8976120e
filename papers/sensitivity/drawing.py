"""The figure: errors of the mean loss by embedding, accuracy by number of rows, least squares by data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from papers.figures import COLOURS, GRID, INK, SOFT
from papers.runner import summary
from papers.sensitivity.embeddings import WORST_TO_BEST
from papers.sensitivity.outcome import quantities
from papers.study import BySeed, Interval, Runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Found = Mapping[str, BySeed | Interval]
NAMES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar100": "CIFAR-100"}
SHORT = {
    "pca": "PCA",
    "pretrained": "pre-\ntrained",
    "log-probabilities": "log-\nprobs",
    "log-probabilities + label": "log-probs\n+ label",
    "logged": "logged\nlosses",
}
ERRORS = {
    "sensitivity, ls": ("sensitivity", COLOURS[0], "o"),
    "sensitivity, paper": ("sensitivity, λ by largest ratio", COLOURS[1], "v"),
    "stratified": ("stratified", COLOURS[2], "s"),
    "greg": ("calibrated (GREG)", COLOURS[3], "D"),
    "auto": ("auto", INK, "*"),
    "proxy": ("drawn in proportion to the logged loss", SOFT, "P"),
}
TRAINED = {
    "sensitivity": (COLOURS[0], "o"),
    "stratified": (COLOURS[2], "s"),
    "auto": (INK, "*"),
    "margin": (COLOURS[1], "v"),
    "k-center": (COLOURS[3], "D"),
    "herding": (SOFT, "P"),
}
SOLVED = {
    "leverage, half": ("leverage, half uniform", COLOURS[1], "v"),
    "distance, half": ("distance to centre, half uniform", COLOURS[2], "s"),
    "residual": ("the paper's variant", COLOURS[0], "o"),
    "residual, half": ("the same, half uniform", COLOURS[3], "D"),
}

LOWEST = -7.0
"""Points of accuracy below which the axis ends."""
LEAST = 3e-3
"""The least ratio on the axis of least squares."""
TICKS = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)
"""Of a logarithmic axis that spans less than a factor of 30; otherwise powers of ten."""


def figure(runs: Runs) -> Figure:
    """Three rows: what the answer is, for the mean loss, for training, and for least squares."""
    from matplotlib.figure import Figure

    found = quantities(runs)
    datas = [cell.options["data"] for cell in runs["mean"]]
    fig = Figure(figsize=(max(9.0, 4.6 * len(datas)), 11.5), layout="constrained", facecolor="white")
    rows: Any = fig.subfigures(3, 1, height_ratios=[1.15, 1.1, 1.0])
    largest = max(int(key.split("/k")[-1].split("/")[0]) for key in found if key.startswith("mean/") and "/k" in key)
    _titled(rows[0], "Error of the mean loss, as a multiple of uniform's at the same number of losses (below 1: better)")
    axes = rows[0].subplots(1, len(datas), squeeze=False, sharey=True)[0]
    for ax, data in zip(axes, datas, strict=True):
        _errors(ax, found, data, largest)
    axes[0].legend(fontsize=8.5, frameon=False, labelcolor=INK, loc="lower left")
    _titled(rows[1], "Accuracy after training on the chosen rows, in points beside uniform (above 0: better; 95 % intervals)")
    axes = rows[1].subplots(1, len(datas), squeeze=False)[0]
    for ax, data in zip(axes, datas, strict=True):
        _trained(ax, found, data)
    axes[0].legend(fontsize=8.5, frameon=False, labelcolor=INK, loc="upper left", ncols=3)
    sizes = sorted({int(key.split("/")[2]) for key in found if key.startswith("squares/")})
    size = sizes[len(sizes) // 2]
    _titled(rows[2], f"Least squares on {size:,} chosen rows: median excess loss, as a multiple of uniform's (below 1: better)")
    _solved(rows[2].subplots(), found, [cell.options["data"] for cell in runs["squares"]], size)
    return fig


def _titled(part: SubFigure, title: str) -> None:
    part.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)


def _plain(ax: Axes, one: float) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.tick_params(labelsize=9, colors=SOFT)
    ax.grid(axis="y", color=GRID, linewidth=0.7)
    ax.set_axisbelow(True)
    ax.axhline(one, color=INK, linewidth=1.1)


def _points(ax: Axes, x: Sequence[float], shown: Sequence[Mapping[str, float]], colour: str, marker: str, label: str) -> None:
    """Means with their intervals."""
    mean = np.array([s["mean"] for s in shown])
    ends = np.array([[s["mean"] - (s["low"] or s["mean"]), (s["high"] or s["mean"]) - s["mean"]] for s in shown]).T
    style: dict[str, Any] = {
        "color": colour,
        "marker": marker,
        "markersize": 8 if marker == "*" else 5,
        "capsize": 2,
        "elinewidth": 1.0,
    }
    ax.errorbar(x, mean, yerr=np.maximum(ends, 0), linewidth=1.0, linestyle="-" if len(x) > 1 else "", label=label, **style)


def _errors(ax: Axes, found: Found, data: str, k: int) -> None:
    names = [e for e in WORST_TO_BEST if f"mean/{data}/{e}/k{k}/uniform" in found]
    for shift, (method, (label, colour, marker)) in enumerate(ERRORS.items()):
        keys = {i: f"mean/{data}/{e}/k{k}/{method}" for i, e in enumerate(names)}
        keys = {i: key for i, key in keys.items() if key in found}
        _points(ax, [i + 0.09 * (shift - 2) for i in keys], [summary(found[key]) for key in keys.values()], colour, marker, label)
    _plain(ax, 1)
    logarithmic(ax)
    followed = [summary(found[f"mean/{data}/{e}/k{k}/correlation"])["mean"] for e in names]
    ticks = [f"{SHORT.get(e, e)}\n({c:.2f})" for e, c in zip(names, followed, strict=True)]
    ax.set_xticks(range(len(names)), ticks, fontsize=8)
    ax.set_title(NAMES.get(data, data), fontsize=10, color=INK, loc="left")
    ax.set_xlabel("embedding (correlation of guess and loss)", fontsize=9, color=INK)


def logarithmic(ax: Axes) -> None:
    """A logarithmic y axis with plain numbers."""
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ticks = [t for t in ((0.1, 0.2, 0.3, *TICKS) if high < 30 * low else 10.0 ** np.arange(-4, 3)) if low <= t <= high]
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()


def _trained(ax: Axes, found: Found, data: str) -> None:
    """Both protocols, side by side."""
    keys = [key.split("/") for key in found if key.startswith(f"accuracy/{data}/") and key.endswith("/uniform")]
    places = [(protocol, size) for _, _, protocol, size, _ in keys]
    places.sort(key=lambda place: (place[0] == "at once", int(place[1])))
    for shift, (method, (colour, marker)) in enumerate(TRAINED.items()):
        here = [(i, f"accuracy/{data}/{p}/{s}/{method} over uniform") for i, (p, s) in enumerate(places)]
        here = [(i, key) for i, key in here if key in found]
        for protocol in dict.fromkeys(p for p, _ in places):
            part = [(i, key) for i, key in here if places[i][0] == protocol]
            if part:
                label = method if protocol == places[0][0] else "_"
                x, shown = [i + 0.1 * (shift - 2.5) for i, _ in part], [summary(found[key]) for _, key in part]
                _points(ax, x, shown, colour, marker, label)
                _below(ax, x, [s["mean"] for s in shown], colour, LOWEST, ".0f")
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, LOWEST), high + 2)  # room for the legend
    _plain(ax, 0)
    ax.set_xticks(range(len(places)), [f"{int(s):,}\n{p if i % 3 == 1 else ''}" for i, (p, s) in enumerate(places)], fontsize=8.5)
    ax.set_title(NAMES.get(data, data), fontsize=10, color=INK, loc="left")
    ax.set_xlabel("rows trained on, and protocol", fontsize=9, color=INK)


def _below(ax: Axes, x: Sequence[float], mean: Sequence[float], colour: str, lowest: float, form: str) -> None:
    """The numbers of points that lie below the axis, just above it."""
    for at, value in zip(x, mean, strict=True):
        if value < lowest:
            place: dict[str, Any] = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center", "va": "bottom"}
            ax.annotate(format(value, form), (at, lowest), fontsize=7.5, color=colour, rotation=90 * (form != ".0f"), **place)


def _solved(ax: Axes, found: Found, names: Sequence[str], size: int) -> None:
    names = [n for n in names if f"squares/{n}/{size}/uniform" in found]
    for shift, (method, (label, colour, marker)) in enumerate(SOLVED.items()):
        for i, name in enumerate(names):
            shown = [summary(found[f"squares/{name}/{size}/{method}"])]
            x = [i + 0.15 * (shift - 1.5)]
            _points(ax, x, shown, colour, marker, label if i == 0 else "_")
            _below(ax, x, [shown[0]["mean"]], colour, LEAST, ".0e")
    _plain(ax, 1)
    ax.set_ylim(LEAST, 30)
    logarithmic(ax)
    ax.set_xticks(range(len(names)), [name.replace(", ", ",\n") for name in names], fontsize=8.5)
    ax.legend(fontsize=8.5, frameon=False, labelcolor=INK, ncols=4, loc="upper left")
