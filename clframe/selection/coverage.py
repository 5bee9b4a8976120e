"""How a coreset covers the parts of its pool: classes, cells, or the values of any column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from clframe.selection.choice import Choice
from clframe.selection.clustering import Clustering
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.pool import Pool

PARTS = 1000
"""A column with more values than this is not one of classes."""
LISTED = 100
"""Parts that a manifest lists one by one, at most."""


@final
@dataclass(frozen=True)
class Coverage:
    """A pool in P parts, and what a coreset has of each.

        coverage_h = (sum of weights in h / sum of weights) / (rows of the pool in h / rows of the pool)

    Attributes:
        name: of the column; "cell" for cells of k-means.
        parts: what they are called (P,).
        pool: rows of the pool in each (P,).
        chosen: chosen rows in each (P,).
        weight: sum of their weights (P,).

    Example:
        >>> found = Coverage("label", ["a", "b"], np.array([90, 10]), np.array([5, 5]), np.array([90.0, 10.0]))
        >>> found.shares.tolist(), found.by_count.tolist(), found.coverage.round(6).tolist(), found.empty
        ([0.9, 0.1], [0.5, 0.5], [1.0, 1.0], 0)
    """

    name: str
    parts: list[str]
    pool: Rows
    chosen: Rows
    weight: Numbers

    @property
    def shares(self) -> Numbers:
        """Share of the pool (P,)."""
        return np.asarray(self.pool / self.pool.sum(), dtype=np.float64)

    @property
    def by_count(self) -> Numbers:
        """Share of the chosen rows (P,)."""
        return np.asarray(self.chosen / self.chosen.sum(), dtype=np.float64)

    @property
    def by_weight(self) -> Numbers:
        """Share of their weights (P,)."""
        return np.asarray(self.weight / self.weight.sum(), dtype=np.float64)

    @cached_property
    def coverage(self) -> Numbers:
        """By weight (P,): 1 is the share that the part has in the pool, 0 is nothing."""
        return self.by_weight / self.shares

    @property
    def empty(self) -> int:
        """Parts without a chosen row."""
        return int((self.chosen == 0).sum())

    @property
    def worst(self) -> Rows:
        """The tenth of the parts that is covered least, at least one, the least covered first."""
        order = np.lexsort((-self.pool, self.coverage))
        return order[: -(-len(order) // 10)].astype(np.int64)

    @property
    def worst_coverage(self) -> float:
        """Coverage of these parts together."""
        return float(self.by_weight[self.worst].sum() / self.shares[self.worst].sum())

    def summary(self) -> dict[str, Any]:
        """For a manifest: the number of parts, of those without a chosen row, coverage of the worst tenth, few parts one by one."""
        found: dict[str, Any] = {"parts": len(self.parts), "empty": self.empty, "worst_tenth": round(self.worst_coverage, 6)}
        if len(self.parts) <= LISTED:
            lines = zip(self.parts, self.pool.tolist(), self.chosen.tolist(), self.weight.tolist(), strict=True)
            found["of"] = {name: {"rows": n, "chosen": m, "weight": round(w, 6)} for name, n, m, w in lines}
        return found


def of_column(choice: Choice, pool: Pool, name: str) -> Coverage:
    """The coverage of the values of a column.

    Example:
        >>> from clframe.selection import pool_of, select
        >>> pool = pool_of(np.zeros((8, 1)), label=["a"] * 6 + ["b"] * 2)
        >>> of_column(select(pool, 4, "stratified(by=label)").choice, pool, "label").by_weight.tolist()
        [0.75, 0.25]
    """
    values = pool.column(name)
    parts, sizes = np.unique(values, return_counts=True)
    return _coverage(name, [str(p) for p in parts], sizes, np.searchsorted(parts, values[choice.rows]), choice.weight)


def of_strata(choice: Choice) -> Coverage | None:
    """The coverage of the strata that the choice was made from, where the manifest lists them; it needs no pool."""
    listed: dict[str, dict[str, Any]] = choice.facts.get("of_strata") or {}
    if not listed:
        return None
    weight = np.bincount(choice.stratum, weights=choice.weight, minlength=len(listed)).astype(np.float64)
    full = [i for i, one in enumerate(listed.values()) if one["rows"]]
    names = [_spanned(name, one) for name, one in listed.items()]
    counts = np.array([[one["rows"], one["chosen"]] for one in listed.values()], dtype=np.int64)
    by = str(choice.facts["by"])
    return Coverage(by, [names[i] for i in full], counts[full, 0], counts[full, 1], weight[full])


def _spanned(name: str, one: Mapping[str, Any]) -> str:
    """The name of a stratum, and the values in it where the manifest has their ends."""
    ends = [f"{v[0]:.6g} to {v[1]:.6g}" for v in one.values() if isinstance(v, list)]
    return ": ".join([name, ", ".join(ends)]) if ends else name


def of_cells(choice: Choice, pool: Pool, cells: Clustering) -> Coverage:
    """The coverage of the cells that have rows; each is called by the id of the row at its centre."""
    full = np.flatnonzero(cells.sizes)
    of = np.searchsorted(full, cells.cell[choice.rows])
    return _coverage("cell", [str(i) for i in pool.id_of(cells.rows[full])], cells.sizes[full], of, choice.weight)


def classes(pool: Pool) -> tuple[list[str], list[str]]:
    """Columns of classes, "label" first, and what cannot be shown, with the reason.

    Example:
        >>> from clframe.selection import pool_of
        >>> classes(pool_of(np.zeros((2, 1)), year=[1, 2], label=["a", "b"], price=[0.5, 0.25], loss=[1.0, 2.0]))
        (['label', 'year'], ['price (numbers)'])
    """
    names = sorted(set(pool.columns) - {"loss", "proxy"}, key=lambda name: (name != "label", name))
    shown, left = [], []
    for name in names:
        values = pool.columns[name]
        if values.ndim != 1 or values.dtype.kind not in "iubUS":
            left.append(f"{name} (numbers)" if values.dtype.kind == "f" else f"{name} ({values.dtype})")
        elif (count := len(np.unique(values))) > PARTS:
            left.append(f"{name} ({count:,} values)")
        else:
            shown.append(name)
    return shown, left


def _coverage(name: str, parts: list[str], sizes: Any, of: Any, weights: Numbers) -> Coverage:
    count = len(parts)
    chosen = np.bincount(of, minlength=count).astype(np.int64)
    weight = np.bincount(of, weights=weights, minlength=count).astype(np.float64)
    return Coverage(name, parts, sizes.astype(np.int64), chosen, weight)
