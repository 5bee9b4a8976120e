"""k-means of a pool of any size: trained on a part of it, and every row assigned."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from clframe.selection.clustering.assigning import RECORD, Assign
from clframe.selection.clustering.balanced import balance
from clframe.selection.clustering.cells import Clustering
from clframe.selection.clustering.in_files import InFiles
from clframe.selection.clustering.nearest import PROBE, kernel
from clframe.selection.clustering.options import KEPT, KMeans
from clframe.selection.clustering.parts import SHARD, Source, checked
from clframe.selection.clustering.search import index_of
from clframe.selection.clustering.training import STAGES, centre_rows, training_rows
from clframe.selection.engine import Engine, Held, held
from clframe.selection.pool.pool import BLOCK, Block, Pool

Tell = Callable[[int, int], object]
"""Called with (rows done, rows in all)."""


def cluster(pool: Pool, how: KMeans, seed: int, tell: Tell | None = None, engine: Engine | None = None) -> Clustering:
    """Train, round every centre to the nearest row that it was trained on, and assign all rows to these.

    Everything is done in fixed pieces, so the cells are the same, bit for bit, whatever does them, and however often the job was
    stopped. Small pools are clustered in memory; where more than 64 MiB are trained on, or more than 4 million rows assigned, rows,
    sums and cells are kept in files, those of the engine or temporary ones.

    Args:
        pool: the embeddings.
        how: k and the rest.
        seed: of the rows that it is trained on, and of the first centres.
        tell: progress of the assignment; the engine, if there is one, tells its own.
        engine: does the pieces, and keeps them; by default this process.

    Raises:
        DataError: an embedding that is not finite; the rows are named.
        OptionError: more cells than rows, or a trainer that cannot do it.
        RunError: files that cannot be written or read.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> x = np.concatenate([np.random.default_rng(0).normal(c, 0.1, (50, 2)) for c in (0, 5)])
        >>> found = cluster(pool_of(x), KMeans(k=2, seeding="k-means++"), seed=0)
        >>> sorted(found.sizes.tolist()), found.cost / 100 < 0.1
        ([50, 50], True)
    """
    if engine is None:
        engine = Engine(tell=None if tell is None else lambda what, done, whole: tell(done, whole) if what == "cells" else None)
    k, trainer = how.cells(pool.n), how.trained_by(pool.n, pool.d)
    kept = engine.settle() if trainer == "lloyd" or pool.n > KEPT or not engine.alone else None
    name = str(held(engine.once("kernel", lambda: _fastest(pool, k, how))))
    which = held(engine.once("centre-rows", lambda: centre_rows(pool, k, how, seed, engine, name)))
    for stage in STAGES:
        engine.drop(stage)
    centres = Source(pool.vectors, how.spherical).take(which)
    stored = engine.once("centres", lambda: centres)
    found, facts = _assigned(pool, stored, how, engine, name)
    trained_on = min(pool.n, k * how.points)
    facts = {**asdict(how), **facts, "k": len(centres), "kernel": name, "trainer": trainer, "trained_on": trained_on, "seed": seed}
    if pool.n > KEPT:
        files = [one for one in found if isinstance(one, Path)]
        cell, distance = (InFiles(files, field, SHARD, pool.n, kept) for field in ("cell", "distance"))
        return Clustering(centres, which, cell, distance, facts)
    records = np.empty(pool.n, dtype=RECORD)
    for start, one in zip(range(0, pool.n, SHARD), found, strict=True):
        records[start : start + SHARD] = held(one)
    return Clustering(centres, which, records["cell"].copy(), records["distance"].copy(), facts)


def _assigned(pool: Pool, centres: Held, how: KMeans, engine: Engine, name: str) -> tuple[list[Held], dict[str, Any]]:
    k = len(held(centres))
    search, probes = how.searched_by(k)
    index = None if search == "exact" else engine.once(f"index-{search}", lambda: index_of(held(centres), search))
    parts = Source(pool.vectors, how.spherical).parts()
    found = engine.map(
        "assigned", [Assign(part, centres, name, index, probes) for part in parts], "cells", [part.count for part in parts]
    )
    if how.balanced:
        found = balance(parts, found, held(centres), math.ceil(how.balanced * pool.n / k), engine, name)
    return found, {"search": search, "probes": probes}


def _fastest(pool: Pool, k: int, how: KMeans) -> Any:
    """The name of the kernel: decided once in a job, though all find the same; rows stand in for the centres."""
    x = checked(Block(0, pool.vectors.read(0, min(pool.n, max(k, PROBE)))))
    return np.array(kernel(how.kernel, x[:k], x[:PROBE])[0])


__all__ = ["BLOCK", "KMeans", "checked", "cluster", "training_rows"]
