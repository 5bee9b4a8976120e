"""A pool in parts, such as its labels: the rows of each, and how many of them to choose."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from clframe.selection.choice import Ask
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.methods.allocation import allocate
from clframe.selection.methods.strata import strata
from clframe.selection.pool.finite import check_finite
from clframe.selection.pool.pool import Pool


class Part(NamedTuple):
    """Some rows of a pool, in ascending order, and how many of them to choose."""

    rows: Rows
    size: int


def parts(ask: Ask, by: str, floor: int = 1) -> tuple[Rows, list[Part]]:
    """The pool in parts, each with a share of the choice in proportion to its rows.

    Args:
        ask: pool and size.
        by: the name of a column, "cell" for cells of k-means, "none" for one part, or "auto": the column "label" if there is one.
        floor: rows that every part has at least, if it has so many.

    Returns:
        The number of the part of each row (n,), and the parts.

    Raises:
        OptionError: no such column; more parts than rows to choose.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> of, found = parts(Ask(pool_of(np.zeros((6, 1)), label=[1, 0, 1, 1, 0, 1]), 3, 0), "auto")
        >>> of.tolist(), [(part.rows.tolist(), part.size) for part in found]
        ([1, 0, 1, 1, 0, 1], [([1, 4], 1), ([0, 2, 3, 5], 2)])
    """
    if by == "auto":
        by = "label" if "label" in ask.pool.columns else "none"
    if by == "none":
        return np.zeros(ask.pool.n, dtype=np.int64), [Part(np.arange(ask.pool.n, dtype=np.int64), ask.size)]
    found, names = strata(ask, by)
    of = np.asarray(found, dtype=np.int64)
    sizes = np.bincount(of, minlength=len(names))
    taken = allocate(ask.size, sizes, sizes.astype(np.float64), floor, by)
    groups = np.split(np.argsort(of, kind="stable").astype(np.int64), np.cumsum(sizes)[:-1])
    return of, [Part(rows, int(size)) for rows, size in zip(groups, taken, strict=True) if size]


def taken(pool: Pool, rows: Rows) -> Numbers:
    """The embeddings of some rows, in double precision (len(rows), d).

    Raises:
        DataError: some are not finite; the rows are named.
    """
    x = pool.vectors.take(rows).astype(np.float64)
    check_finite(x, rows)
    return x
