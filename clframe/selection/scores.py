"""Scores of samples from what a trainer has: how sure a model is of each, and how much each pulls at it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from clframe.errors import DataError
from clframe.selection.draws.draw import Numbers
from clframe.selection.pool.finite import rows_named


def margin(probabilities: npt.NDArray[Any]) -> Numbers:
    """How much more probable the first class is than the second (n,): small where a model wavers.

        margin_i = p_i(1) - p_i(2),   p_i(1) >= p_i(2) >= ... in order

    Args:
        probabilities: (n, c), c > 1, rows adding up to 1.

    Raises:
        DataError: they are not probabilities; the rows are named.

    Example:
        >>> margin(np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])).tolist()
        [0.25, 1.0]

    Reference: Scheffer, Decomain, Wrobel, "Active hidden Markov models for information extraction", 2001.
    """
    p = _probabilities(probabilities)
    two = np.partition(p, -2, axis=1)[:, -2:]
    found: Numbers = two[:, 1] - two[:, 0]
    return found


def entropy(probabilities: npt.NDArray[Any]) -> Numbers:
    """The entropy of each row, in nats (n,): large where a model wavers.

        H_i = - sum_c p_ic ln p_ic,   0 ln 0 = 0

    Args:
        probabilities: (n, c), c > 1, rows adding up to 1.

    Raises:
        DataError: they are not probabilities; the rows are named.

    Example:
        >>> entropy(np.array([[0.5, 0.5], [0.0, 1.0]])).round(4).tolist()
        [0.6931, 0.0]

    Reference: Shannon, "A mathematical theory of communication", 1948.
    """
    p = _probabilities(probabilities)
    found: Numbers = 0.0 - (p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1)
    return found


def el2n(probabilities: npt.NDArray[Any], y: npt.NDArray[Any]) -> Numbers:
    """The length of the error (n,), from 0 to sqrt(2): large where a model is wrong.

        EL2N_i = || p_i - e_{y_i} ||_2,   e_y = 1 at class y, 0 elsewhere

    Args:
        probabilities: (n, c), c > 1, rows adding up to 1; of a model early in its training.
        y: labels (n,), 0 to c - 1.

    Raises:
        DataError: they are not probabilities, or labels of other classes; the rows are named.

    Example:
        >>> el2n(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1])).round(4).tolist()
        [0.0, 1.4142]

    Reference: Paul, Ganguli, Dziugaite, "Deep learning on a data diet: finding important examples early in training", 2021.

    Differences:
        1. Of one model; there the mean over several that began with other weights, which the mean of several calls is.
    """
    p = _probabilities(probabilities)
    found: Numbers = np.linalg.norm(p - _one_hot(y, p), axis=1)
    return found


def grand(probabilities: npt.NDArray[Any], y: npt.NDArray[Any], features: npt.NDArray[Any], bias: bool = True) -> Numbers:
    """The length of the gradient of the cross-entropy in the weights of the last layer (n,).

        GraNd_i = || (p_i - e_{y_i}) (h_i, 1)' ||_F = || p_i - e_{y_i} ||_2 sqrt(||h_i||^2 + 1)

    Args:
        probabilities: (n, c), c > 1, rows adding up to 1; the softmax of W h + b.
        y: labels (n,), 0 to c - 1.
        features: what the last layer is given, h (n, d).
        bias: whether the last layer has a bias; the 1 is there for it.

    Raises:
        DataError: they are not probabilities, labels of other classes, or features that are not finite; the rows are named.

    Example:
        >>> grand(np.array([[0.5, 0.5]]), np.array([0]), np.array([[2.0, 2.0]])).round(4).tolist()  # sqrt(1/2) sqrt(8 + 1)
        [2.1213]

    Reference: Paul, Ganguli, Dziugaite, "Deep learning on a data diet: finding important examples early in training", 2021.

    Differences:
        1. Of the last layer alone, which has this closed form; there of all weights, and the mean over several models.
    """
    h = np.asarray(features, dtype=np.float64)
    if h.ndim != 2 or len(h) != len(probabilities):
        raise DataError(f"features must have shape ({len(probabilities)}, d); got {h.shape}. Give one row for each sample.")
    bad = np.asarray(~np.isfinite(h).all(axis=1))
    if bad.any():
        raise DataError(f"features must be finite; got NaN or infinity {rows_named(bad)}. Leave these rows out.")
    found: Numbers = el2n(probabilities, y) * np.sqrt((h**2).sum(axis=1) + bias)
    return found


def forgetting_events(correct: npt.NDArray[Any]) -> Numbers:
    """How often each sample was right in one epoch and wrong in the next (n,); one that was never right counts as `epochs`.

        f_i = sum_{t > 1} [right_{t-1, i} and not right_{t, i}],   f_i = epochs where right_{t, i} is false for all t

    No other sample can have that many, so those never learnt come after all that were.

    Args:
        correct: whether each was predicted rightly at the end of each epoch (epochs, n), true or false.

    Raises:
        DataError: not such a table.

    Example:
        >>> right = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1], [0, 0, 1]], dtype=bool)
        >>> forgetting_events(right).tolist()
        [2.0, 4.0, 0.0]

    Reference: Toneva et al., "An empirical study of example forgetting during deep neural network learning", ICLR 2019.

    Differences:
        1. Seen once an epoch; there whenever a sample is in a batch, so that a table with one row for each of these is the same.
        2. Never learnt is a finite number, where the paper has infinity; the order is the same.
    """
    right = np.asarray(correct)
    if right.ndim != 2 or right.dtype != np.bool_ or not len(right):
        raise DataError(f"correct must be true or false, of shape (epochs, n); got {right.dtype} {right.shape}. Compare first.")
    events = (right[:-1] & ~right[1:]).sum(axis=0)
    return np.where(right.any(axis=0), events, len(right)).astype(np.float64)


def _probabilities(values: npt.NDArray[Any]) -> Numbers:
    p = np.asarray(values, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] < 2:
        raise DataError(f"probabilities must have shape (n, c), c > 1; got {p.shape}. Give one row for each sample.")
    bad = ~((p >= 0).all(axis=1) & (np.abs(p.sum(axis=1) - 1) < 1e-3))
    if bad.any():
        raise DataError(f"probabilities must be positive and add up to 1; got others {rows_named(bad)}. Take the softmax first.")
    return p


def _one_hot(y: npt.NDArray[Any], p: Numbers) -> Numbers:
    labels = np.asarray(y)
    if labels.shape != (len(p),) or labels.dtype.kind not in "iu":
        raise DataError(f"labels must be {len(p)} whole numbers; got {labels.dtype} {labels.shape}. Give one for each sample.")
    bad = (labels < 0) | (labels >= p.shape[1])
    if bad.any():
        raise DataError(f"labels must be between 0 and {p.shape[1] - 1}; got {labels[bad][0]} {rows_named(bad)}. Mend them.")
    found = np.zeros_like(p)
    found[np.arange(len(p)), labels] = 1.0
    return found
