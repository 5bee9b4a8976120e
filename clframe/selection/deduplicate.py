"""Semantic de-duplication: of rows that are nearly alike one is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from clframe.errors import DataError, bad_option, unknown_name
from clframe.seeding import seed_for
from clframe.selection.clustering import Clustering, KMeans, cluster
from clframe.selection.clustering.parts import window
from clframe.selection.draws.draw import Rows
from clframe.selection.draws.hashing import hashed
from clframe.selection.engine import Check, Engine, held
from clframe.selection.pool.pool import Pool
from clframe.selection.pool.vectors import Floats, InMemory, Vectors

KEEPS = ("hard", "easy", "random")
LEAST = 1e-6
"""The least threshold; cosines are compared in single precision."""

WIDE = 1024
"""Rows of a cell that are compared with so many others at once."""

TOGETHER = 2**17
"""Cells with so many rows in all, or one larger cell, are read together."""

COMPARED = "rows compared"
"""What progress calls it."""

FOUND = np.dtype([("place", "<i4"), ("cosine", "<f4")])
Flags = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True)
class Duplicates:
    """What is kept of n rows with one threshold.

    Attributes:
        threshold: eps.
        original: of each row the kept row that it duplicates (n,); a kept row is its own.
        similarity: the cosine of the two (n,); 1 for a kept row.

    Example:
        >>> found = Duplicates(0.1, np.array([0, 0, 2]), np.array([1.0, 0.95, 1.0], dtype=np.float32))
        >>> found.kept.tolist(), found.dropped.tolist(), found.weight.tolist()
        ([0, 2], [1], [2, 1])
    """

    threshold: float
    original: Rows
    similarity: Floats

    @property
    def kept(self) -> Rows:
        """Rows that are kept, in ascending order."""
        return np.flatnonzero(self.original == np.arange(len(self.original))).astype(np.int64)

    @property
    def dropped(self) -> Rows:
        """Rows that are not, in ascending order."""
        return np.flatnonzero(self.original != np.arange(len(self.original))).astype(np.int64)

    @property
    def weight(self) -> Rows:
        """How many rows each kept one stands for, itself among them (len(kept),)."""
        return np.bincount(self.original, minlength=len(self.original))[self.kept].astype(np.int64)


def deduplicate(
    pool: Pool,
    thresholds: float | Sequence[float] = 0.05,
    keep: str = "hard",
    *,
    seed: int = 0,
    k: int = 0,
    clustering: Clustering | None = None,
    engine: Engine | None = None,
    tell: Callable[[int, int], object] | None = None,
) -> dict[float, Duplicates]:
    """Go through each cell of k-means in order, and drop a row that is nearly alike to one that was kept before it.

        row i is dropped  <=>  cos(x_i, x_j) > 1 - eps  for a kept row j of its cell that comes before it
        original of i = the j with the largest cosine, the first of these

    for each threshold eps by itself, all in one pass. Rows of different cells are not compared: the more cells, the more duplicates
    are missed at their borders. A row of zeros duplicates nothing.

    Cost: O(d sum of size^2 over the cells) at most; less where many rows are dropped. Memory: 4 d bytes for each row of the largest
    cell, but at least for 131,072 rows; 12 n bytes for each threshold, and 8 n more where nothing is kept in files; and some 50 MB.

    Args:
        pool: the embeddings.
        thresholds: eps, one or more, each from 1e-6 to 1.
        keep: which rows come first: "hard", those far from the centre of their cell; "easy", those near to it; "random".
        seed: of k-means and of the random order.
        k: cells; 0: by the size of the pool.
        clustering: cells that were made before, of the same pool; then k must be 0.
        engine: makes the cells and goes through them, and keeps what is done; by default this process. What is found is the same.
        tell: progress, called with (rows done, rows in all); an engine, if there is one, tells its own.

    Returns:
        By threshold, what is kept.

    Raises:
        OptionError: an option breaks its rule.
        DataError: an embedding that is not finite; a clustering of another pool.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> angle = np.array([0.0, 0.1, 0.2, 1.5])
        >>> pool = pool_of(np.stack([np.cos(angle), np.sin(angle)], axis=1))
        >>> found = deduplicate(pool, [0.001, 0.01, 0.1], k=1, keep="easy")  # the centre is row 2
        >>> {eps: (one.kept.tolist(), one.original.tolist()) for eps, one in found.items()}
        {0.001: ([0, 1, 2, 3], [0, 1, 2, 3]), 0.01: ([0, 2, 3], [0, 2, 2, 3]), 0.1: ([2, 3], [2, 2, 2, 3])}

    Reference: Abbas, Tirumala, Simig, Ganguli, Morcos, "SemDeDup: data-efficient learning at web-scale through semantic
        deduplication", 2023.

    Differences:
        1. A row is compared with kept rows alone, so that each dropped row has a kept one nearly alike; in the published code a row
           is dropped for any earlier one, also for one that is dropped itself, and chains of rows fall together.
        2. Centres of cells are rows of the pool; there they are means.
    """
    eps = _thresholds(thresholds)
    if keep not in KEEPS:
        raise unknown_name("keep", keep, KEEPS)
    if clustering is not None and k:
        raise bad_option("k", "left out where cells are given", k, "Leave out k or clustering.")
    if engine is None:
        engine = Engine(tell=None if tell is None else lambda what, done, n: tell(done, n) if what == COMPARED else None)
    cells = clustering or cluster(pool, KMeans(k=k, spherical=True), seed, engine=engine)
    if len(cells.cell) != pool.n:
        raise DataError(f"clustering must be of the {pool.n:,} rows of the pool; got {len(cells.cell):,}. Make it anew.")
    original = np.tile(np.arange(pool.n, dtype=np.int64), (len(eps), 1))
    similarity: Floats = np.ones((len(eps), pool.n), dtype=np.float32)
    limits = (1 - np.array(eps)).astype(np.float32)
    groups = list(together(order_of(cells, keep, seed), cells.sizes))
    pieces = [_piece(pool, rows, sizes, limits, engine.alone) for rows, sizes in groups]
    done = engine.map("duplicates", pieces, COMPARED, [len(rows) for rows, _ in groups])
    for (rows, _), one in zip(groups, map(held, done), strict=True):
        original[:, rows], similarity[:, rows] = rows[one["place"]], one["cosine"]
    return {e: Duplicates(e, original[t], similarity[t]) for t, e in enumerate(eps)}


@final
@dataclass(frozen=True)
class Compared:
    """Of each row of some cells the kept row that it duplicates, by its place among them, and their cosine (t, len(rows))."""

    vectors: Vectors
    rows: Rows
    sizes: Rows
    limits: Floats

    def __call__(self, check: Check) -> npt.NDArray[np.void]:
        """Go through the cells."""
        x, found = unit(self.vectors, self.rows), np.zeros((len(self.limits), len(self.rows)), dtype=FOUND)
        for end, size in zip(np.cumsum(self.sizes).tolist(), self.sizes.tolist(), strict=True):
            check()
            here = slice(end - size, end)
            place, cosine = within(x[here], self.limits)
            found["place"][:, here], found["cosine"][:, here] = place + here.start, cosine
        return found


def _piece(pool: Pool, rows: Rows, sizes: Rows, limits: Floats, alone: bool) -> Compared:
    """What goes to another process has the rows themselves where these are in memory, and the names of files where they are not."""
    vectors = window(pool.vectors, 0, pool.n)[0]
    if alone or not isinstance(vectors, InMemory):
        return Compared(vectors, rows, sizes, limits)
    return Compared(InMemory(vectors.take(rows)), np.arange(len(rows), dtype=np.int64), sizes, limits)


def _thresholds(given: float | Sequence[float]) -> list[float]:
    eps = [float(e) for e in (given if isinstance(given, Sequence | np.ndarray) else [given])]
    wrong = [e for e in eps if not LEAST <= e <= 1]
    if wrong or not eps:
        raise bad_option("thresholds", f"numbers from {LEAST:g} to 1", wrong[0] if wrong else eps, "Give thresholds=0.05.")
    return eps


def order_of(cells: Clustering, keep: str, seed: int) -> Rows:
    """All rows, cell by cell, in the order in which they are gone through (n,).

    Example:
        >>> cell, distance = np.array([1, 0, 0, 1], dtype=np.int32), np.array([0.0, 0.0, 0.5, 0.2], dtype=np.float32)
        >>> cells = Clustering(np.zeros((2, 1), dtype=np.float32), np.array([1, 0]), cell, distance, {})
        >>> order_of(cells, "hard", 0).tolist(), order_of(cells, "easy", 0).tolist()
        ([2, 1, 3, 0], [1, 2, 0, 3])
    """
    if keep == "random":
        key = hashed(np.arange(len(cells.cell), dtype=np.int64), seed_for(seed, "deduplicate"))
    else:
        key = np.asarray(cells.distance, dtype=np.float64) * (-1 if keep == "hard" else 1)
    return np.lexsort((key, cells.cell)).astype(np.int64)


def together(order: Rows, sizes: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Rows of as many cells as are read at once, and the number of rows of each of these cells.

    Example:
        >>> [(rows.tolist(), sizes.tolist()) for rows, sizes in together(np.arange(3), np.array([2, 1]))]
        [([0, 1, 2], [2, 1])]
    """
    first = begin = 0
    while first < len(sizes):
        ends = np.cumsum(sizes[first:])
        count = max(1, int(np.searchsorted(ends, TOGETHER, side="right")))
        end = begin + int(ends[count - 1])
        yield order[begin:end], sizes[first : first + count]
        first, begin = first + count, end


