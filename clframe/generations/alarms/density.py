"""Density and coverage: fidelity and variety by neighbourhoods of real rows."""

from __future__ import annotations

import numpy as np

from clframe.generations.alarms.alarm import Floats
from clframe.generations.alarms.exchange import Rows


def distances(x: Floats) -> Floats:
    """||x_i - x_j||^2 of all rows (n, n).

    Example:
        >>> distances(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist()
        [[0.0, 25.0], [25.0, 0.0]]
    """
    x = x - x.mean(axis=0)
    squares = (x * x).sum(axis=1)
    found: Floats = np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0)
    np.fill_diagonal(found, 0)
    return found


def density_and_coverage(among: Floats, real: Rows, made: Rows, k: int) -> tuple[float, float]:
    """How often generated rows lie in the neighbourhoods of real rows, and how many of these have any.

        r_i = distance of real row i to the k-th nearest other real row,   B_i = the ball of radius r_i around it
        density  = 1/(k m) sum_j #{i: y_j in B_i}
        coverage = 1/n #{i: some y_j in B_i}

    Density is 1 on average for the same distribution; it is low where generated rows lie off the real ones, and above 1 where they
    gather in their midst. Coverage of a fresh sample is 1 - C(n + m - 1 - k, m) / C(n + m - 1, m) on average, and lower where kinds
    are missing. Neither tells of copies, and with thousands of dimensions distances tell little: use embeddings.

    Args:
        among: squared distances of all rows (n + m, n + m).
        real, made: the rows (n,), (m,).
        k: neighbours, less than n.

    Example:
        >>> among = distances(np.array([[0.0], [1.0], [2.0], [0.5], [9.0]]))
        >>> density_and_coverage(among, np.array([0, 1, 2]), np.array([3, 4]), 1)
        (1.0, 0.6666666666666666)

    Reference: Naeem, Oh, Uh, Choi, Yoo, "Reliable fidelity and diversity metrics for generative models", 2020.

    Differences: 1. A row exactly on the border of a ball lies in it.
    """
    radius = np.partition(among[np.ix_(real, real)], k, axis=1)[:, k]
    inside = among[np.ix_(real, made)] <= radius[:, None]
    return float(inside.sum() / (k * len(made))), float(inside.any(axis=1).mean())


def expected_coverage(real: int, made: int, k: int) -> float:
    """Coverage of a fresh sample on average.

        1 - prod_{i=0}^{k-1} (n - 1 - i) / (n + m - 1 - i)

    Of the other rows in order of distance from a real row, none of the nearest k is a generated one.

    Args:
        real, made, k: n, m, k.

    Example:
        >>> round(expected_coverage(1000, 1000, 5), 3)
        0.969

    Reference: Naeem et al., 2020, lemma 2.
    """
    return 1 - float(np.prod([(real - 1 - i) / (real + made - 1 - i) for i in range(k)]))
