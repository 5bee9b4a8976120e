"""k-means on two levels: coarse cells, and cells within each of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.seeding import seed_for
from clframe.selection.clustering.cells import Cells
from clframe.selection.clustering.in_memory import by_faiss
from clframe.selection.clustering.nearest import made
from clframe.selection.clustering.options import FITS, KMeans
from clframe.selection.clustering.parts import Part, Source
from clframe.selection.draws.draw import Rows
from clframe.selection.engine import Check, Engine, Held, held
from clframe.selection.pool.vectors import Floats


def two_levels(
    source: Source, k: int, how: KMeans, seed: int, engine: Engine, kernel: str, coarsely: Callable[[int, str], Floats]
) -> Floats:
    """Centres (k, d): about sqrt(k) coarse cells, then k-means in each, with cells in proportion to its rows.

    Products: m (sqrt(k) + sqrt(k)) instead of m k for each pass over m rows. Rows of one coarse cell are held in memory, at most
    64 MiB of them: of a larger one evenly spaced rows are trained on.

    Args:
        source: rows that are trained on.
        k: cells in all.
        how: iterations and seeding, on both levels.
        seed: of the first centres.
        engine: does the coarse cells.
        kernel: what finds nearest centres.
        coarsely: trains so many coarse cells; the other argument names the files.
    """
    coarse = engine.once("coarse", lambda: coarsely(max(1, round(math.sqrt(k))), "coarse"))
    parts = source.parts()
    of = engine.map("of", [Of(part, coarse, kernel) for part in parts])
    counts: Rows = np.zeros(len(held(coarse)), dtype=np.int64)
    for one in of:
        counts += np.bincount(held(one), minlength=len(counts))
    share, most = shares(counts, k), max(1, FITS // (4 * source.vectors.shape[1]))
    pieces = [Fine(parts, of, batch, counts, share, most, how, seed) for batch in batches(np.minimum(counts, most), most)]
    return np.concatenate([held(one) for one in engine.map("fine", pieces, "cells within coarse cells")])


def shares(counts: Rows, k: int) -> Rows:
    """How many cells each coarse cell gets: in proportion to its rows, at least one, at most its rows, k in all.

    Example:
        >>> shares(np.array([90, 0, 9, 1]), 20).tolist()
        [18, 0, 1, 1]
    """
    ideal = k * counts / counts.sum()
    found: Rows = np.minimum(np.maximum(np.floor(ideal), 1), counts).astype(np.int64)
    while (left := k - int(found.sum())) != 0:
        gap = np.where(found < counts, ideal - found, -np.inf) if left > 0 else np.where(found > 1, found - ideal, -np.inf)
        found[int(gap.argmax())] += 1 if left > 0 else -1
    return found


def batches(counts: Rows, most: int) -> list[tuple[int, ...]]:
    """Neighbouring coarse cells with so many rows in all, or one alone; those without rows are left out.

    Example:
        >>> batches(np.array([3, 0, 4, 9, 1]), 8)
        [(0, 2), (3,), (4,)]
    """
    found: list[list[int]] = []
    room = 0
    for j in np.flatnonzero(counts).tolist():
        if counts[j] > room:
            found, room = [*found, []], most
        found[-1].append(j)
        room -= int(counts[j])
    return [tuple(one) for one in found]


@final
@dataclass(frozen=True)
class Of:
    """The coarse cell of each row of a part."""

    part: Part
    centres: Held
    kernel: str

    def __call__(self, check: Check) -> Cells:
        """Find them."""
        nearest, found = made(self.kernel, held(self.centres)), []
        for block in self.part.blocks():
            check()
            found.append(nearest(block.x))
        return np.concatenate(found)


@final
@dataclass(frozen=True)
class Fine:
    """Centres within some coarse cells, one coarse cell after another."""

    parts: list[Part]
    of: list[Held]
    cells: tuple[int, ...]
    counts: Rows
    share: Rows
    most: int
    how: KMeans
    seed: int

    def __call__(self, check: Check) -> Floats:
        """Read all rows, keep those of these cells, and train on each."""
        step = -(-self.counts // self.most)
        seen, rows = np.zeros(len(self.counts), dtype=np.int64), {j: list[Floats]() for j in self.cells}
        for part, of in zip(self.parts, self.of, strict=True):
            cell = held(of)
            for block in part.blocks():
                check()
                here = cell[block.start - part.first :][: len(block.x)]
                for j in self.cells:
                    own = np.flatnonzero(here == j)
                    spaced = own[(seen[j] + np.arange(len(own))) % step[j] == 0]
                    rows[j].append(block.x[spaced])
                    seen[j] += len(own)
        found = []
        for j in self.cells:
            check()
            x = np.concatenate(rows.pop(j))
            found.append(by_faiss(x, min(int(self.share[j]), len(x)), self.how, seed_for(self.seed, "k-means", "coarse", j)))
        return np.concatenate(found)
