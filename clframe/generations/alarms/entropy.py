"""Entropy over cells: does generated data spread over as many cells of k-means as real data?"""

from __future__ import annotations

import numpy as np

from clframe.generations.alarms.exchange import Rows


def entropy(counts: Rows) -> float:
    """Entropy of the shares of the cells.

        H = - sum_c p_c log p_c,   p_c = counts_c / sum

    Args:
        counts: rows in each cell, or of each n-gram (k,).

    Units: nats. log k where all cells have equally many rows, 0 where one has all. It depends on the number of rows, so compare
    equally many; it does not tell which cells changed.

    Example:
        >>> round(entropy(np.array([1, 1, 1, 1])), 4), entropy(np.array([5, 0]))
        (1.3863, 0.0)

    Reference: Shannon, "A mathematical theory of communication", 1948.
    """
    shares = counts[counts > 0] / max(1, counts.sum())
    return float(max(0.0, -(shares * np.log(shares)).sum()))


def entropy_change(real: Rows, made: Rows) -> float:
    """H(made) - H(real), in nats: below 0 where generated rows gather in fewer cells.

    Example:
        >>> round(entropy_change(np.array([2, 2]), np.array([4, 0])), 4)
        -0.6931
    """
    return entropy(made) - entropy(real)


def empty_cells(real: Rows, made: Rows) -> float:
    """Share of the cells with real rows that have no generated one.

        #{c: made_c = 0, real_c > 0} / #{c: real_c > 0}

    Args:
        real, made: rows in each cell (k,).

    Where cells have few rows, chance empties some. It does not tell of cells that are nearly empty (see `tail`).

    Example:
        >>> empty_cells(np.array([3, 1, 1, 0]), np.array([4, 1, 0, 0]))
        0.3333333333333333

    Reference: Kazdan et al., "Collapse or thrive?", 2024: the share of categories that are empty.
    """
    there = real > 0
    return float((there & (made == 0)).sum() / max(1, there.sum()))
