"""Held-out real loss: does a later model predict real data worse?"""

from __future__ import annotations

import numpy as np

from clframe.errors import DataError
from clframe.generations.alarms.alarm import Floats

BLOCK = 1 << 22
"""Numbers that are drawn at once."""


def increase(loss: Floats, before: Floats) -> float:
    """Mean increase of the loss on the same held-out real rows.

        mean_i (l_i - l'_i)

    Args:
        loss: l, of each row under the model that is looked at (m,).
        before: l', of the same rows, in the same order, under an earlier one (m,).

    Units: those of the loss.

    It does not tell what went wrong, nor of anything that the held-out rows do not have; a model may gain here and lose variety.

    Raises:
        DataError: not the same number of rows, no rows, or a loss that is not finite.

    Example:
        >>> increase(np.array([1.0, 2.0]), np.array([0.5, 2.0]))
        0.25

    Reference: Gerstgrasser et al., "Is model collapse inevitable? Breaking the curse of recursion by accumulating real and
    synthetic data", 2024: the loss that is followed there.
    """
    return float(_difference(loss, before).mean())


def increase_by_chance(loss: Floats, before: Floats, times: int, random: np.random.Generator) -> Floats:
    """Increases that would be measured if there were none: a paired bootstrap, moved to mean 0 (times,).

        d_i = l_i - l'_i,   s_b = mean of m rows of d drawn with replacement - mean of d

    An increase is larger than a share 1 - a of these where the one-sided lower bound of confidence 1 - a (the basic bootstrap) is
    above 0.

    Args:
        loss, before: as in `increase`.
        times: B.
        random: numpy's generator.

    Raises:
        DataError: as `increase`.

    Example:
        >>> found = increase_by_chance(np.array([1.0, 3.0]), np.zeros(2), 100, np.random.default_rng(0))
        >>> sorted(set(found.tolist()))
        [-1.0, 0.0, 1.0]

    Reference: Efron, Tibshirani, "An introduction to the bootstrap", 1993, chapter 13.
    """
    d = _difference(loss, before)
    d = d - d.mean()
    step = max(1, BLOCK // len(d))
    parts = [d[random.integers(len(d), size=(min(step, times - b), len(d)))].mean(axis=1) for b in range(0, times, step)]
    return np.concatenate(parts)


def _difference(loss: Floats, before: Floats) -> Floats:
    if loss.shape != before.shape or not len(loss):
        raise DataError(
            f"held-out losses must be of the same rows in every generation; got {len(loss):,} and {len(before):,}. "
            "Measure all models on one held-out set."
        )
    if not (np.isfinite(loss).all() and np.isfinite(before).all()):
        raise DataError("held-out losses must be finite; got one that is not. Leave out the model that diverged.")
    found: Floats = loss.astype(np.float64) - before
    return found
