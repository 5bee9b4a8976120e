"""What chance alone gives: real and generated rows exchange their places."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from clframe.generations.alarms.alarm import Floats

Rows: TypeAlias = npt.NDArray[np.int64]


def of_rows(statistic: Callable[[Rows, Rows], float], real: int, made: int, times: int, random: np.random.Generator) -> Floats:
    """The statistic where labels "real" and "generated" are dealt out anew (times,).

    If generated rows come from the distribution of the real ones, all ways to deal them out are equally likely, so the value
    measured is one more draw of these.

    Args:
        statistic: of the rows taken as real and those taken as generated, numbers from 0 to real + made - 1.
        real, made: numbers of rows.
        times: B.
        random: numpy's generator.

    Example:
        >>> x = np.array([0.0, 1.0, 5.0])
        >>> found = of_rows(lambda r, m: float(x[m].mean() - x[r].mean()), 2, 1, 200, np.random.default_rng(0))
        >>> sorted(set(found.tolist()))
        [-3.0, -1.5, 4.5]

    Reference: Fisher, "The design of experiments", 1935; Phipson, Smyth, "Permutation p-values should never be zero", 2010.
    """
    found = np.empty(times)
    for b in range(times):
        order = random.permutation(real + made)
        found[b] = statistic(order[:real], order[real:])
    return found


def of_counts(statistic: Callable[[Rows, Rows], float], real: Rows, made: Rows, times: int, random: np.random.Generator) -> Floats:
    """The same where the statistic depends on the rows of each cell alone (times,).

    Cells of the dealt-out rows follow the multivariate hypergeometric distribution.

    Args:
        statistic: of rows in each cell, real (k,) and generated (k,).
        real, made: the counts (k,).
        times: B.
        random: numpy's generator.

    Example:
        >>> found = of_counts(lambda r, m: float(m[0]), np.array([9, 1]), np.array([0, 5]), 50, np.random.default_rng(0))
        >>> bool(found.min() >= 0), bool(found.max() <= 5), bool(abs(found.mean() - 3) < 0.5)
        (True, True, True)

    Reference: as `of_rows`.
    """
    both = real + made
    dealt = random.multivariate_hypergeometric(both, int(made.sum()), size=times)
    return np.array([statistic(both - some, some) for some in dealt])
