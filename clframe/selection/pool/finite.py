"""Embeddings that are not finite, and rows by their numbers in messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from clframe.errors import DataError


def check_finite(x: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> None:
    """Refuse embeddings (b, d) that are NaN or infinite, by their row numbers (b,).

    Raises:
        DataError: the rows are named.

    Example:
        >>> check_finite(np.array([[0.0], [np.nan]]), np.array([4, 7]))
        Traceback (most recent call last):
        clframe.errors.DataError: embeddings must be finite; got NaN or infinity in row 7. Leave these rows out, or embed them anew.
    """
    bad = ~np.isfinite(x.sum(axis=1)) & ~np.isfinite(x).all(axis=1)
    if bad.any():
        wrong = np.zeros(int(rows.max()) + 1, dtype=bool)
        wrong[rows[bad]] = True
        named = rows_named(wrong)
        raise DataError(f"embeddings must be finite; got NaN or infinity {named}. Leave these rows out, or embed them anew.")


def rows_named(bad: npt.NDArray[np.bool_], start: int = 0) -> str:
    """Which rows, in words.

    Example:
        >>> rows_named(np.array([False, True, True])), rows_named(np.ones(9, dtype=bool))
        ('in rows 1 and 2', 'in rows 0, 1, 2 and 6 more')
    """
    rows = [str(start + int(r)) for r in np.flatnonzero(bad)]
    if len(rows) == 1:
        return f"in row {rows[0]}"
    last = rows[-1] if len(rows) <= 3 else f"{len(rows) - 3:,} more"
    return f"in rows {', '.join(rows[: min(3, len(rows) - 1)])} and {last}"
