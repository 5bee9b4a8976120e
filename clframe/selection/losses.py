"""The losses of rows: asked for a few at a time, and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np
import numpy.typing as npt

from clframe.errors import DataError
from clframe.selection.draws.draw import Numbers, Rows

Oracle = Callable[[Rows], npt.NDArray[Any]]


@final
class Losses:
    """What the loss of a row is; a row that is asked for again costs nothing.

    Args:
        of: the loss of each row (n,), or a function of row numbers (k,) that returns their losses (k,), by a model, for example.
        n: rows of the pool.

    Attributes:
        queries: how many different rows were asked for.

    Example:
        >>> losses = Losses(np.array([0.5, 1.5, 2.5]), 3)
        >>> losses(np.array([2, 0, 2])).tolist(), losses.queries
        ([2.5, 0.5, 2.5], 2)
    """

    def __init__(self, of: npt.NDArray[Any] | Oracle, n: int) -> None:
        if not callable(of) and len(of) != n:
            raise DataError(
                f"losses must be one for each of the {n:,} rows; got {len(of):,}. Give both in the same order and length."
            )
        self._of = of if callable(of) else np.asarray(of)
        self._found: dict[int, float] = {}

    @property
    def queries(self) -> int:
        """How many different rows were asked for."""
        return len(self._found)

    def knows(self, rows: Rows) -> bool:
        """Whether all of these rows were asked for."""
        return self._found.keys() >= set(rows.tolist())

    def __call__(self, rows: Rows) -> Numbers:
        """The losses of these rows (k,).

        Raises:
            DataError: one is negative or not finite, or there are not as many as rows.
        """
        new = np.array(sorted({int(r) for r in rows} - self._found.keys()), dtype=np.int64)
        if len(new):
            values = np.asarray(self._of(new) if callable(self._of) else self._of[new], dtype=np.float64).reshape(-1)
            if len(values) != len(new):
                raise DataError(
                    f"losses of {len(new)} rows must be {len(new)} numbers; got {len(values)}. Return one for each row."
                )
            bad = ~(np.isfinite(values) & (values >= 0))
            if bad.any():
                row, value = int(new[bad][0]), float(values[bad][0])
                more = f" and in {int(bad.sum()) - 1} more" if bad.sum() > 1 else ""
                raise DataError(
                    f"losses must be finite and not negative; got {value:g} in row {row}{more}. Add a constant, or leave rows out."
                )
            self._found.update(zip(new.tolist(), values.tolist(), strict=True))
        return np.array([self._found[int(r)] for r in rows], dtype=np.float64)
