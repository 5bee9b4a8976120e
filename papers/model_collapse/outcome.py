"""What is read off the cells: errors and variances by generation, losses, what changes, paired differences of policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from papers.measured import Cell
from papers.measures import difference
from papers.model_collapse.groups import POLICIES
from papers.study import BySeed, Interval, Runs

Floats = npt.NDArray[np.float64]
SHORT = {words: name for name, words in POLICIES.items()}
BASES = ("accumulate", "accumulate-subsample")
"""What other policies are compared with, seed by seed."""
TWICE = ("loss_since_first", "loss_since_last", "variance_ratio")
"""Alarms whose numbers are differences of the losses, or the variance, which are there already."""
COMPARED_NOT = ("rows", "real_share", "alarms that ring")


def quantities(runs: Runs) -> dict[str, BySeed | Interval]:
    """Closed forms, images, texts."""
    found: dict[str, BySeed | Interval] = {}
    for model in ("linear", "gaussian"):
        found.update(_closed(model, runs[model]))
    for model in ("vae", "language"):
        found.update(_of_model(model, runs[model]))
    return found


def mean_of(values: Floats) -> Interval:
    """Mean of repetitions (R,), with its normal interval."""
    mean, half = float(values.mean()), 1.96 * float(values.std(ddof=1)) / np.sqrt(len(values))
    return Interval(len(values), mean, mean - half, mean + half)


def _closed(model: str, cells: Sequence[Cell]) -> Iterator[tuple[str, Interval]]:
    values = tables(cells)
    for (rows, name), table in values.items():
        for n, column in enumerate(table.T, 1):
            yield f"{model}/T{rows}/{name}/{n}", mean_of(column)
        base = values[rows, "accumulate-subsample"]
        if name != "accumulate-subsample":
            yield f"{model}/T{rows}/{name} over accumulate-subsample", mean_of(table[:, -1] - base[:, -1])


def tables(cells: Sequence[Cell]) -> dict[tuple[int, str], Floats]:
    """Values (R, N) of repetitions and generations, by rows and policy."""
    return {(cell.options["rows"], SHORT[cell.options["policy"]]): np.asarray(cell.found["values"]) for cell in cells}


def series(cells: Sequence[Cell]) -> dict[str, dict[str, dict[int, list[float | None]]]]:
    """Of each policy what was measured by generation, by its name and by seed: losses, variance, alarms, how many ring."""
    found: dict[str, dict[str, dict[int, list[float | None]]]] = {}
    for cell in cells:
        told = cell.found
        measured = {name: told[name] for name in ("loss", "hard", "variance", "rows", "real_share")}
        measured |= {name: values for name, values in told["alarms"].items() if name not in TWICE}
        measured["alarms that ring"] = [len(names) for names in told["rings"]]
        for name, values in measured.items():
            found.setdefault(SHORT[cell.options["policy"]], {}).setdefault(name, {})[cell.options["seed"]] = values
    return found


def _of_model(model: str, cells: Sequence[Cell]) -> Iterator[tuple[str, BySeed]]:
    every = series(cells)
    for policy, measured in every.items():
        for name, by_seed in measured.items():
            generations = len(next(iter(by_seed.values())))
            for n in range(generations):
                yield f"{model}/{policy}/{name}/{n + 1}", {seed: values[n] for seed, values in by_seed.items()}
            yield f"{model}/{policy}/{name}, change", difference(_at(by_seed, -1), _at(by_seed, 0))
            for base in BASES:
                if policy != base and name not in COMPARED_NOT:
                    yield f"{model}/{policy} over {base}/{name}", difference(_at(by_seed, -1), _at(every[base][name], -1))
        for base in BASES:
            if policy != base:
                mean = difference(_later(measured["loss"]), _later(every[base]["loss"]))
                yield f"{model}/{policy} over {base}/loss, from generation 2", mean
        for name in ("loss", "hard"):
            yield f"{model}/{policy}/{name}, rise", {seed: _rise(values) for seed, values in measured[name].items()}
    yield from _first_rings(model, cells)


def _at(by_seed: Mapping[int, Sequence[float | None]], n: int) -> BySeed:
    return {seed: values[n] for seed, values in by_seed.items()}


def _later(by_seed: Mapping[int, Sequence[float | None]]) -> BySeed:
    """The mean of all generations but the first."""
    found = {seed: [v for v in values[1:] if v is not None] for seed, values in by_seed.items()}
    return {seed: float(np.mean(values)) if values else None for seed, values in found.items()}


def _rise(values: Sequence[float | None]) -> float | None:
    """Of the last generation over the first, in percent."""
    first, last = values[0], values[-1]
    return None if first is None or last is None else 100 * (last / first - 1)


def _first_rings(model: str, cells: Sequence[Cell]) -> Iterator[tuple[str, BySeed]]:
    """The generation in which the held-out loss first rings; None where it does not."""
    found: dict[str, BySeed] = {}
    for cell in cells:
        rings: list[list[str]] = cell.found["rings"]
        first = next((n for n, names in enumerate(rings, 1) if "loss_since_first" in names), None)
        found.setdefault(SHORT[cell.options["policy"]], {})[cell.options["seed"]] = first
    for policy, values in found.items():
        yield f"{model}/{policy}/loss rings first", values
