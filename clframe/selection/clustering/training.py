"""Centres of k-means: trained on a part of a pool, in memory or by blocks of rows in files, and rounded to rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from clframe.seeding import rng, seed_for
from clframe.selection.clustering.by_blocks import lloyd
from clframe.selection.clustering.in_memory import by_faiss, by_super
from clframe.selection.clustering.nearest import assign, made
from clframe.selection.clustering.options import KMeans
from clframe.selection.clustering.parts import Part, Source, looked_up, window
from clframe.selection.clustering.two_levels import two_levels
from clframe.selection.draws.by_hash import smallest
from clframe.selection.draws.draw import Rows
from clframe.selection.engine import Check, Engine, Held, held
from clframe.selection.pool.pool import Pool
from clframe.selection.pool.vectors import Floats, InMemory, Shards, Vectors

GATHERED = 2**22
"""Numbers in one file of rows that are trained on: 16 MiB."""
SHUFFLED = 2**22
"""Rows of a pool up to which numpy draws those that are trained on; of a larger one it would number all rows first."""
STAGES = ("rows", "cells", "coarse", "of", "fine", "nearest")
"""Files that are not needed once the centres are known."""
NEAREST = np.dtype([("distance", "<f4"), ("row", "<i8")])


def centre_rows(pool: Pool, k: int, how: KMeans, seed: int, engine: Engine, kernel: str) -> Rows:
    """The rows of the pool that are the centres: of each cell with rows that which is nearest to its mean (at most k,).

    Args:
        pool: the embeddings.
        k: cells.
        how: the rest.
        seed: of the rows that it is trained on, and of the first centres.
        engine: does what is done in pieces.
        kernel: what finds nearest centres.

    Raises:
        DataError: an embedding that is not finite.
    """
    rows, trainer = training_rows(pool.n, k * how.points, seed), how.trained_by(pool.n, pool.d)
    source = _source(pool, rows, how.spherical, trainer, engine)

    def one_level(cells: int, name: str) -> Floats:
        if trainer == "lloyd":
            return lloyd(source, cells, how, seed, engine, kernel, name)
        return (by_super if trainer == "super" else by_faiss)(source.all(), cells, how, seed)

    def train() -> Floats:
        return one_level(k, "cells") if how.levels == 1 else two_levels(source, k, how, seed, engine, kernel, one_level)

    trained = engine.once("trained", train)
    nearest = engine.map("nearest", [NearestRows(part, trained, kernel) for part in source.parts()])
    found: Rows = rows[_least([held(one) for one in nearest])]
    return found


def training_rows(n: int, most: int, seed: int) -> Rows:
    """At most so many rows of n, drawn without replacement, in ascending order.

    Example:
        >>> training_rows(5, 9, seed=0).tolist(), len(training_rows(50, 9, seed=0))
        ([0, 1, 2, 3, 4], 9)
    """
    if n <= most:
        return np.arange(n, dtype=np.int64)
    if n > SHUFFLED:
        return smallest(n, most, seed_for(seed, "k-means", "rows"))
    return np.sort(rng(seed, "k-means", "rows").choice(n, size=most, replace=False, shuffle=False)).astype(np.int64)


def _source(pool: Pool, rows: Rows, spherical: bool, trainer: str, engine: Engine) -> Source:
    """The rows that are trained on: in memory, in files of their own, or the whole pool where it is."""
    if trainer != "lloyd":
        return Source(InMemory(looked_up(pool.vectors, rows, spherical)))
    if len(rows) == pool.n:
        return Source(pool.vectors, spherical)
    step = max(1, GATHERED // pool.d)
    pieces = []
    for some in np.split(rows, range(step, len(rows), step)):
        vectors, shift = window(pool.vectors, int(some[0]), int(some[-1]) + 1)
        pieces.append(Gather(vectors, some, shift, spherical))
    files = engine.map("rows", pieces, "rows to train on", [len(piece.rows) for piece in pieces])
    return Source(Shards([file for file in files if isinstance(file, Path)]))


@final
@dataclass(frozen=True)
class Gather:
    """Some rows of a pool, ready to be trained on."""

    vectors: Vectors
    rows: Rows
    shift: int
    spherical: bool

    def __call__(self, check: Check) -> Floats:
        """Look them up."""
        return looked_up(self.vectors, self.rows, self.spherical, self.shift, check)


@final
@dataclass(frozen=True)
class NearestRows:
    """Of each cell the row of a part that is nearest to its mean: distance, infinite where there is none, and number (k,)."""

    part: Part
    centres: Held
    kernel: str

    def __call__(self, check: Check) -> npt.NDArray[np.void]:
        """Look through the part; of rows equally near the first is taken."""
        centres = held(self.centres)
        nearest, found = made(self.kernel, centres), np.zeros(len(centres), dtype=NEAREST)
        found["distance"], found["row"] = np.inf, -1
        for block in self.part.blocks():
            check()
            cell, distance = assign(block.x, centres, nearest)
            order = np.lexsort((distance, cell))
            first = order[np.concatenate([[True], np.diff(cell[order]) > 0])]
            first = first[distance[first] < found["distance"][cell[first]]]
            found["distance"][cell[first]], found["row"][cell[first]] = distance[first], block.start + first
        return found


def _least(found: list[npt.NDArray[np.void]]) -> Rows:
    """Of each cell that has rows the one nearest to its mean; `found` is of parts in the order of their rows."""
    best = found[0].copy()
    for one in found[1:]:
        nearer = one["distance"] < best["distance"]
        best[nearer] = one[nearer]
    rows: Rows = best["row"][best["row"] >= 0].astype(np.int64)
    return rows
