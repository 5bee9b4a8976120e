"""Which cell each row of a pool lies in, and how far from its centre."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

from clframe.selection.clustering.in_files import InFiles
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.pool.pool import BLOCK

Cells: TypeAlias = npt.NDArray[np.int32]


@final
@dataclass(frozen=True)
class Clustering:
    """k cells. Any partition will do for what is built on it to be unbiased; a better one makes errors smaller.

    Attributes:
        centres: (k, d), each of them the embedding of a row.
        rows: which rows these are (k,).
        cell: of each row of the pool (n,), in memory, or in files that are read where it is indexed.
        distance: ||x - c||^2 of each row to the centre of its cell (n,), as `cell`.
        how: how it was made, for the manifest.
    """

    centres: npt.NDArray[np.float32]
    rows: Rows
    cell: Cells | InFiles
    distance: npt.NDArray[np.float32] | InFiles
    how: dict[str, Any]

    @property
    def k(self) -> int:
        """How many cells."""
        return len(self.centres)

    @cached_property
    def sizes(self) -> Rows:
        """Rows in each cell (k,)."""
        found = np.zeros(self.k, dtype=np.int64)
        for start, stop in self._blocks():
            found += np.bincount(self.cell[start:stop], minlength=self.k)
        return found

    @cached_property
    def cost(self) -> float:
        """Phi_k = sum_i ||x_i - c||^2, over all rows."""
        return float(sum(self.distance[start:stop].sum(dtype=np.float64) for start, stop in self._blocks()))

    def costs(self, power: float = 2.0) -> Numbers:
        """Of each cell, sum ||x_i - c||^power (k,)."""
        found = np.zeros(self.k)
        for start, stop in self._blocks():
            found += np.bincount(self.cell[start:stop], weights=self.far(start, stop, power), minlength=self.k)
        return found

    def far(self, start: int, stop: int, power: float = 2.0) -> Numbers:
        """||x - c||^power of rows start to stop - 1."""
        squared: Numbers = self.distance[start:stop].astype(np.float64)
        return squared if power == 2 else squared ** (power / 2)

    def _blocks(self) -> list[tuple[int, int]]:
        n = len(self.cell)
        return [(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]
