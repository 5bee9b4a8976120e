"""Methods that give every task a subnet of one network: what is free, shared and frozen, in words and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from clframe.errors import bad_option
from clframe.eval.report import format as fmt
from clframe.eval.report.series import Floats
from clframe.eval.result import Result, Results

if TYPE_CHECKING:
    import pandas as pd

ALL = "all layers"


@dataclass(frozen=True)
class Capacity:
    """The capacity table of one run as arrays (L, T): layers by tasks, the first row all layers together.

    Attributes:
        tasks: in the order in which they finished (T,).
        layers: their names as they print (L,), the first one `ALL`.
        size: weights (L,).
        own, shared, used: weights, as in `Result.capacity`.
        jaccard: overlap of each task (row) with each earlier one (column), over all layers (T, T); NaN elsewhere.
        overlap: its mean over the pairs of tasks, for each layer (L,); NaN with one task.
    """

    tasks: list[int]
    layers: list[str]
    size: Floats
    own: Floats
    shared: Floats
    used: Floats
    jaccard: Floats
    overlap: Floats

    @classmethod
    def of(cls, result: Result) -> Capacity:
        """The tables of a run.

        Raises:
            OptionError: it has none.
        """
        table, pairs = result.capacity, result.overlap
        if table is None or pairs is None:
            remedy = "Give a finished run of dst, packnet or another method with a subnet for each task."
            raise bad_option("result", "a run with a capacity table", result.strategy, remedy)
        tasks, layers = table["task"].unique().tolist(), table["layer"].unique().tolist()

        def grid(column: str) -> Floats:
            values = table[column].to_numpy(dtype=np.float64).reshape(len(tasks), len(layers)).T
            return np.concatenate([values.sum(axis=0, keepdims=True), values])

        return cls(
            tasks,
            [ALL, *short_layers(layers)],
            grid("size")[:, 0],
            grid("own"),
            grid("shared"),
            grid("used"),
            _square(pairs[pairs["layer"] == "all"], tasks),
            np.array([_mean(pairs.loc[pairs["layer"] == layer, "jaccard"]) for layer in ("all", *layers)]),
        )

    @property
    def owned(self) -> Floats:
        """Share of the weights that some task owns at the end (L,)."""
        owned: Floats = self.used[:, -1] / self.size
        return owned

    @cached_property
    def parts(self) -> Floats:
        """Shares of the weights after each task (4, L, T): newly taken, shared, owned by earlier tasks and not used, free."""
        idle = self.used - self.own - self.shared
        parts = np.stack([self.own, self.shared, idle, self.size[:, None] - self.used])
        result: Floats = parts / self.size[:, None]
        return result

    @property
    def by_chance(self) -> float:
        """Mean overlap that subnets of these sizes would have if each layer's weights had been drawn at random."""
        each = (self.own + self.shared)[1:]
        both = (each[:, :, None] * each[:, None, :] / self.size[1:, None, None]).sum(axis=0)
        either = each.sum(axis=0)[:, None] + each.sum(axis=0)[None, :] - both
        above = np.triu_indices(len(self.tasks), k=1)
        return _mean(both[above] / np.maximum(either[above], 1))


def of_strategy(results: Results) -> tuple[Capacity, int] | None:
    """The capacity of the first run that has one, with its seed."""
    found = [r for r in results if r.capacity is not None and r.overlap is not None]
    return (Capacity.of(found[0]), found[0].seed) if found else None


def owned_range(results: Results) -> str:
    """The lowest and the highest share of all masked weights that these runs own, in percent."""
    shares = sorted(float(Capacity.of(r).owned[0]) for r in results if r.capacity is not None)
    low, high = percent(shares[0]), percent(shares[-1])
    return low if low == high else f"{low}–{high}"


def task_counts(results: Results) -> set[int]:
    """How many tasks the capacity tables of these runs have."""
    return {r.capacity["task"].nunique() for r in results if r.capacity is not None}


