"""Rows of a pool, or of what is trained on, cut into the same pieces whoever reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.selection.draws.draw import Rows
from clframe.selection.pool.finite import check_finite
from clframe.selection.pool.pool import BLOCK, Block
from clframe.selection.pool.vectors import Floats, InMemory, Vectors

SHARD = 4 * BLOCK
"""Rows in a piece."""
SPAN = 1024
"""Rows that are looked up at once."""


@final
@dataclass(frozen=True)
class Part:
    """Rows first to first + count - 1 of something, which are rows start to start + count - 1 of these vectors."""

    vectors: Vectors
    start: int
    count: int
    first: int
    spherical: bool = False

    def blocks(self) -> Iterator[Block]:
        """All rows in order, by blocks.

        Raises:
            DataError: an embedding that is not finite.
        """
        return (self.block(begin) for begin in range(0, self.count, BLOCK))

    def block(self, begin: int) -> Block:
        """At most BLOCK rows from `begin` on, finite, and of length 1 where cells are spherical; numbered from `first`.

        Raises:
            DataError: an embedding that is not finite.
        """
        x = self.vectors.read(self.start + begin, self.start + min(begin + BLOCK, self.count))
        return Block(self.first + begin, checked(Block(self.first + begin, x), self.spherical))


@final
@dataclass(frozen=True)
class Source:
    """Vectors that are read in parts."""

    vectors: Vectors
    spherical: bool = False

    def parts(self, size: int = SHARD) -> list[Part]:
        """All rows in pieces; one of an array holds a view of its rows alone, so that no more is sent to another process.

        Example:
            >>> [(p.first, p.count, p.vectors.shape) for p in Source(InMemory(np.zeros((5, 2)))).parts(3)]
            [(0, 3, (3, 2)), (3, 2, (2, 2))]
        """
        n, found = self.vectors.shape[0], []
        for first in range(0, n, size):
            count = min(size, n - first)
            own, shift = window(self.vectors, first, first + count)
            found.append(Part(own, first - shift, count, first, self.spherical))
        return found

    def take(self, rows: Rows) -> Floats:
        """Any rows, finite, and of length 1 where cells are spherical."""
        return looked_up(self.vectors, rows, self.spherical)

    def all(self) -> Floats:
        """All rows."""
        n = self.vectors.shape[0]
        return ready(self.vectors.read(0, n), self.spherical, np.arange(n))


def window(vectors: Vectors, start: int, stop: int) -> tuple[Vectors, int]:
    """What holds rows start to stop - 1 and can be sent to another process, and the number of its first row."""
    return (vectors.view(start, stop), start) if isinstance(vectors, InMemory) else (vectors, 0)


def looked_up(
    vectors: Vectors, rows: Rows, spherical: bool = False, shift: int = 0, check: Callable[[], None] | None = None
) -> Floats:
    """Some rows, finite, and of length 1 where cells are spherical; rows are numbered from `shift`.

    A few at a time: neighbours are read together with what lies between them.
    """
    found, order = np.empty((len(rows), vectors.shape[1]), dtype=np.float32), np.argsort(rows, kind="stable")
    for start in range(0, len(found), SPAN):
        if check is not None:
            check()
        place = order[start : start + SPAN]
        here = rows[place]
        found[place] = ready(vectors.take(here - shift), spherical, here)
    return found


def ready(x: Floats, spherical: bool, rows: Rows) -> Floats:
    """These embeddings, of length 1 where cells are spherical.

    Args:
        x: (b, d).
        spherical: whether to scale them.
        rows: their numbers, in ascending order, for the message (b,).

    Raises:
        DataError: some are not finite.
    """
    check_finite(x, rows)
    if spherical:
        lengths = np.linalg.norm(x, axis=1, keepdims=True)
        x = x / np.maximum(lengths, np.finfo(np.float32).tiny)
    return x


def checked(block: Block, spherical: bool = False) -> Floats:
    """The embeddings of a block, all of them finite.

    Raises:
        DataError: some are not.
    """
    return ready(block.x, spherical, np.arange(block.start, block.start + len(block.x)))
