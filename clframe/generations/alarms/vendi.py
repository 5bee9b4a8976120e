"""Vendi score: the effective number of different rows."""

from __future__ import annotations

import numpy as np

from clframe.generations.alarms.alarm import Floats


def vendi_score(x: Floats) -> float:
    """Exponential of the entropy of the eigenvalues of the similarities.

        K_ij = cos(x_i, x_j),   VS = exp(- sum_i l_i log l_i),   l the eigenvalues of K / n

    1 where all rows are alike, n where all are orthogonal, d at most. Real data is not needed, so it does not tell whether the
    variety is the right one. Cost: O(n d min(n, d)).

    Args:
        x: embeddings (n, d). Rows of zeros are left as they are.

    Example:
        >>> round(vendi_score(np.eye(4)), 9), round(vendi_score(np.ones((3, 2))), 9)
        (4.0, 1.0)

    Reference: Friedman, Dieng, "The Vendi score: a diversity evaluation metric for machine learning", 2023.

    Differences: 1. The eigenvalues are those of the smaller of X X^T / n and X^T X / n, which are the same but for zeros.
    """
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    product = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit
    values = np.linalg.eigvalsh(product / len(unit))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))
