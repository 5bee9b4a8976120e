"""Tail coverage: do the rare kinds of real data still appear among the generated rows?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clframe.generations.alarms.exchange import Rows

SPARSE = 0.25
"""A cell is starved where it has less than this share of the generated rows that are to be expected."""


def rarest(sizes: Rows, share: float = 0.1) -> npt.NDArray[np.bool_]:
    """The decile of cells with the fewest real rows, at least one cell (k,). Cells without any are no part of it.

    Example:
        >>> rarest(np.array([0, 5, 40, 3, 30]), 0.5).tolist()
        [False, True, False, True, False]
    """
    there = np.flatnonzero(sizes)
    some = there[np.argsort(sizes[there], kind="stable")][: max(1, round(share * len(there)))]
    found = np.zeros(len(sizes), dtype=np.bool_)
    found[some] = True
    return found


def tail_coverage(real: Rows, made: Rows, tail: npt.NDArray[np.bool_]) -> float:
    """Generated rows in the rarest cells over those to be expected.

        (sum_tail made_c / sum made_c) / (sum_tail real_c / sum real_c)

    Args:
        real, made: rows in each cell (k,). Real rows other than those that the tail was found by: cells that are small by chance in
            one sample are larger in another.
        tail: the rarest cells (k,), see `rarest`.

    1 for as many as to be expected, 0 where the tail is gone; infinite or NaN where no real row is in it. It does not tell whether
    rows in a rare cell are good ones.

    Example:
        >>> tail_coverage(np.array([90, 10]), np.array([95, 5]), np.array([False, True]))
        0.5

    Reference: none that defines it; the loss of tails is described by Shumailov et al., "AI models collapse when trained on
    recursively generated data", 2024.
    """
    expected = real[tail].sum() / max(1, real.sum())
    found = made[tail].sum() / max(1, made.sum())
    return float(found / expected) if expected else (float("inf") if found else float("nan"))


def starved(real: Rows, made: Rows) -> float:
    """Share of real rows in cells that have less than a quarter of the generated rows to be expected: lost modes.

        sum_c real_c [made_c / sum made < 1/4 real_c / sum real] / sum real

    Example:
        >>> starved(np.array([60, 40]), np.array([95, 5]))
        0.4

    Reference: none that defines it.
    """
    n, m = max(1, real.sum()), max(1, made.sum())
    return float(real[made / m < SPARSE * real / n].sum() / n)
