"""Simple random sampling: what every other method is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.seeding import seed_for
from clframe.selection.choice import Ask, Choice
from clframe.selection.draws.by_hash import smallest
from clframe.selection.draws.draw import Draw
from clframe.selection.estimate import drawn_mean, stratified_mean


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


__all__ = ["Uniform", "smallest"]
