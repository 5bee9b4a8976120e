"""How many rows of each stratum."""

from __future__ import annotations

import numpy as np

from clframe.errors import bad_option
from clframe.selection.draws.draw import Numbers, Rows


def allocate(size: int, sizes: Rows, share: Numbers, floor: int | Rows, by: str) -> Rows:
    """How many rows of each stratum: in proportion to `share`, at least `floor`, at most all it has, `size` in sum.

    Raises:
        OptionError: the floors alone are more than that.

    Example:
        >>> allocate(10, np.array([90, 10, 2]), np.array([90.0, 10.0, 2.0]), 2, "label").tolist()
        [6, 2, 2]
    """
    low = np.minimum(floor, sizes)
    if low.sum() > size:
        rule = f"at least {int(low.sum()):,}, the floors of the {len(sizes):,} strata of {by!r}"
        raise bad_option("size", rule, size, "Give a larger size, or fewer strata: by='NAME:10' cuts numbers into ten parts.")
    taken = low.astype(np.float64)
    free = np.ones(len(sizes), dtype=bool)
    while True:  # what is at its floor or full leaves the rest to the others
        room = size - taken[~free].sum()
        ideal = share * room / max(share[free].sum(), 1e-300)
        bounded = np.clip(ideal, low, sizes)
        moved = free & (bounded != ideal)
        over = (bounded[free].sum() - room) if moved.any() else 0.0
        fixed = moved & ((ideal < low) if over >= 0 else (ideal > sizes))
        taken[free] = bounded[free]
        if not fixed.any():
            break
        free &= ~fixed
    return _whole(taken, size, low, sizes)


def _whole(ideal: Numbers, size: int, low: Rows, sizes: Rows) -> Rows:
    """Whole numbers with this sum, by largest remainders."""
    found = np.clip(np.floor(ideal + 1e-9).astype(np.int64), low, sizes)
    while (rest := size - int(found.sum())) != 0:
        gap = ideal - found
        can = found < sizes if rest > 0 else found > low
        order = np.argsort(np.where(can, -gap if rest > 0 else gap, np.inf), kind="stable")[: min(abs(rest), int(can.sum()))]
        found[order] += 1 if rest > 0 else -1
    return found