def unit(vectors: Vectors, rows: Rows) -> Floats:
    """The embeddings of some rows, of length 1, but for those of length 0 (len(rows), d)."""
    x = vectors.take(rows)
    for start in range(0, len(x), WIDE):
        part = x[start : start + WIDE].astype(np.float64)
        x[start : start + WIDE] = part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return x


def within(x: Floats, limits: Floats) -> tuple[Rows, Floats]:
    """Of each row of a cell the kept row that it duplicates, itself if it is kept, and their cosine.

    Args:
        x: of length 1, in the order in which they are gone through (c, d).
        limits: 1 - eps of each threshold (t,).

    Returns:
        Places in x (t, c), and cosines (t, c).

    Example:
        >>> x = np.array([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]], dtype=np.float32)
        >>> place, cosine = within(x, np.array([0.7, 0.5], dtype=np.float32))
        >>> place.tolist(), cosine.astype(float).round(2).tolist()
        ([[0, 1, 1], [0, 0, 0]], [[1.0, 1.0, 0.96], [1.0, 0.6, 0.8]])
    """
    place = np.tile(np.arange(len(x), dtype=np.int64), (len(limits), 1))
    cosine: Floats = np.ones((len(limits), len(x)), dtype=np.float32)
    kept = np.ones((len(limits), len(x)), dtype=np.bool_)
    for start in range(0, len(x), WIDE):
        own = np.arange(start, min(start + WIDE, len(x)))
        at, best = np.full((len(limits), len(own)), -1), np.full((len(limits), len(own)), -np.inf, dtype=np.float32)
        for first in range(0, start, WIDE):
            earlier = first + np.flatnonzero(kept[:, first : first + WIDE].any(axis=0))
            _nearest_kept(cosines(x[own], x[earlier]), earlier, kept[:, earlier], limits, at, best)
        among = cosines(x[own], x[own])
        for t, limit in enumerate(limits):
            _go_through(among, start, limit, at[t], best[t])
        dropped = at >= 0
        kept[:, own] = ~dropped
        place[:, own], cosine[:, own] = np.where(dropped, at, own), np.where(dropped, best, 1)
    return place, cosine


