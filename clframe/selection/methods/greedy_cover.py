"""Rows to which all others are near: greedy facility location by distances, without a table of all pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.selection.draws.draw import Numbers, Rows

LOOK, CELLS = 512, 2**23
"""At most so many candidates are looked at in one product, and so many distances held."""

EQUAL = 1e-9
"""Gains that differ by less than this, as a share of the largest sum of distances to one row, count as equal."""


@final
@dataclass(frozen=True)
class Cover:
    """Chosen rows, and which of them each row is nearest to.

    Attributes:
        chosen: in the order of the choice (m,).
        owner: of each row the place of its nearest one among the chosen (n,); a chosen row is its own.
        distance: to that one (n,).
        gain: how much less sum_i distance_i became by each; NaN for the first (m,).
    """

    chosen: Rows
    owner: Rows
    distance: Numbers
    gain: Numbers

    @property
    def sizes(self) -> Rows:
        """How many rows are nearest to each chosen one (m,)."""
        return np.bincount(self.owner, minlength=len(self.chosen)).astype(np.int64)


def greedy_cover(x: Numbers, size: int) -> Cover:
    """Rows S that make sum_i min_{j in S} ||x_i - x_j|| small, one after another, each the one that lessens it most.

    The gain of a row can only fall while others are chosen. So what it was when last computed is a bound, and a row is the best one
    as soon as no other's bound exceeds its gain: few gains are computed anew for each choice, many at once by one matrix product.
    The rows are those of the plain greedy choice, the first of those with equal gains.

    Cost: O(n^2 d) for the first two, far less for each of the others. Memory: x and at most 64 MiB for distances.

    Args:
        x: (n, d).
        size: m, 1 to n.

    Example:
        >>> found = greedy_cover(np.array([[0.0], [1.0], [2.0], [9.0], [9.5]]), 2)
        >>> found.chosen.tolist(), found.sizes.tolist(), found.distance.tolist()
        ([2, 3], [3, 2], [2.0, 1.0, 0.0, 0.0, 0.5])

    Reference: Minoux, "Accelerated greedy algorithms for maximizing submodular set functions", 1978.
    """
    apart = Distances(x)
    n, look = len(x), max(1, min(LOOK, CELLS // len(x)))
    sums = np.concatenate([apart(np.arange(s, min(s + look, n))).sum(axis=1) for s in range(0, n, look)])
    slack = EQUAL * float(sums.max())
    first = int(np.flatnonzero(sums <= sums.min() + slack)[0])
    near, owner = apart(np.array([first]))[0], np.zeros(n, dtype=np.int64)
    chosen, gains, bound = [first], [np.nan], np.full(n, np.inf)
    bound[first] = -np.inf
    while len(chosen) < size:
        best = _best(apart, near, bound, look, slack)
        far = apart(np.array([best]))[0]
        owner[far < near] = len(chosen)
        owner[best] = len(chosen)
        near = np.minimum(near, far)
        chosen.append(best)
        gains.append(float(bound[best]))
        bound[best] = -np.inf
    rows = np.array(chosen, dtype=np.int64)
    return Cover(rows, owner, np.linalg.norm(x - x[rows[owner]], axis=1), np.array(gains))


def _best(apart: Distances, near: Numbers, bound: Numbers, look: int, slack: float) -> int:
    """The first row of the largest gain; bounds that are computed anew on the way are put down."""
    stale, most, count = bound.copy(), 0.0, 8
    while stale.max() > max(most - slack, slack):
        count = min(2 * count, look, len(stale))
        rows = np.argpartition(-stale, count - 1)[:count]
        rows = rows[stale[rows] > -np.inf]
        bound[rows] = np.maximum(near - apart(rows), 0).sum(axis=1)
        stale[rows] = -np.inf
        most = max(most, float(bound[rows].max()))
    return int(np.flatnonzero((bound > -np.inf) & (bound >= most - slack))[0])


@final
class Distances:
    """The distances ||x_i - x_j|| of some rows i to all j, from products.

    Example:
        >>> Distances(np.array([[0.0, 0.0], [3.0, 4.0]]))(np.array([1])).tolist()
        [[5.0, 0.0]]
    """

    def __init__(self, x: Numbers) -> None:
        self._x = x - x.mean(axis=0)
        self._squares = (self._x**2).sum(axis=1)

    def __call__(self, rows: Rows) -> Numbers:
        """Of these rows (len(rows), n)."""
        found: Numbers = self._squares[rows][:, None] + self._squares[None] - 2 * (self._x[rows] @ self._x.T)
        found[np.arange(len(rows)), rows] = 0.0
        return np.sqrt(np.maximum(found, 0.0))
