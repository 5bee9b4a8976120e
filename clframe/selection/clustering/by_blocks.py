"""Lloyd's iterations over rows that are read block by block, on any number of processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from clframe.seeding import rng
from clframe.selection.clustering.in_memory import seeding, seeds
from clframe.selection.clustering.nearest import assign, made
from clframe.selection.clustering.options import FITS, KMeans
from clframe.selection.clustering.parts import SHARD, Part, Source
from clframe.selection.draws.draw import Numbers
from clframe.selection.engine import Check, Engine, Held, held
from clframe.selection.pool.pool import BLOCK
from clframe.selection.pool.vectors import Floats

SEEDED = 32768
"""Rows among which first centres are looked for, if not 2k or more."""
NUDGE = 1 / 1024
"""How far two centres of a cell that is split are moved apart, as a share of their numbers."""
ADDED = 4096
"""Rows that are added up at once, in double precision."""


def lloyd(source: Source, k: int, how: KMeans, seed: int, engine: Engine, kernel: str, name: str) -> Floats:
    """Centres (k, d), each iteration in one pass.

        every part of the rows:  n_j, s_j = sum of its rows in cell j, e_j = sum of their squared distances
        c_j = sum s_j / sum n_j, added in the order of the parts

    A part hands over k (d + 2) numbers, in double precision. Parts and their order are fixed, so the centres are the same bit for
    bit whoever does them. A cell without rows takes half of the largest one: both have its centre, moved apart by a thousandth.
    First centres are looked for among some of the rows, in memory.

    Args:
        source: rows that are trained on.
        k: cells.
        how: iterations, seeding and whether centres have length 1.
        seed: of the first centres.
        engine: does the parts; the centres of every iteration are kept.
        kernel: what finds nearest centres.
        name: of the files.

    Reference: Lloyd, "Least squares quantization in PCM", 1982.

    Differences:
        1. Sums are added in double precision and in a fixed order; faiss adds in single precision.
        2. First centres come from at most max(2k, 32,768) of the rows; in faiss from all that are trained on.
    """
    centres = engine.once(f"{name}-centres-000", lambda: _first(source, k, how, seed))
    parts = source.parts(max(SHARD, -(-8 * k // BLOCK) * BLOCK))
    for t in range(how.iterations):
        stage = f"{name}-sums-{t:03d}"

        def step(stage: str = stage, t: int = t, centres: Held = centres) -> Floats:
            pieces = [Sums(part, centres, kernel) for part in parts]
            done = engine.map(stage, pieces, f"training, pass {t + 1} of {how.iterations}", [part.count for part in parts])
            total = held(done[0]).copy()
            for one in done[1:]:
                total += held(one)
            return means(total, how.spherical)

        centres = engine.once(f"{name}-centres-{t + 1:03d}", step)
        engine.drop(stage)
    return held(centres)


def _first(source: Source, k: int, how: KMeans, seed: int) -> Floats:
    m, d = source.vectors.shape
    most = m if seeding(how, k) != "random" else k
    count = min(most, max(2 * k, min(SEEDED, FITS // (4 * d))))
    return seeds(source.take(np.sort(rng(seed, "k-means", "seeds").choice(m, size=count, replace=False))), k, how, seed)


@final
@dataclass(frozen=True)
class Sums:
    """What a part adds to each cell (k, d + 2): the sum of its rows, their number, and the sum of their squared distances."""

    part: Part
    centres: Held
    kernel: str

    def __call__(self, check: Check) -> Numbers:
        """Add up the part, row by row in their order."""
        centres = held(self.centres)
        k, d = centres.shape
        nearest, total = made(self.kernel, centres), np.zeros((k, d + 2))
        sums = torch.from_numpy(total)[:, :d]
        for block in self.part.blocks():
            check()
            cell, distance = assign(block.x, centres, nearest)
            for start in range(0, len(cell), ADDED):
                here = slice(start, start + ADDED)
                sums.index_add_(0, torch.from_numpy(cell[here]).long(), torch.from_numpy(block.x[here]).double())
            total[:, d] += np.bincount(cell, minlength=k)
            total[:, d + 1] += np.bincount(cell, weights=distance, minlength=k)
        return total


def means(total: Numbers, spherical: bool = False) -> Floats:
    """Centres (k, d) from the sums of their cells (k, d + 2).

    Example:
        >>> means(np.array([[6.0, 3.0, 0.0], [0.0, 0.0, 0.0]])).ravel().tolist()
        [1.998046875, 2.001953125]
    """
    count = total[:, -2].copy()
    centres = total[:, :-2] / np.maximum(count, 1)[:, None]
    nudge = np.where(np.arange(centres.shape[1]) % 2 == 0, NUDGE, -NUDGE)
    for empty in np.flatnonzero(count == 0).tolist():
        largest = int(count.argmax())
        centres[empty] = centres[largest] * (1 + nudge)
        centres[largest] *= 1 - nudge
        count[empty] = count[largest] = count[largest] / 2
    if spherical:
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    found: Floats = centres.astype(np.float32)
    return found
