"""Random numbers that belong to rows: the same whoever asks, in whatever order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def hashed(rows: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.float64]:
    """A uniform number in (0, 1) for each row number, by the finaliser of splitmix64.

    Example:
        >>> u = hashed(np.arange(100_000), seed=3)
        >>> bool((u > 0).all() and (u < 1).all()), float(u.mean().round(2)), float(u.std().round(2))
        (True, 0.5, 0.29)

    Reference: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    with np.errstate(over="ignore"):
        key = np.uint64(seed % 2**64) * np.uint64(0x9E3779B97F4A7C15)
        z = (rows.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + _mix(np.asarray([key]))[0]
        return ((_mix(z) >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def _mix(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
