"""Kernel herding: rows whose distribution is that of the pool, as a Gaussian kernel sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np

from clframe.errors import bad_option
from clframe.seeding import seed_for
from clframe.selection.choice import Ask, Choice
from clframe.selection.clustering.kmeans import checked
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.methods.parts import taken
from clframe.selection.methods.uniform import smallest
from clframe.selection.pool.pool import Pool

PAIRED = 1000
"""Rows between which distances are taken for the bandwidth."""

CHUNK = 2048
"""Rows on either side of one table of kernels."""


@final
@dataclass(frozen=True)
class KernelHerding:
    """m rows, each where the pool is dense and those chosen before it are not.

        i_t = argmax_{i not yet chosen} mu(x_i) - (1/t) sum_{s < t} k(x_i, x_{i_s}),   k(x, y) = exp(-||x - y||^2 / (2 h^2))
        mu(x) = (1/|R|) sum_{j in R} k(x, x_j),   w = n / m

    which is the row that makes the maximum mean discrepancy between those chosen and R least. R are rows of the pool, drawn
    uniformly, or all of them: then mu is exact. Otherwise its standard error is at most 1 / (2 sqrt|R|), kernels being between 0
    and 1; what it is, as a root mean square over the pool, is in the manifest (kernel_mean_error), with the discrepancy from R
    (discrepancy) and that of as many rows drawn uniformly (uniform_discrepancy, root mean square). The choice is not random: it
    says nothing of the mean loss. Of rows equally good the first is taken.

    Cost: O(n |R| d) for mu, then the pool is read m times, O(n m d). Memory: 33 n + 8 |R| bytes, and some 200 MB.

    Args:
        bandwidth: h, in units of the embeddings; 0: the median distance between 1,000 rows drawn uniformly.
        reference: |R|; 0: the larger of 10,000 and 4 m, at most n. Give n or more for all rows.

    Raises:
        OptionError: an option breaks its rule.
        DataError: an embedding that is not finite; the rows are named.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> choice = KernelHerding(bandwidth=1.0)(Ask(pool_of([[0.0], [0.5], [1.0], [9.0]]), size=2, seed=0))
        >>> choice.rows.tolist(), choice.weight.tolist(), choice.score.tolist()  # the middle of the three first, then the fourth
        ([1, 3], [2.0, 2.0], [2.0, 1.0])

    The score is m for the row that was chosen first, m - 1 for the second, and so on.

    Reference: Chen, Welling, Smola, "Super-samples from kernel herding", UAI 2010.

    Differences:
        1. Each row is chosen once; there a point can come again.
        2. The mean is taken over rows of a pool; there over a density that is known.
    """

    bandwidth: float = 0.0
    reference: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.bandwidth) and self.bandwidth >= 0):
            raise bad_option("bandwidth", "positive, or 0 for the median distance", self.bandwidth, "Leave it out.")
        if self.reference < 0:
            raise bad_option("reference", "a number of rows, or 0 for the usual one", self.reference, "Leave it out.")

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        pool, n, m = ask.pool, ask.pool.n, ask.size
        h = self.bandwidth or median_distance(pool, ask.seed)
        reference = smallest(n, min(n, self.reference or max(10_000, 4 * m)), seed_for(ask.seed, "kernel-herding"))
        mean = kernel_mean(pool, reference, h)
        rows, total, free = [], np.zeros(n), np.ones(n, dtype=np.bool_)
        for t in range(1, m + 1):
            row = int(np.argmax(np.where(free, mean.value - total / t, -np.inf)))
            rows.append(row)
            free[row] = False
            add_kernel(pool, row, h, total)
        own, whole = float(total[rows].mean()) / m, float(mean.value[reference].mean())
        facts: dict[str, Any] = {
            "bandwidth": h,
            "reference": len(reference),
            "kernel_mean_error": mean.error,
            "discrepancy": math.sqrt(max(0.0, own - 2 * float(mean.value[rows].mean()) + whole)),
            "uniform_discrepancy": math.sqrt(max(0.0, 1 - whole) / m),
        }
        return Choice.fixed(np.array(rows), np.full(m, n / m), np.arange(m, 0, -1.0), **facts)


def median_distance(pool: Pool, seed: int) -> float:
    """The median distance between different rows of a sample; 1 where all rows are equal.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> median_distance(pool_of([[0.0], [1.0], [5.0]]), seed=0)
        4.0
    """
    from scipy.spatial.distance import pdist

    apart = pdist(taken(pool, smallest(pool.n, min(PAIRED, pool.n), seed_for(seed, "bandwidth"))))
    apart = apart[apart > 0]
    return float(np.median(apart)) if len(apart) else 1.0


class KernelMean(NamedTuple):
    """mu(x_i) of each row (n,), and the root mean square of its standard errors."""

    value: Numbers
    error: float


def kernel_mean(pool: Pool, reference: Rows, bandwidth: float) -> KernelMean:
    """mu(x_i) = mean_{j in R} k(x_i, x_j), its error that of a sample of n rows without replacement.

    Args:
        pool: n rows.
        reference: R, rows of it.
        bandwidth: h.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> found = kernel_mean(pool_of([[0.0], [2.0]]), np.arange(2), bandwidth=1.0)
        >>> found.value.round(4).tolist(), found.error  # (1 + exp(-2)) / 2
        ([0.5677, 0.5677], 0.0)
    """
    n, size = pool.n, len(reference)
    total, squares = np.zeros(n), np.zeros(n)
    origin = taken(pool, reference[:CHUNK]).mean(axis=0)
    for first in range(0, size, CHUNK):
        other = taken(pool, reference[first : first + CHUNK]) - origin
        for block in pool.blocks():
            x = checked(block)
            for a in range(0, len(x), CHUNK):
                k = _kernels(x[a : a + CHUNK] - origin, other, bandwidth)
                here = slice(block.start + a, block.start + a + len(k))
                total[here] += k.sum(axis=1)
                squares[here] += (k * k).sum(axis=1)
    value = np.round(total / size, 9)  # equal rows are to have equal means, whatever block they are in
    variance = np.maximum(squares / size - value**2, 0) / max(1, size - 1) * (1 - size / n)
    return KernelMean(value, math.sqrt(float(variance.mean())))


def _kernels(x: Numbers, y: Numbers, bandwidth: float) -> Numbers:
    """k of all pairs (b, c); the exponent is rounded to single precision."""
    apart = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1)[None] - 2 * (x @ y.T)
    exponent = (np.maximum(apart, 0) / (-2 * bandwidth**2)).astype(np.float32)
    found: Numbers = np.exp(exponent).astype(np.float64)
    return found


def add_kernel(pool: Pool, row: int, bandwidth: float, total: Numbers) -> None:
    """Add k(x_i, x_row) to each row's total (n,), in place.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> total = np.zeros(2)
        >>> add_kernel(pool_of([[0.0], [2.0]]), 0, 1.0, total)
        >>> total.round(4).tolist()
        [1.0, 0.1353]
    """
    centre = pool.vectors.take(np.array([row]))[0]
    for block in pool.blocks():
        gap = block.x - centre
        apart = np.einsum("bd,bd->b", gap, gap).astype(np.float64)
        total[block.start : block.start + len(gap)] += np.exp(apart / (-2 * bandwidth**2))
