"""What a draw gives: rows, how often each came, and how often it was expected to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
import numpy.typing as npt

Rows: TypeAlias = npt.NDArray[np.int64]
Numbers: TypeAlias = npt.NDArray[np.float64]


@final
@dataclass(frozen=True)
class Draw:
    """Distinct rows of a pool of n.

    With w_i = count_i / expected_i, sum_i w_i f_i over what was drawn has the expectation sum_i f_i over the pool, for any f.

    Attributes:
        rows: in ascending order (m,).
        count: how often each was drawn (m,).
        expected: how often it was expected to be, m p_i with replacement, the inclusion probability without (m,).
        size: how many draws.
        replaced: whether rows were drawn with replacement.
    """

    rows: Rows
    count: Rows
    expected: Numbers
    size: int
    replaced: bool

    @property
    def weight(self) -> Numbers:
        """count / expected (m,); rows that stand for many weigh as much."""
        return self.count / self.expected
