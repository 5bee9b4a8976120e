"""Of every row of a pool the nearest of some chosen rows."""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt

from clframe.selection.clustering.cells import Cells
from clframe.selection.clustering.kmeans import checked
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.pool.pool import Block, Pool
from clframe.selection.pool.vectors import Floats

TOGETHER = 64
"""At most so many chosen rows are compared with a block in one product."""


@final
class Owners:
    """Chosen rows, added one after another, and which of them is nearest to each row of the pool: its owner.

    Distances only fall while rows are added. So what they were when a block was last read bounds them from above, and a block is
    read again only when it may hold the row that is farthest from all that are chosen. Memory: 8 bytes for each row of the pool,
    4 d for each chosen one, and one block.

    A chosen row owns itself. Of chosen rows equally near the one that was added first is the owner. Nothing here depends on the
    size of blocks, but for `reads`.

    Args:
        pool: n rows.
        size: how many rows will be added at most.
        spherical: scale embeddings to length 1 first.

    Attributes:
        rows: those that were added, in this order.
        owner: the place in `rows` of the nearest one (n,), after `settle`.
        square: the squared distance to it (n,), after `settle`; below 0 for a chosen row.
        reads: how many blocks were read.

    Raises:
        DataError: an embedding that is not finite; the rows are named.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> owners = Owners(pool_of([[0.0], [1.0], [4.0], [9.0]]), size=2)
        >>> owners.add(1)
        >>> owners.farthest()
        (3, 8.0)
        >>> owners.add(2)
        >>> owners.settle()
        >>> owners.owner.tolist(), owners.sizes.tolist(), owners.distances.tolist()
        ([0, 0, 1, 1], [2, 2], [1.0, 0.0, 0.0, 5.0])
    """

    def __init__(self, pool: Pool, size: int, spherical: bool = False) -> None:
        self.pool, self.spherical, self.reads = pool, spherical, 0
        self.rows: list[int] = []
        self.owner: Cells = np.zeros(pool.n, dtype=np.int32)
        self.square: Floats = np.full(pool.n, np.inf, dtype=np.float32)
        self._centres: Floats = np.empty((size, pool.d), dtype=np.float32)
        self._known = np.zeros(len(pool.starts), dtype=np.int64)  # how many of the chosen rows each block was compared with
        self._most = np.full(len(pool.starts), np.inf)

    def add(self, row: int) -> None:
        """One more chosen row."""
        self._centres[len(self.rows)] = checked(Block(row, self.pool.vectors.take(np.array([row]))), self.spherical)[0]
        self.square[row], self.owner[row] = -1.0, len(self.rows)
        self.rows.append(row)

    def farthest(self) -> tuple[int, float]:
        """The first of the rows that are farthest from all that are chosen, and how far that is."""
        while True:
            b = int(np.argmax(self._most))
            if self._known[b] == len(self.rows):
                start = self.pool.starts[b]
                row = start + int(np.argmax(self.square[start : start + self.pool.starts.step]))
                return row, float(np.sqrt(self.square[row]))
            self._compare(b)

    def settle(self) -> None:
        """Compare every block with all that are chosen."""
        for b in np.flatnonzero(self._known < len(self.rows)).tolist():
            self._compare(b)

    @property
    def sizes(self) -> Rows:
        """How many rows each chosen one owns, itself among them (m,)."""
        return np.bincount(self.owner, minlength=len(self.rows)).astype(np.int64)

    @property
    def distances(self) -> Numbers:
        """Of each row to its owner (n,)."""
        found: Numbers = np.sqrt(np.maximum(self.square, 0), dtype=np.float64)
        return found

    def _compare(self, b: int) -> None:
        block = self.pool.block(self.pool.starts[b])
        x, here = checked(block, self.spherical), slice(block.start, block.start + len(block.x))
        for first in range(int(self._known[b]), len(self.rows), TOGETHER):
            centres = self._centres[first : min(first + TOGETHER, len(self.rows))]
            compare(x, centres, self.square[here], self.owner[here], first)
        self.reads += 1
        self._known[b] = len(self.rows)
        self._most[b] = self.square[here].max()


def compare(x: Floats, centres: Floats, square: Floats, owner: Cells, first: int) -> None:
    """Where one of the centres is nearer than what was known, write its squared distance and number, in place.

    A product says which centres may be nearest, up to a bound on its rounding; only to these distances are taken, from differences.
    So they are the same whatever other centres they are compared with.

    Args:
        x: (b, d).
        centres: (p, d), numbered first, first + 1, ...
        square: the squared distance to the nearest one so far (b,).
        owner: the number of that one (b,).
        first: see centres.

    Example:
        >>> square, owner = np.array([4.0, 1.0], dtype=np.float32), np.zeros(2, dtype=np.int32)
        >>> x = np.array([[0.0], [3.0]], dtype=np.float32)
        >>> compare(x, np.array([[1.0], [5.0]], dtype=np.float32), square, owner, first=7)
        >>> square.tolist(), owner.tolist()
        ([1.0, 1.0], [7, 0])
    """
    own, theirs = np.einsum("bd,bd->b", x, x), np.einsum("pd,pd->p", centres, centres)
    rough = own[:, None] + theirs[None] - 2 * (x @ centres.T)
    slack = (x.shape[1] + 8) * np.finfo(np.float32).eps * (np.sqrt(own) + np.sqrt(theirs.max())) ** 2
    limit = np.minimum(square, rough.min(axis=1) + slack) + slack
    row, which = np.nonzero(rough <= limit[:, None])
    if not len(row):
        return
    exact = _squares(x, centres, row, which)
    order = np.lexsort((which, exact, row))
    order = order[np.concatenate([[True], np.diff(row[order]) > 0])]
    order = order[exact[order] < square[row[order]]]
    square[row[order]], owner[row[order]] = exact[order], first + which[order]


def _squares(x: Floats, centres: Floats, row: npt.NDArray[np.intp], which: npt.NDArray[np.intp]) -> Floats:
    """||x_row - c_which||^2 of pairs, as many at a time as there are rows."""
    found: Floats = np.empty(len(row), dtype=np.float32)
    for start in range(0, len(row), len(x)):
        here = slice(start, start + len(x))
        gap = x[row[here]] - centres[which[here]]
        found[here] = np.einsum("bd,bd->b", gap, gap)
    return found
