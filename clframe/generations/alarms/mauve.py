"""MAUVE: one number for how far two distributions over cells lie apart, in both directions."""

from __future__ import annotations

import numpy as np

from clframe.generations.alarms.alarm import Floats
from clframe.generations.alarms.exchange import Rows

ENOUGH = 5000
"""Rows of each kind below which the number is too optimistic."""
SCALE = 5.0
POINTS = 25


def mauve(real: Rows, made: Rows, scale: float = SCALE, points: int = POINTS) -> float:
    """Area under the divergence curve of real and generated rows over cells.

        P, Q = shares of the cells,   R_a = a P + (1 - a) Q
        curve: (exp(-c KL(Q | R_a)), exp(-c KL(P | R_a))), 0 < a < 1, with (1, 0) and (0, 1) at its ends

    1 for the same shares, near 0 where no cell has rows of both. KL(P | R) is large where generated rows lack something real,
    KL(Q | R) where they have something that is not; the area does not tell which. It depends on cells, embedding and number of
    rows: compare values of the same ones only.

    Args:
        real, made: rows in each cell (k,), each some.
        scale: c.
        points: how many values of a.

    Example:
        >>> mauve(np.array([3, 3]), np.array([5, 5])), mauve(np.array([9, 0]), np.array([0, 9])) < 0.01
        (1.0, True)

    Reference: Pillutla et al., "MAUVE: measuring the gap between neural text and human text using divergence frontiers", 2021.

    Differences:
        1. Cells are clframe's: their centres are rows, and k-means is not begun several times.
        2. Embeddings are not scaled to length 1 first.
    """
    p, q = real / real.sum(), made / made.sum()
    shares = np.linspace(1e-6, 1 - 1e-6, points)
    mixed = shares[:, None] * p + (1 - shares[:, None]) * q
    x = np.concatenate([[1.0], np.exp(-scale * _kl(q, mixed)), [0.0]])
    y = np.concatenate([[0.0], np.exp(-scale * _kl(p, mixed)), [1.0]])
    return float(min(1.0, -((y[1:] + y[:-1]) / 2 * np.diff(x)).sum()))


def _kl(p: Floats, mixed: Floats) -> Floats:
    """KL(p | r) of each mixture r (points,)."""
    some = p > 0
    found: Floats = (p[some] * np.log(p[some] / mixed[:, some])).sum(axis=1)
    return np.maximum(found, 0)
