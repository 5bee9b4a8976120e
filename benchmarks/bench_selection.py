"""Cells of large pools: assignment beside a product, time and memory from a file, other ways to make them, scikit-learn."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch

from benchmarks.measure import Row, alternate, cpu, seconds
from benchmarks.setting import Setting
from clframe.selection import pool_of
from clframe.selection.choice import Ask
from clframe.selection.clustering import KMeans, assign, cluster
from clframe.selection.clustering.nearest import kernel
from clframe.selection.methods import method
from clframe.selection.pool.pool import BLOCK

D, K = 128, 4096
SHARE = 0.7
"""Floor: assignment over the fastest float32 product."""
LINEAR = 1.15
"""How much more a row of the largest pool may take than one of the smallest."""
OTHERS = 100_000
"""Rows at which everything can be compared."""


def rows(setting: Setting) -> Iterator[Row]:
    """The large pools are made with --full alone: they take some ten minutes and 5 GB of a temporary folder."""
    faiss.omp_set_num_threads(1)
    for d, k in ((D, K), (384, 1024)):
        yield assignment(setting, d, k)
    yield from others()
    yield from coverings()
    sizes = (1_000_000, 3_000_000, 10_000_000) if setting.full else (100_000, 300_000)
    yield from pools(sizes, K if setting.full else 256)


def assignment(setting: Setting, d: int, k: int) -> Row:
    """One block of rows, in memory: the nearest centre and the true distance, against the product alone."""
    random = np.random.default_rng(0)
    x, centres = (random.standard_normal((n, d), dtype=np.float32) for n in (BLOCK, k))
    name, nearest = kernel("auto", centres, x)
    product, what = fastest(x, centres)

    def ours(n: int) -> None:
        for _ in range(n):
            assign(x, centres, nearest)

    def theirs(n: int) -> None:
        for _ in range(n):
            product()

    pair = alternate(ours, theirs, 1, max(11, setting.blocks // 6))
    low, high = 1 / pair.spread[1], 1 / pair.spread[0]
    rate = 2 * BLOCK * d * k / 1e9
    title = f"assignment of {BLOCK:,} rows of {d} numbers to {k:,} centres ({name}): share of the product's rate"
    against = f"{what} {rate / pair.theirs:.0f} GFLOP/s"
    return Row(
        title, f"{rate / pair.ours:.0f} GFLOP/s", against, 1 / pair.ratio, (low, high), f">= {SHARE:.2f}", 1 / pair.ratio >= SHARE
    )


def fastest(x: np.ndarray, centres: np.ndarray) -> tuple[Callable[[], object], str]:
    """The product of a block with the centres by torch and by oneDNN, in pieces of several sizes."""
    rows, c = torch.from_numpy(x), torch.from_numpy(centres)
    zero = torch.zeros(len(centres))
    products: dict[str, Callable[[torch.Tensor], object]] = {"torch": lambda part: torch.nn.functional.linear(part, c, zero)}
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        products["oneDNN"] = lambda part: torch.ops.mkldnn._linear_pointwise(part, c, zero, "none", [], "")
    found: dict[str, tuple[float, Callable[[], object]]] = {}
    for name, product in products.items():
        for size in (256, 512, 1024, 4096, BLOCK):
            whole = partial(pieces, product, rows.split(size))
            whole()
            found[f"{name}'s product, {size:,} rows at a time,"] = min(cpu(whole) for _ in range(5)), whole
    best = min(found, key=lambda one: found[one][0])
    return found[best][1], best


def pieces(product: Callable[[torch.Tensor], object], parts: tuple[torch.Tensor, ...]) -> None:
    """All of them."""
    for part in parts:
        product(part)


def others() -> Iterator[Row]:
    """Other ways to make the same cells, and scikit-learn: CPU time, and the cost in proportion."""
    from sklearn.cluster import MiniBatchKMeans

    k = 1024
    x = mixture(np.random.default_rng(1), OTHERS)
    pool = pool_of(x)
    words: dict[str, dict[str, Any]] = {
        "by faiss": {"trainer": "faiss"},
        "by blocks": {"trainer": "lloyd"},
        "super": {"trainer": "super"},
        "levels=2": {"trainer": "faiss", "levels": 2},
        "search=ivf": {"trainer": "faiss", "search": "ivf"},
        "search=hnsw": {"trainer": "faiss", "search": "hnsw"},
        "balanced=2": {"trainer": "faiss", "balanced": 2.0},
    }
    times, costs = dict[str, float](), dict[str, float]()
    for name, options in words.items():
        start = time.process_time()
        costs[name] = cluster(pool, KMeans(k=k, **options), 0).cost
        times[name] = time.process_time() - start
    start = time.process_time()
    fitted = MiniBatchKMeans(k, batch_size=4096, n_init=1, random_state=0).fit(x)
    cell = fitted.predict(x)
    times["scikit-learn"] = time.process_time() - start
    centres = x[[int(np.flatnonzero(cell == j)[((x[cell == j] - c) ** 2).sum(1).argmin()]) for j, c in used(fitted, cell)]]
    costs["scikit-learn"] = cost(x, centres)
    size = f"{OTHERS:,} x {D}, {k:,} cells"
    for name in [one for one in words if one != "by faiss"]:
        what = f"cells of {size}, {name}: cost {costs[name] / costs['by faiss']:.3f} of that of 'by faiss'"
        yield Row(what, seconds(times[name]), f"by faiss {seconds(times['by faiss'])}", times[name] / times["by faiss"])
    what = f"cells of {size}, by faiss: cost {costs['by faiss'] / costs['scikit-learn']:.3f} of that of MiniBatchKMeans"
    against = f"MiniBatchKMeans, batches of 4,096, {seconds(times['scikit-learn'])}"
    yield Row(what, seconds(times["by faiss"]), against, times["scikit-learn"] / times["by faiss"], None, "faster")


def coverings() -> Iterator[Row]:
    """Facility location beside apricot, where it installs (it needs numba): CPU time, and the covering that each finds."""
    try:
        from apricot import FacilityLocationSelection
    except ImportError:
        return
    for n, m in ((2_000, 100), (5_000, 200)):
        x = mixture(np.random.default_rng(2), n)
        FacilityLocationSelection(2, metric="euclidean", optimizer="lazy").fit(x[:50].astype(np.float64))  # compiles
        start = time.process_time()
        theirs = FacilityLocationSelection(m, metric="euclidean", optimizer="lazy").fit(x.astype(np.float64)).ranking
        apricot = time.process_time() - start
        start = time.process_time()
        ours = method("facility-location")(Ask(pool_of(x), m, 0)).rows
        took = time.process_time() - start
        found = far(x, ours) / far(x, theirs)
        what = f"facility location, {m} of {n:,} x {D}: mean distance to the nearest {found:.3f} of that of apricot's choice"
        yield Row(what, seconds(took), f"apricot, lazy, {seconds(apricot)}", apricot / took, None, "faster")


def far(x: np.ndarray, rows: np.ndarray) -> float:
    """The mean distance of a row to the nearest chosen one."""
    nearest = kernel("torch", x[rows], x[:1])[1]
    return float(np.sqrt(assign(x, x[rows], nearest)[1]).mean())


def used(fitted: Any, cell: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Its centres that have rows; they are rounded to rows as ours are."""
    return [(j, fitted.cluster_centers_[j]) for j in np.unique(cell).tolist()]


