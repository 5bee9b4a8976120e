"""What is read off the cells: errors as a share of those of uniform, paired differences of accuracy, ratios of excess losses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from clframe.seeding import rng
from papers.measured import Cell
from papers.measures import difference
from papers.sensitivity.network import Numbers
from papers.study import BySeed, Interval, Runs

RESAMPLES = 2000
Statistic = Callable[[Numbers], Numbers]
"""Values (..., n) -> (...)."""
ALONG = {
    "sensitivity, pixels over log-probabilities + label": (
        ("pixels", "sensitivity, ls"),
        ("log-probabilities + label", "sensitivity, ls"),
    ),
    "sensitivity over stratified, pixels": (("pixels", "sensitivity, ls"), ("pixels", "stratified")),
}
"""Ratios of two errors, each already a share of that of uniform."""
SIDE_BY_SIDE = (("distance", "leverage"), ("distance, half", "leverage"), ("residual, half", "leverage"))


def root_mean_square(values: Numbers) -> Numbers:
    """Over the last axis."""
    return np.asarray(np.sqrt((values**2).mean(-1)))


def median(values: Numbers) -> Numbers:
    """Over the last axis."""
    return np.asarray(np.median(values, -1))


def ratio(of: Statistic, above: Sequence[float], below: Sequence[float] | float, scale: float = 1.0) -> Interval:
    """of(above) / (scale of(below)), or over a number that is known, with the percentile bootstrap of each sample apart.

    >>> ratio(median, [1.0, 2.0, 3.0], 4.0).mean
    0.5
    """
    first = np.asarray(above)
    again = of(_resampled(first, 0))
    if isinstance(below, float):
        mean, every = float(of(first)) / below, again / below
    else:
        second = np.asarray(below)
        mean, every = float(of(first) / of(second)) / scale, again / of(_resampled(second, 1)) / scale
    low, high = np.quantile(every, [0.025, 0.975])
    return Interval(len(first), mean, float(low), float(high))


def _resampled(values: Numbers, which: int) -> Numbers:
    return values[rng(which, "bootstrap").integers(len(values), size=(RESAMPLES, len(values)))]


def quantities(runs: Runs) -> dict[str, BySeed | Interval]:
    """The mean loss, coverage, accuracy, least squares."""
    found: dict[str, BySeed | Interval] = {}
    for cell in runs["mean"]:
        found.update(_mean(cell.options["data"], cell.found))
    found.update(_coverage(runs["mean"]))
    found.update(_accuracy(runs["accuracy"]))
    for cell in runs["squares"]:
        found.update(_squares(cell.options["data"], cell.found["excess"]))
    return found


def _mean(data: str, found: Mapping[str, Any]) -> Iterator[tuple[str, BySeed | Interval]]:
    yield f"mean/{data}/accuracy", _plain(found["accuracy"])
    yield f"mean/{data}/mean loss", _plain(found["mean"])
    yield f"mean/{data}/deviation of losses", _plain(found["sd"])
    trials = {(t["k"], t["embedding"], t["method"]): t for t in found["trials"]}
    for (k, embedding, method), trial in trials.items():
        at = f"mean/{data}/{embedding}/k{k}"
        if method == "uniform":
            yield f"{at}/correlation", _plain(trial["correlation"])
        yield f"{at}/{method}", ratio(root_mean_square, trial["errors"], float(trial["uniform"]))
        yield f"{at}/{method}, losses", _plain(trial["queries"])
        if trial["taken"]:
            yield f"{at}/{method} takes uniform", _plain(100 * trial["taken"].get("uniform", 0) / len(trial["errors"]))
    for k in sorted({k for k, *_ in trials}):
        for name, ((e1, m1), (e2, m2)) in ALONG.items():
            above, below = trials[k, e1, m1], trials[k, e2, m2]
            scale = above["uniform"] / below["uniform"]
            yield f"mean/{data}/k{k}/{name}", ratio(root_mean_square, above["errors"], below["errors"], scale)


def _plain(value: float) -> BySeed:
    return {0: float(value)}


def _coverage(cells: Sequence[Cell]) -> dict[str, Interval]:
    """Of each method the share of intervals that held the truth, in percent, over all pools (normal interval)."""
    held: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for trial in (t for cell in cells for t in cell.found["trials"]):
        held[trial["method"]][0] += trial["held"]
        held[trial["method"]][1] += len(trial["errors"])
    found = {}
    for method, (right, draws) in held.items():
        share = right / draws
        half = 1.96 * float(np.sqrt(share * (1 - share) / draws))
        found[f"coverage/{method}"] = Interval(draws, 100 * share, 100 * (share - half), 100 * (share + half))
    return found


def _accuracy(cells: Sequence[Cell]) -> dict[str, BySeed]:
    """Of uniform by seed, and of the other methods the difference to it, seed by seed."""
    every: dict[str, BySeed] = defaultdict(dict)
    for cell in cells:
        for name, value in cell.found.items():
            every[f"accuracy/{cell.options['data']}/{name}"][cell.options["seed"]] = value
    found: dict[str, BySeed] = {}
    for name, values in every.items():
        base = name.rpartition("/")[0] + "/uniform"
        found |= {name: values} if name == base else {f"{name} over uniform": difference(values, every[base])}
    return found


def _squares(data: str, excess: Mapping[str, Sequence[float]]) -> Iterator[tuple[str, Interval]]:
    for name, values in excess.items():
        size, _, method = name.partition("/")
        at = f"squares/{data}/{size}"
        if method == "uniform":
            yield f"{at}/uniform", ratio(median, values, 1.0)
            for one, other in SIDE_BY_SIDE:
                yield f"{at}/{one} over {other}", ratio(median, excess[f"{size}/{one}"], excess[f"{size}/{other}"])
        else:
            yield f"{at}/{method}", ratio(median, values, excess[f"{size}/uniform"])
