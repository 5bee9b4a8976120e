"""Duplicates: are generated rows copies of training data?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clframe.generations.alarms.exchange import Rows
from clframe.selection.clustering import Clustering
from clframe.selection.deduplicate import WIDE, cosines

Flags = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]


def exact(rows: Hashes, training: Hashes) -> Flags:
    """Which rows are equal to a training row (m,), by the hashes that the pool keeps of all rows.

    A filter that drops copies hides them; one changed digit does, too (see `near`).

    Example:
        >>> exact(np.array([1, 2], dtype=np.uint64), np.array([2, 3], dtype=np.uint64)).tolist()
        [False, True]

    Reference: Lee et al., "Deduplicating training data makes language models better", 2022, for copies and memorization.
    """
    return np.isin(rows, training)


def repeated(rows: Hashes) -> Flags:
    """Which rows are equal to another one of their own (n,): how many copies data of few different rows has by itself.

    Example:
        >>> repeated(np.array([1, 2, 1], dtype=np.uint64)).tolist()
        [True, False, True]
    """
    _, where, counts = np.unique(rows, return_inverse=True, return_counts=True)
    found: Flags = counts[where] > 1
    return found


def near(cells: Clustering, x: npt.NDArray[np.float32], real: int, threshold: float) -> Flags:
    """Which rows are nearly alike to a real row of their cell other than themselves (n + m,).

        row i is a near copy  <=>  cos(x_i, x_j) > 1 - eps  for a real row j != i of its cell

    Copies on the border of two cells are missed, among real and generated rows alike.

    Args:
        cells: of all rows; real ones come first.
        x: their embeddings (n + m, d).
        real: n.
        threshold: eps.

    Example:
        >>> cells = Clustering(np.zeros((1, 2)), np.array([0]), np.zeros(3, dtype=np.int32), np.zeros(3), {})
        >>> near(cells, np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.01]], dtype=np.float32), 2, 0.05).tolist()
        [False, False, True]

    Reference: Abbas et al., "SemDeDup: data-efficient learning at web-scale through semantic deduplication", 2023.

    Differences: 1. Generated rows are compared with real ones, not with each other.
    """
    length = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    unit = (x / np.maximum(length, np.finfo(np.float64).tiny)).astype(np.float32)
    found = np.zeros(len(x), dtype=np.bool_)
    order = np.argsort(cells.cell[:], kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(cells.cell[:], minlength=cells.k))[:-1]):
        among = rows[rows < real]
        for start in range(0, len(rows) if len(among) else 0, WIDE):
            some = rows[start : start + WIDE]
            alike = cosines(unit[some], unit[among]) > 1 - threshold
            found[some] = (alike & (some[:, None] != among)).any(axis=1)
    return found


def excess(real: Rows, made: Rows) -> float:
    """Share of copies among the generated rows, less that among the real ones.

    Args:
        real, made: rows that are no copies, and rows that are (2,).

    Example:
        >>> excess(np.array([3, 1]), np.array([1, 1]))
        0.25
    """
    return float(made[1] / made.sum() - real[1] / real.sum())
