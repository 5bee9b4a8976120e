"""Approximate search for the nearest of very many centres."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from clframe.selection.clustering.cells import Cells
from clframe.selection.clustering.nearest import Nearest, by_faiss
from clframe.selection.clustering.nearest import made as kernel_named
from clframe.selection.engine import Held, held, limited
from clframe.selection.pool.vectors import Floats

LINKS = 32
"""Of each centre in the graph of hnsw."""
BUILT = 40
"""Candidates that are kept while that graph is built."""


def index_of(centres: Floats, search: str) -> npt.NDArray[np.uint8]:
    """faiss' index of the centres as bytes: "ivf", lists around 2 sqrt(k) coarse centres, or "hnsw", a graph.

    It is built by one thread: a graph that several build depends on which is first.

    Reference: Johnson, Douze, Jegou, "Billion-scale similarity search with GPUs", 2019; Malkov, Yashunin, "Efficient and robust
        approximate nearest neighbor search using hierarchical navigable small world graphs", 2018.
    """
    import faiss

    k, d = centres.shape
    if search == "hnsw":
        index: Any = faiss.IndexHNSWFlat(d, LINKS)
        index.hnsw.efConstruction = BUILT
    else:
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, max(1, min(k, round(2 * math.sqrt(k)))))
        index.cp.min_points_per_centroid = 1
    with limited(1):
        index.train(centres)
        index.add(centres)
    found: npt.NDArray[np.uint8] = faiss.serialize_index(index)
    return found


def searcher(index: npt.NDArray[np.uint8], centres: Floats, probes: int) -> Nearest:
    """Finds centres by an index; where it finds none, all are compared.

    Example:
        >>> centres = np.arange(64, dtype=np.float32).reshape(64, 1)
        >>> x = np.array([[3.1], [60.2]], dtype=np.float32)
        >>> [searcher(index_of(centres, name), centres, 8)(x).tolist() for name in ("ivf", "hnsw")]
        [[3, 60], [3, 60]]
    """
    import faiss

    made: Any = faiss.deserialize_index(index)
    if isinstance(made, faiss.IndexIVF):
        made.nprobe = min(probes, made.nlist)
    else:
        made.hnsw.efSearch = probes

    def nearest(x: Floats) -> Cells:
        found: Cells = made.search(x, 1)[1][:, 0].astype(np.int32)
        lost = found < 0
        if lost.any():
            found[lost] = by_faiss(centres)(x[lost])
        return found

    return nearest


def finder(kernel: str, centres: Floats, index: Held | None, probes: int) -> Nearest:
    """What finds the cell of a row: a kernel that compares all centres, or an index of them."""
    return kernel_named(kernel, centres) if index is None else searcher(held(index), centres, probes)