def short_layers(names: Sequence[str]) -> list[str]:
    """Names of weights, without what all of them have.

    Example:
        >>> short_layers(["backbone.layers.0.weight", "backbone.layers.2.weight"])
        ['layers.0', 'layers.2']
    """
    return [n.removeprefix("backbone.").removesuffix(".weight") for n in names]


def percent(share: float) -> str:
    """A share in percent, without the sign.

    Example:
        >>> percent(0.4567), percent(0.0567), percent(0.0001), percent(0.0), percent(0.9999), percent(1.0)
        ('46', '5.7', '<0.1', '0', '>99.9', '100')
    """
    value = 100 * share
    if 0 < value < 0.1 or 99.9 < value < 100:
        return "<0.1" if value < 1 else ">99.9"
    return f"{value:.0f}" if value in (0, 100) or 9.95 <= value < 99.5 else f"{value:.1f}"


def answer(c: Capacity) -> str:
    """How full the network is, and what a further task would find, in sentences."""
    fullest, even = int(np.argmax(c.owned[1:])) + 1, float(np.ptp(c.owned[1:])) < 0.005
    name, full, count = c.layers[fullest], int((c.owned[1:] >= 1).sum()), len(c.tasks)
    said = f"owns {percent(c.owned[0])} % of the {int(c.size[0]):,} masked weights after {count} task{'s' * (count > 1)}"
    if len(c.layers) > 2:
        said += ", in every layer alike" if even else f"; {name} is the fullest layer: {percent(c.owned[fullest])} %"
    said += f". A further task would find {percent(1 - c.owned[0])} % free"
    if full:
        said += f", and nothing in {name}" + (f" and {full - 1} other{'s' * (full > 2)}" if full > 1 else "")
    elif len(c.layers) > 2 and not even:
        said += f", {percent(1 - c.owned[fullest])} % in {name}"
    if count < 2:
        return said + "."
    last = c.own[0, -1] + c.shared[0, -1]
    if last:
        said += f". Of what the last task computes with, {percent(c.shared[0, -1] / last)} % is shared with tasks before it"
    if not np.isnan(c.overlap[0]):
        said += f"; the subnets of two tasks overlap by {c.overlap[0]:.2f} on average ({c.by_chance:.2f} if drawn at random)"
    return said + "."


@dataclass(frozen=True, slots=True)
class Cell:
    """A layer after a task: shares in percent as they print, and the share that is owned as a number."""

    own: str
    shared: str
    free: str
    owned: float


@dataclass(frozen=True, slots=True)
class Line:
    """A layer: its name, its weights, its state at the end and after every task.

    Attributes:
        end: owned, free, newly taken by the last task, shared by the last task (percent), mean overlap.
        cells: one a task.
    """

    layer: str
    size: str
    end: list[str]
    cells: list[Cell]


def lines(c: Capacity) -> list[Line]:
    """The rows of the tables: all layers together, then each."""
    found = []
    for i, layer in enumerate(c.layers):
        own, shared, _, free = c.parts[:, i]
        cells = [Cell(percent(o), percent(s), percent(f), 1 - f) for o, s, f in zip(own, shared, free, strict=True)]
        overlap = fmt.number(float(c.overlap[i]), 2)
        end = [percent(c.owned[i]), cells[-1].free, cells[-1].own, cells[-1].shared, overlap]
        found.append(Line(layer, f"{int(c.size[i]):,}", end, cells))
    return found


def _square(pairs: pd.DataFrame, tasks: Sequence[int]) -> Floats:
    place = {task: i for i, task in enumerate(tasks)}
    found = np.full((len(tasks), len(tasks)), np.nan)
    for task, other, value in zip(pairs["task"], pairs["other"], pairs["jaccard"], strict=True):
        found[place[other], place[task]] = value
    return found


def _mean(values: pd.Series[float] | Floats) -> float:
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float("nan")