def cosines(a: Floats, b: Floats) -> Floats:
    """Of all pairs (len(a), len(b)); rounded to single precision, so that they do not depend on what else is computed."""
    return (a.astype(np.float64) @ b.astype(np.float64).T).astype(np.float32)


def _nearest_kept(cosine: Floats, columns: Rows, kept: Flags, limits: Floats, at: Rows, best: Floats) -> None:
    """Where a kept row of other blocks is nearer than what was known, write it, in place."""
    hit = np.flatnonzero((cosine > limits.min()).any(axis=1))
    if not len(hit):
        return
    for t, limit in enumerate(limits):
        of_kept = np.where(kept[t], cosine[hit], -np.inf)
        top = of_kept.argmax(axis=1)
        value = of_kept[np.arange(len(hit)), top]
        better = (value > limit) & (value > best[t, hit])
        at[t, hit[better]], best[t, hit[better]] = columns[top[better]], value[better]


def _go_through(among: Floats, start: int, limit: float, at: Rows, best: Floats) -> None:
    """The rows of one block, one after another: each that is not dropped may be what later ones duplicate. In place."""
    over = np.triu(among > limit, 1)
    for i in np.flatnonzero(over.any(axis=1)).tolist():
        if at[i] < 0:
            better = np.flatnonzero(over[i] & (among[i] > best))
            at[better], best[better] = start + i, among[i, better]
