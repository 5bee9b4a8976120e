"""Herding: rows whose plain mean is that of the pool."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from clframe.selection.choice import Ask, Choice
from clframe.selection.clustering.kmeans import checked
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.pool.pool import Pool
from clframe.selection.pool.vectors import Floats


@final
@dataclass(frozen=True)
class HerdingCoreset:
    """m rows, each the one that brings the mean of those chosen nearest to the mean of the pool.

        i_k = argmin_{i not yet chosen} || mu - (x_i + sum_{j < k} x_{i_j}) / k ||,   mu = mean of x,   w = n / m
            = argmin ||x_i||^2 - 2 x_i' (k mu - sum_{j < k} x_{i_j})

    The first k rows chosen are the choice of k rows. Only the mean is matched: rows can be alike in all else. The manifest has how
    far the mean is missed (mean_error), and how far a uniform sample of m rows misses it (uniform_error, root mean square). The
    choice is not random: it says nothing of the mean loss. Of equal rows the first is taken.

    Cost: the pool is read m + 1 times, O(n m d). Memory: 9 n bytes and one block.

    Args:
        spherical: scale embeddings to length 1 first, as iCaRL does.

    Raises:
        DataError: an embedding that is not finite; the rows are named.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> choice = HerdingCoreset()(Ask(pool_of([[0.0], [1.0], [2.0], [5.0]]), size=2, seed=0))
        >>> choice.rows.tolist(), choice.weight.tolist(), choice.score.tolist()  # row 2 first: the mean is 2
        ([1, 2], [2.0, 2.0], [1.0, 2.0])

    The score is m for the row that was chosen first, m - 1 for the second, and so on.

    Reference: Welling, "Herding dynamical weights to learn", ICML 2009; Rebuffi et al., "iCaRL", CVPR 2017, algorithm 4.

    Differences:
        1. Each row is chosen once; Welling's can come again.
        2. Each row is judged by the mean that it would give, as in iCaRL; Welling's by its product with the weights alone, which is
           the same where all rows have one length.
    """

    spherical: bool = False

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        n, m = ask.pool.n, ask.size
        search = Search(ask.pool, self.spherical)
        total, rows = np.zeros(ask.pool.d), []
        for k in range(1, m + 1):
            row, x = search.least(k * search.mean - total)
            rows.append(row)
            total += x
        missed = float(np.linalg.norm(total / m - search.mean))
        uniform = math.sqrt((1 - m / n) * search.variance / m)
        facts: dict[str, Any] = {"mean_error": missed, "uniform_error": uniform}
        return Choice.fixed(np.array(rows), np.full(m, n / m), np.arange(m, 0, -1.0), **facts)


@final
class Search:
    """Finds rows that were not found before and have the least ||x||^2 - 2 x'g.

    Attributes:
        mean: of the rows (d,).
        variance: sum of the variances of the d numbers, with n - 1.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> search = Search(pool_of([[0.0], [1.0], [2.0], [5.0]]))
        >>> search.mean.tolist(), [search.least(search.mean)[0] for _ in range(2)]
        ([2.0], [2, 1])
    """

    def __init__(self, pool: Pool, spherical: bool = False) -> None:
        self.pool, self.spherical = pool, spherical
        self._squares, self._found = np.empty(pool.n), np.zeros(pool.n, dtype=np.bool_)
        total = np.zeros(pool.d)
        for start in pool.starts:
            x = self._read(start).astype(np.float64)
            self._squares[start : start + len(x)] = (x * x).sum(axis=1)
            total += x.sum(axis=0)
        self.mean: Numbers = total / pool.n
        self.variance = max(0.0, float(self._squares.sum() - pool.n * (self.mean**2).sum())) / max(1, pool.n - 1)

    def least(self, g: Numbers) -> tuple[int, Numbers]:
        """The row and its embedding in double precision (d,); of equal ones the first."""
        best, row, embedding = math.inf, -1, g
        for start in self.pool.starts:
            x = self._read(start)
            here = slice(start, start + len(x))
            near = possible(x, self._squares[here], self._found[here], g, best)
            if not len(near):
                continue
            rows = x[near].astype(np.float64)
            value = self._squares[here][near] - 2 * (rows * g).sum(axis=1)
            i = int(np.argmin(value))
            if value[i] < best:
                best, row, embedding = float(value[i]), start + int(near[i]), rows[i]
        self._found[row] = True
        return row, embedding

    def _read(self, start: int) -> Floats:
        return checked(self.pool.block(start), self.spherical)


def possible(x: Floats, squares: Numbers, found: npt.NDArray[np.bool_], g: Numbers, best: float) -> Rows:
    """Rows that may have the least ||x||^2 - 2 x'g, at most `best`, by single-precision products and a bound on their rounding.

    Example:
        >>> x = np.array([[0.0], [1.0], [2.0]], dtype=np.float32)
        >>> possible(x, (x[:, 0] ** 2).astype(np.float64), np.array([False, False, True]), np.array([2.0]), np.inf).tolist()
        [1]
    """
    rough = squares - 2 * (x @ g.astype(np.float32)).astype(np.float64)
    slack = 2 * (len(g) + 4) * float(np.finfo(np.float32).eps) * float(np.linalg.norm(g)) * np.sqrt(squares)
    least = (rough + slack)[~found].min(initial=best)
    return np.flatnonzero((rough - slack <= least) & ~found).astype(np.int64)
