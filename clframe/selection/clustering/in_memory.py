"""k-means of rows that are held in memory, by faiss."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from clframe.seeding import seed_for
from clframe.selection.clustering.options import KMeans
from clframe.selection.pool.vectors import Floats


def by_faiss(x: Floats, k: int, how: KMeans, seed: int) -> Floats:
    """Lloyd's iterations of faiss: centres (k, d) of rows (m, d).

    Example:
        >>> x = np.array([[0.0], [0.1], [5.0], [5.1]], dtype=np.float32)
        >>> sorted(by_faiss(x, 2, KMeans(seeding="k-means++"), 0).round(2).ravel().tolist())
        [0.05000000074505806, 5.050000190734863]
    """
    import faiss

    options: dict[str, Any] = {"niter": how.iterations, "seed": seed_for(seed, "k-means") % 2**31, "spherical": how.spherical}
    name = seeding(how, k)
    if name != "random":
        options["init_method"] = _methods()[name]
    found = faiss.Kmeans(x.shape[1], k, min_points_per_centroid=1, max_points_per_centroid=how.points, **options)
    found.train(x)
    centres: Floats = np.asarray(found.centroids, dtype=np.float32).reshape(k, -1)
    return centres


def by_super(x: Floats, k: int, how: KMeans, seed: int) -> Floats:
    """The same by faiss' SuperKMeans, which skips most of the products, from random rows; centres (k, d) of rows (m, d).

    Reference: Kuffo, Krippner, Boncz, "SuperKMeans", arXiv 2603.20009, as in faiss.
    """
    faiss: Any = import_module("faiss")
    words = {"niter": how.iterations, "seed": seed_for(seed, "k-means") % 2**31, "max_points_per_centroid": how.points}
    found = faiss.SuperKmeans(x.shape[1], k, min_points_per_centroid=1, **words)
    found.train(x)
    centres: Floats = np.asarray(found.centroids, dtype=np.float32).reshape(k, -1)
    return centres


def seeds(x: Floats, k: int, how: KMeans, seed: int) -> Floats:
    """First centres for Lloyd's iterations, rows of x (k, d).

    Example:
        >>> x = np.array([[0.0], [0.1], [5.0], [5.1]], dtype=np.float32)
        >>> sorted(seeds(x, 2, KMeans(seeding="k-means++"), 0).round(0).ravel().tolist())
        [0.0, 5.0]
    """
    faiss: Any = import_module("faiss")
    made = faiss.ClusteringInitialization(x.shape[1], k)
    made.method, made.seed = _methods()[seeding(how, k)], seed_for(seed, "k-means") % 2**31
    centres: Floats = np.empty((k, x.shape[1]), dtype=np.float32)
    x = np.ascontiguousarray(x)
    made.init_centroids(len(x), faiss.swig_ptr(x), faiss.swig_ptr(centres))
    return centres


def seeding(how: KMeans, k: int) -> str:
    """How first centres are chosen, where "auto" leaves it open.

    Example:
        >>> seeding(KMeans(), 2048), seeding(KMeans(), 2049)
        ('afk-mc2', 'random')
    """
    return how.seeding if how.seeding != "auto" else ("afk-mc2" if k <= 2048 else "random")


def _methods() -> dict[str, Any]:
    import faiss

    return {
        "random": faiss.ClusteringInitMethod_RANDOM,
        "k-means++": faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
        "afk-mc2": faiss.ClusteringInitMethod_AFK_MC2,
    }
