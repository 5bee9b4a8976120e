"""How much each row should count in a draw, known block by block."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import final

import numpy as np

from clframe.errors import DataError
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.pool.pool import BLOCK


@final
class Scores:
    """Scores q_i >= 0 of n rows, and the probabilities that they and a share `mixture` of equal ones give.

        p_i = (1 - a) q_i / sum_j q_j + a / n        a = mixture; where all q are 0, p_i = 1 / n

    so that no weight 1 / (m p_i) of m draws exceeds n / (m a), and rows of score 0 can be drawn, too, unless a = 0.

    Args:
        n: rows.
        of: the scores of rows start to stop - 1.
        mixture: a in [0, 1].

    Raises:
        DataError: a score that is negative or not finite.

    Example:
        >>> Scores.known(np.array([1.0, 3.0]), mixture=0.5).read(0, 2).tolist()
        [0.375, 0.625]
    """

    def __init__(self, n: int, of: Callable[[int, int], Numbers], mixture: float = 0.0) -> None:
        self.n, self.mixture, self._of = n, mixture, of

    @classmethod
    def known(cls, values: Numbers, mixture: float = 0.0) -> Scores:
        """Scores (n,) in memory."""
        return cls(len(values), lambda start, stop: values[start:stop], mixture)

    @cached_property
    def sums(self) -> Numbers:
        """The sum of the scores of each block."""
        return np.array([self._raw(start).sum() for start in range(0, self.n, BLOCK)])

    @property
    def total(self) -> float:
        """T, the sum of all scores."""
        return float(self.sums.sum())

    def read(self, start: int, stop: int) -> Numbers:
        """The probabilities of rows start to stop - 1."""
        return self._mixed(np.asarray(self._of(start, stop), dtype=np.float64))

    def at(self, rows: Rows) -> Numbers:
        """The probabilities of any rows."""
        out = np.empty(len(rows))
        block = rows // BLOCK
        for one in np.unique(block).tolist():
            here = block == one
            start = one * BLOCK
            out[here] = self.read(start, min(start + BLOCK, self.n))[rows[here] - start]
        return out

    def raw_at(self, rows: Rows) -> Numbers:
        """The scores of any rows."""
        share = self.at(rows) - self.mixture / self.n
        return share * self.total / (1 - self.mixture) if self.total and self.mixture < 1 else np.zeros(len(rows))

    def _mixed(self, q: Numbers) -> Numbers:
        if not self.total:
            return np.full(len(q), 1 / self.n)
        return (1 - self.mixture) * q / self.total + self.mixture / self.n

    def _raw(self, start: int) -> Numbers:
        q = np.asarray(self._of(start, min(start + BLOCK, self.n)), dtype=np.float64)
        bad = ~(np.isfinite(q) & (q >= 0))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise DataError(f"scores must be zero or positive; got {q[row]:g} in row {start + row}. Mend it.")
        return q
