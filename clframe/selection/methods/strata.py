"""Strata of a pool: cells of k-means, values of a column, parts of a column of numbers, what several of these have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clframe.errors import bad_option, unknown_name
from clframe.selection.choice import Ask
from clframe.selection.clustering.cells import Cells
from clframe.selection.clustering.in_files import InFiles
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.draws.hashing import hashed
from clframe.selection.pool.pool import BLOCK

Strata: TypeAlias = Rows | Cells | InFiles
"""The stratum of each row (n,), in memory or in files."""


def strata(ask: Ask, by: str) -> tuple[Strata, list[str]]:
    """The stratum of each row (n,), and what they are called. Cells may be empty, where rows are equal.

    Args:
        ask: the pool.
        by: "cell", for cells of k-means; the name of a column; "NAME:12" for a column of numbers, cut at its quantiles into at most
            12 parts with as many rows each as ties allow; or several of these with a plus, for what they have in common.

    Returns:
        Strata are in the order of their values: numbers by size, texts by letter, the first column of several first. One is called
        by its value; part h of 12, from the least values on, "h/12", whatever the values are; several joined by a plus. A part that
        is empty, as equal values go to one part, is left out, and the others keep their names.

    Raises:
        OptionError: no such column, or a number of parts that is none.
        DataError: a column to be cut holds no numbers, or some that are not finite.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> pool = pool_of(np.zeros((6, 1)), label=list("aabbbb"), time=[0, 1, 2, 3, 4, 5])
        >>> stratum, names = strata(Ask(pool, 2, 0), "label+time:2")
        >>> stratum.tolist(), names
        ([0, 0, 1, 2, 2, 2], ['a+1/2', 'b+1/2', 'b+2/2'])
    """
    made = [_one(ask, piece.strip()) for piece in by.split("+")]
    if len(made) == 1:
        return made[0]
    of, names = np.asarray(made[0][0], dtype=np.int64), made[0][1]
    for further, called in made[1:]:
        values, of = np.unique(of * len(called) + np.asarray(further), return_inverse=True)
        names = [f"{names[v // len(called)]}+{called[v % len(called)]}" for v in values]
    return of.astype(np.int64), names


def _one(ask: Ask, by: str) -> tuple[Strata, list[str]]:
    if by == "cell":
        return ask.clustering.cell, [str(c) for c in range(ask.clustering.k)]
    name, colon, parts = by.partition(":")
    if colon:
        if not (parts.isdecimal() and int(parts) > 1):
            raise bad_option("by", "NAME:PARTS with two or more parts", by, f"Write {name}:10.")
        return _cut(ask.pool.numbers(name), int(parts))
    column = ask.pool.column(by)
    values, found = np.unique(ask.pool.numbers(by) if column.dtype.kind == "f" else _comparable(column), return_inverse=True)
    return found.astype(np.int64), [str(v) for v in values]


def _comparable(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return column.astype(str) if column.dtype.kind == "O" else column


def _cut(values: Numbers, parts: int) -> tuple[Rows, list[str]]:
    edges = np.quantile(values, np.arange(1, parts) / parts)
    full, of = np.unique(np.searchsorted(edges, values, side="left"), return_inverse=True)
    return of.reshape(-1).astype(np.int64), [f"{h + 1}/{parts}" for h in full]


def spans(ask: Ask, by: str, stratum: Strata, count: int) -> list[dict[str, list[float]]]:
    """Of each stratum the least and the largest value of the columns that are cut, by their names.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> ask = Ask(pool_of(np.zeros((4, 1)), time=[3, 0, 1, 2]), 2, 0)
        >>> spans(ask, "time:2", strata(ask, "time:2")[0], 2)
        [{'time': [0.0, 1.0]}, {'time': [2.0, 3.0]}]
    """
    found: list[dict[str, list[float]]] = [{} for _ in range(count)]
    for name in (piece.partition(":")[0].strip() for piece in by.split("+") if ":" in piece):
        values, low, high = ask.pool.numbers(name), np.full(count, np.inf), np.full(count, -np.inf)
        np.minimum.at(low, np.asarray(stratum), values)
        np.maximum.at(high, np.asarray(stratum), values)
        for one, ends in zip(found, zip(low.tolist(), high.tolist(), strict=True), strict=True):
            one[name] = list(ends)
    return found


def floors(floor: int | Mapping[str, int], names: Sequence[str], sizes: Rows) -> Rows:
    """The floor of each stratum (H,); 1 for those that a mapping does not name.

    Raises:
        OptionError: it names a stratum that there is not, or a floor is below 1 or above the rows of its stratum.
    """
    if isinstance(floor, int):
        return np.full(len(names), floor, dtype=np.int64)
    wanted = {str(name): least for name, least in floor.items()}
    for name, least in wanted.items():
        if name not in names:
            raise unknown_name("stratum", name, names)
        if not isinstance(least, int) or least < 1:
            raise bad_option("floor", "a positive number of rows for each stratum", least, f"Give floor={{{name!r}: 10}}.")
        if least > (rows := int(sizes[list(names).index(name)])):
            raise bad_option("floor", f"at most {rows:,}, the rows of stratum {name!r}", least, f"Give floor={{{name!r}: {rows}}}.")
    return np.array([wanted.get(name, 1) for name in names], dtype=np.int64)


def sizes_of(stratum: Strata, count: int) -> Rows:
    """N_h, the rows of each stratum (H,), counted block by block.

    Example:
        >>> sizes_of(np.array([0, 2, 2]), 3).tolist()
        [1, 0, 2]
    """
    found = np.zeros(count, dtype=np.int64)
    for start in range(0, len(stratum), BLOCK):
        found += np.bincount(stratum[start : start + BLOCK], minlength=count)
    return found


def within(stratum: Strata, sizes: Rows, taken: Rows, seed: int) -> Rows:
    """Of each stratum the rows with the smallest random numbers, as many as are to be taken, in ascending order.

    Memory: some more rows than are taken, as those whose numbers are clearly too large are passed over.

    Example:
        >>> within(np.array([0, 1, 0, 1]), np.array([2, 2]), np.array([2, 0]), seed=0).tolist()
        [0, 2]
    """
    cut = np.where(taken > 0, (taken + 8 * np.sqrt(taken) + 10) / np.maximum(sizes, 1), 0.0)
    while True:
        rows, of, number = _below(stratum, cut, seed)
        short = np.bincount(of, minlength=len(taken)) < taken
        if not short.any():
            break
        cut[short] *= 2
    order = np.lexsort((number, of))
    starts = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=len(taken)))[:-1]])
    rank = np.arange(len(order)) - starts[of[order]]
    return np.sort(rows[order[rank < taken[of[order]]]])


def _below(stratum: Strata, cut: Numbers, seed: int) -> tuple[Rows, Rows, Numbers]:
    """Rows whose random number is below the cut of their stratum, with stratum and number."""
    found: list[tuple[Rows, Rows, Numbers]] = []
    for start in range(0, len(stratum), BLOCK):
        of = stratum[start : start + BLOCK]
        rows = np.arange(start, start + len(of), dtype=np.int64)
        number = hashed(rows, seed)
        here = number < cut[of]
        found.append((rows[here], of[here].astype(np.int64), number[here]))
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found]), np.concatenate([f[2] for f in found])