def cost(x: np.ndarray, centres: np.ndarray) -> float:
    """The sum of squared distances to the nearest centre."""
    nearest = kernel("torch", centres, x[:1])[1]
    return float(sum(assign(x[i : i + BLOCK], centres, nearest)[1].sum(dtype=np.float64) for i in range(0, len(x), BLOCK)))


def pools(sizes: tuple[int, ...], k: int) -> Iterator[Row]:
    """Files of float32, each read from the disk in a process of its own with one thread."""
    limit = k * D * 8 / 1e6 + BLOCK * (D + k) * 4 / 1e6 + 100
    each: list[float] = []
    for n in sizes:
        with tempfile.TemporaryDirectory(prefix="clframe-bench-") as folder:
            path = Path(folder) / "x.npy"
            written(path, n)
            command = [sys.executable, "-m", "benchmarks.selection_job", str(path), "--k", str(k)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        each.append(found["a_row"])
        above = found["most"] - found["before"]
        size = f"{n:,} x {D} in a file, {k:,} cells ({found['trainer']})"
        yield Row(
            f"memory of {size}, uniform, sensitivity and stratified from them",
            f"+ {above:.0f} MB, {found['most']:.0f} in all",
            f"after the imports {found['before']:.0f} MB",
            None,
            None,
            f"<= + {limit:.0f} MB",
            above <= limit,
        )
        what = f"assignment of {size}, a row; training {seconds(found['training'])}, choices {seconds(found['choices'])}"
        if len(each) == 1:
            yield Row(what, seconds(each[0]))
        else:
            share = each[-1] / each[0]
            yield Row(
                what, seconds(each[-1]), f"of {sizes[0]:,} rows {seconds(each[0])}", share, None, f"<= {LINEAR}x", share <= LINEAR
            )


def written(path: Path, n: int) -> None:
    """A file of n rows, block by block."""
    random = np.random.default_rng(0)
    with open(path, "wb") as file:
        head = {"descr": "<f4", "fortran_order": False, "shape": (n, D)}
        np.lib.format.write_array_header_1_0(file, head)
        for start in range(0, n, BLOCK):
            file.write(mixture(random, min(BLOCK, n - start)).tobytes())


def mixture(random: np.random.Generator, n: int) -> np.ndarray:
    """Rows around 2,000 points, as far from these as the points are from each other."""
    points = np.random.default_rng(7).standard_normal((2000, D), dtype=np.float32)
    found: np.ndarray = points[random.integers(len(points), size=n)] + random.standard_normal((n, D), dtype=np.float32)
    return found
