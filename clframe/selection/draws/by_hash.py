"""The rows with the smallest random numbers."""

from __future__ import annotations

import math

import numpy as np

from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.draws.hashing import hashed

BLOCK = 16384
"""Rows whose numbers are made at once."""


def smallest(n: int, m: int, seed: int) -> Rows:
    """The m rows of n with the smallest random numbers (`hashed`), in ascending order; memory in proportion to m.

    Numbers below m / n + 6 sqrt(m) / n are m or more, but for one draw in 10^9; then the bound is raised.

    Example:
        >>> len(set(smallest(100, 7, seed=0).tolist())), set(smallest(100, 7, seed=0)) <= set(smallest(100, 8, seed=0))
        (7, True)
    """
    below = m / n + 6 * math.sqrt(m) / n
    while True:
        rows, number = under(n, below, seed)
        if len(rows) >= m:
            break
        below *= 2
    if len(rows) > m:
        rows = rows[np.argpartition(number, m - 1)[:m]]
    return np.sort(rows)


def under(n: int, below: float, seed: int) -> tuple[Rows, Numbers]:
    """The rows of n whose random numbers are below a bound, in ascending order, and these numbers."""
    rows, numbers = [], []
    for start in range(0, n, BLOCK):
        u = hashed(np.arange(start, min(start + BLOCK, n)), seed)
        here = np.flatnonzero(u < below)
        rows.append(start + here)
        numbers.append(u[here])
    return np.concatenate(rows).astype(np.int64), np.concatenate(numbers)
