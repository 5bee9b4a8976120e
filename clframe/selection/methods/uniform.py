"""Simple random sampling: what every other method is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.seeding import seed_for
from clframe.selection.choice import Ask, Choice
from clframe.selection.draws.draw import Draw, Rows
from clframe.selection.draws.hashing import hashed
from clframe.selection.estimate import drawn_mean, stratified_mean
from clframe.selection.pool.pool import BLOCK


@final
@dataclass(frozen=True)
class Uniform:
    """m of n rows, all sets of m rows alike: those with the smallest of n random numbers, each of which belongs to its row.

        w_i = n / m,   mean = (1/m) sum l_i,   error^2 = (1 - m/n) s^2 / m

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> choice = Uniform()(Ask(pool_of(np.zeros((10, 1))), size=4, seed=0))
        >>> len(choice.rows), choice.weight.tolist()
        (4, [2.5, 2.5, 2.5, 2.5])

    Reference: Cochran, "Sampling Techniques", 1977, chapter 2.
    """

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        n, m = ask.pool.n, ask.size
        rows = smallest(n, m, seed_for(ask.seed, "uniform"))
        draw = Draw(rows, np.ones(m, dtype=np.int64), np.full(m, m / n), m, replaced=False)
        estimate = None
        if ask.losses is not None:
            values = ask.losses(rows)
            estimate = drawn_mean(draw, values, n) if m == n else stratified_mean(values, np.zeros(m, dtype=np.int64), {0: n})
        return Choice.drawn(draw, np.ones(m), estimate)


def smallest(n: int, m: int, seed: int) -> Rows:
    """The m rows of n with the smallest random numbers, in ascending order.

    Example:
        >>> len(set(smallest(100, 7, seed=0).tolist())), set(smallest(100, 7, seed=0)) <= set(smallest(100, 8, seed=0))
        (7, True)
    """
    rows, least = np.empty(0, dtype=np.int64), np.empty(0)
    for start in range(0, n, BLOCK):
        here = np.arange(start, min(start + BLOCK, n))
        rows, least = np.concatenate([rows, here]), np.concatenate([least, hashed(here, seed)])
        if len(rows) > m:
            kept = np.argpartition(least, m - 1)[:m]
            rows, least = rows[kept], least[kept]
    return np.sort(rows)
