"""k-means of a pool of any size: trained on a part of it by faiss, and every row assigned."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clframe.errors import DataError, bad_option, unknown_name
from clframe.seeding import rng, seed_for
from clframe.selection.clustering.cells import Clustering
from clframe.selection.clustering.nearest import assign, by_faiss, kernel
from clframe.selection.draws.draw import Rows
from clframe.selection.pool.pool import BLOCK, Block, Pool, rows_named
from clframe.selection.pool.vectors import Floats

SEEDINGS = ("auto", "random", "k-means++", "afk-mc2")


@dataclass(frozen=True)
class KMeans:
    """How k-means is done.

    Attributes:
        k: cells; 0: sqrt(n), at most 4,096 and at most a 39th of the rows that it is trained on.
        iterations: of Lloyd.
        points: rows per cell that it is trained on, drawn at random from a larger pool.
        seeding: "random", "k-means++", "afk-mc2", or "auto", the last for up to 2,048 cells and random beyond.
        spherical: scale embeddings to length 1 first, for cosine distances.
        kernel: what finds nearest centres; see `clframe.selection.clustering.nearest.kernel`.

    Raises:
        OptionError: an option breaks its rule.
    """

    k: int = 0
    iterations: int = 10
    points: int = 256
    seeding: str = "auto"
    spherical: bool = False
    kernel: str = "auto"

    def __post_init__(self) -> None:
        for name, least in (("k", 0), ("iterations", 1), ("points", 1)):
            if getattr(self, name) < least:
                raise bad_option(name, f"an integer of at least {least}", getattr(self, name), f"Leave {name} out.")
        if self.seeding not in SEEDINGS:
            raise unknown_name("seeding", self.seeding, SEEDINGS)

    def cells(self, n: int) -> int:
        """k for a pool of n rows.

        Raises:
            OptionError: more cells than rows.

        Example:
            >>> KMeans().cells(10_000), KMeans(k=7).cells(10_000)
            (100, 7)
        """
        if self.k > n:
            raise bad_option("k", f"at most the {n:,} rows of the pool", self.k, "Give a smaller k.")
        return self.k or max(1, min(math.isqrt(n), 4096, n // 39))

    def memory(self, n: int, d: int) -> float:
        """Bytes that cells of n rows of d numbers take, up to about: rows trained on, a block, 8 bytes a row, 150 MB of buffers.

        Example:
            >>> round(KMeans(k=500).memory(400_000, 64) / 1e6)  # 103 to 210 were measured
            223
        """
        k = self.cells(n)
        return 4 * min(n, k * self.points) * d + 4 * BLOCK * (d + k) + 8 * n + 1.5e8


Tell = Callable[[int, int], object]
"""Called with (rows done, rows in all)."""


def cluster(pool: Pool, how: KMeans, seed: int, tell: Tell | None = None) -> Clustering:
    """Train, round every centre to the nearest row that it was trained on, and assign all rows to these.

    Args:
        pool: the embeddings.
        how: k and the rest.
        seed: of the rows that it is trained on, and of the first centres.
        tell: progress of the assignment.

    Raises:
        DataError: an embedding that is not finite; the rows are named.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> x = np.concatenate([np.random.default_rng(0).normal(c, 0.1, (50, 2)) for c in (0, 5)])
        >>> found = cluster(pool_of(x), KMeans(k=2, seeding="k-means++"), seed=0)
        >>> sorted(found.sizes.tolist()), found.cost / 100 < 0.1
        ([50, 50], True)
    """
    k = how.cells(pool.n)
    rows = training_rows(pool.n, k * how.points, seed)
    sample = _ready(pool.vectors.take(rows), how.spherical, rows)
    trained = _train(sample, k, how, seed)
    searched = by_faiss(trained)
    parts = [assign(sample[start : start + BLOCK], trained, searched) for start in range(0, len(sample), BLOCK)]
    cell, distance = (np.concatenate(part) for part in zip(*parts, strict=True))
    picked = _nearest_rows(cell, distance, k)
    centres, which = sample[picked], rows[picked]
    name, nearest = kernel(how.kernel, centres, sample)
    cells = np.empty(pool.n, dtype=np.int32)
    distances = np.empty(pool.n, dtype=np.float32)
    for block in pool.blocks():
        stop = block.start + len(block.x)
        cells[block.start : stop], distances[block.start : stop] = assign(checked(block, how.spherical), centres, nearest)
        if tell is not None:
            tell(stop, pool.n)
    facts: dict[str, Any] = {**asdict(how), "k": len(centres), "kernel": name, "trained_on": len(rows), "seed": seed}
    return Clustering(centres, which, cells, distances, facts)


def training_rows(n: int, most: int, seed: int) -> Rows:
    """At most so many rows of n, drawn without replacement, in ascending order."""
    if n <= most:
        return np.arange(n, dtype=np.int64)
    return np.sort(rng(seed, "k-means", "rows").choice(n, size=most, replace=False, shuffle=False)).astype(np.int64)


def checked(block: Block, spherical: bool = False) -> Floats:
    """The embeddings of a block, all of them finite.

    Raises:
        DataError: some are not.
    """
    return _ready(block.x, spherical, np.arange(block.start, block.start + len(block.x)))


def _ready(x: Floats, spherical: bool, rows: Rows) -> Floats:
    bad = ~np.isfinite(x.sum(axis=1)) & ~np.isfinite(x).all(axis=1)
    if bad.any():
        wrong = np.zeros(int(rows[-1]) + 1, dtype=bool)
        wrong[rows[bad]] = True
        raise DataError(
            f"embeddings must be finite; got NaN or infinity {rows_named(wrong)}. Leave these rows out, or embed them anew."
        )
    if spherical:
        lengths = np.linalg.norm(x, axis=1, keepdims=True)
        x = x / np.maximum(lengths, np.finfo(np.float32).tiny)
    return x


def _train(sample: Floats, k: int, how: KMeans, seed: int) -> Floats:
    import faiss

    seeding = how.seeding if how.seeding != "auto" else ("afk-mc2" if k <= 2048 else "random")
    methods = {
        "random": faiss.ClusteringInitMethod_RANDOM,
        "k-means++": faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
        "afk-mc2": faiss.ClusteringInitMethod_AFK_MC2,
    }
    options: dict[str, Any] = {"niter": how.iterations, "seed": seed_for(seed, "k-means") % 2**31, "spherical": how.spherical}
    if seeding != "random":
        options["init_method"] = methods[seeding]
    made = faiss.Kmeans(sample.shape[1], k, min_points_per_centroid=1, max_points_per_centroid=how.points, **options)
    made.train(sample)
    centres: Floats = np.asarray(made.centroids, dtype=np.float32).reshape(k, -1)
    return centres


def _nearest_rows(cell: npt.NDArray[np.int32], distance: Floats, k: int) -> Rows:
    """Of each cell that has rows the one nearest to its centre."""
    order = np.lexsort((distance, cell))
    first = np.concatenate([[True], np.diff(cell[order]) > 0])
    found: Rows = order[first].astype(np.int64)
    return found


__all__ = ["BLOCK", "KMeans", "checked", "cluster", "training_rows"]
