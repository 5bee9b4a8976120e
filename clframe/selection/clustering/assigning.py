"""The cell of every row of a pool, a part at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from clframe.selection.clustering.nearest import assign
from clframe.selection.clustering.parts import Part
from clframe.selection.clustering.search import finder
from clframe.selection.engine import Check, Held, held

RECORD = np.dtype([("cell", "<i4"), ("distance", "<f4")])
"""Of each row, in memory and in files."""


@final
@dataclass(frozen=True)
class Assign:
    """The cell of each row of a part, and its squared distance to the centre of that cell (records, count)."""

    part: Part
    centres: Held
    kernel: str
    index: Held | None = None
    probes: int = 0

    def __call__(self, check: Check) -> npt.NDArray[np.void]:
        """Go through the part."""
        centres, found = held(self.centres), np.empty(self.part.count, dtype=RECORD)
        nearest = finder(self.kernel, centres, self.index, self.probes)
        for block in self.part.blocks():
            check()
            here = slice(block.start - self.part.first, block.start - self.part.first + len(block.x))
            found["cell"][here], found["distance"][here] = assign(block.x, centres, nearest)
        return found
