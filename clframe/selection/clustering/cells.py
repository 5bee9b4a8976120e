"""Which cell each row of a pool lies in, and how far from its centre."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

from clframe.selection.draws.draw import Numbers, Rows

Cells: TypeAlias = npt.NDArray[np.int32]


@final
@dataclass(frozen=True)
class Clustering:
    """k cells. Any partition will do for what is built on it to be unbiased; a better one makes errors smaller.

    Attributes:
        centres: (k, d), each of them the embedding of a row.
        rows: which rows these are (k,).
        cell: of each row of the pool (n,).
        distance: ||x - c||^2 of each row to the centre of its cell (n,).
        how: how it was made, for the manifest.
    """

    centres: npt.NDArray[np.float32]
    rows: Rows
    cell: Cells
    distance: npt.NDArray[np.float32]
    how: dict[str, Any]

    @property
    def k(self) -> int:
        """How many cells."""
        return len(self.centres)

    @cached_property
    def sizes(self) -> Rows:
        """Rows in each cell (k,)."""
        return np.bincount(self.cell, minlength=self.k).astype(np.int64)

    @cached_property
    def cost(self) -> float:
        """Phi_k = sum_i ||x_i - c||^2, over all rows."""
        return float(self.distance.sum(dtype=np.float64))

    def costs(self, power: float = 2.0) -> Numbers:
        """Of each cell, sum ||x_i - c||^power (k,)."""
        found: Numbers = np.bincount(self.cell, weights=self.far(0, len(self.cell), power), minlength=self.k).astype(np.float64)
        return found

    def far(self, start: int, stop: int, power: float = 2.0) -> Numbers:
        """||x - c||^power of rows start to stop - 1."""
        squared = self.distance[start:stop].astype(np.float64)
        return squared if power == 2 else squared ** (power / 2)
