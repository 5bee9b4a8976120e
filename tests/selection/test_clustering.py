"""Cells: every row in the nearest one, whatever finds it; options that give up a little for time; limited sizes."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clframe.errors import DataError, OptionError
from clframe.selection import Losses, Pool, pool_of, select
from clframe.selection.choice import Ask
from clframe.selection.clustering import Clustering, KMeans, cluster
from clframe.selection.clustering import kmeans as module
from clframe.selection.clustering.by_blocks import Sums, lloyd, means
from clframe.selection.clustering.nearest import KERNELS, kernel, made
from clframe.selection.clustering.parts import Source
from clframe.selection.deduplicate import deduplicate
from clframe.selection.engine import Engine
from clframe.selection.methods import method
from clframe.selection.pool.vectors import InMemory

N, D, K = 6000, 16, 60


def blobs(n: int = N, d: int = D, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.normal(scale=2, size=(80, d))[random.integers(80, size=n)] + random.normal(size=(n, d))).astype(np.float32)


def exact(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Of each row the first of the nearest centres, by differences in double precision."""
    gap = x[:, None].astype(np.float64) - centres[None]
    return np.einsum("nkd,nkd->nk", gap, gap).argmin(1)


HARD = {
    "usual": (blobs(500), blobs(90, seed=1)),
    "one centre": (blobs(20), blobs(1)),
    "equal centres": (blobs(300), np.repeat(blobs(5, seed=1), 4, axis=0)),
    "all equal": (np.ones((70, 3), dtype=np.float32), np.ones((9, 3), dtype=np.float32)),
    "far from the origin": (1e4 + blobs(300), 1e4 + blobs(70, seed=1)),
    "halfway": (np.repeat(np.float32([[1.0, 0.0]]), 40, axis=0), np.float32([[0.0, 0.0], [2.0, 0.0], [1.0, 1.0]])),
    "on a lattice": tuple(
        np.random.default_rng(s).integers(-2, 3, size=(n, 6)).astype(np.float32) for s, n in ((0, 400), (1, 150))
    ),
    "too large to square": (np.float32([[1e25, 0.0], [-1e25, 1e25]]), np.float32([[9e24, 0.0], [0.0, 0.0], [-1e25, 9e24]])),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("case", HARD)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_every_kernel_finds_the_first_of_the_nearest_centres(name: str, case: str) -> None:
    x, centres = HARD[case]
    nearest = made(name, centres)
    np.testing.assert_array_equal(nearest(x), exact(x, centres))
    np.testing.assert_array_equal(np.concatenate([nearest(x[i : i + 7]) for i in range(0, len(x), 7)]), exact(x, centres))


def test_a_kernel_is_chosen_by_time_among_those_that_work(monkeypatch: pytest.MonkeyPatch) -> None:
    x = blobs(200)

    def broken(*given: Any, **words: Any) -> torch.Tensor:
        raise RuntimeError("no such operator")

    monkeypatch.setitem(KERNELS, "onednn", partial(broken))  # type: ignore[arg-type]
    name, nearest = kernel("auto", x[:20], x)
    assert name in ("faiss", "torch")
    np.testing.assert_array_equal(nearest(x), exact(x, x[:20]))


def test_lloyd_by_blocks_is_lloyd(monkeypatch: pytest.MonkeyPatch) -> None:
    x = blobs(900, 4)
    how = KMeans(k=12, iterations=5, seeding="random")
    monkeypatch.setattr("clframe.selection.clustering.by_blocks.SHARD", 100)
    monkeypatch.setattr("clframe.selection.clustering.by_blocks.BLOCK", 50)
    found = lloyd(Source(InMemory(x)), 12, how, 0, Engine(), "torch", "cells")
    centres = lloyd(Source(InMemory(x)), 12, KMeans(k=12, iterations=1, seeding="random"), 0, Engine(), "torch", "cells")
    for _ in range(4):
        cell = exact(x, centres)
        centres = np.stack([x[cell == j].mean(0, dtype=np.float64) for j in range(12)]).astype(np.float32)
    np.testing.assert_allclose(found, centres, rtol=1e-5, atol=1e-6)


def test_sums_of_parts_add_up_and_empty_cells_are_filled() -> None:
    x, centres = blobs(300, 4), np.concatenate([blobs(5, 4, seed=1), np.full((2, 4), 99, dtype=np.float32)])
    parts = [Sums(part, centres, "torch")(lambda: None) for part in Source(InMemory(x)).parts(100)]
    total, cell = sum(parts), exact(x, centres)
    np.testing.assert_array_equal(total[:, 4], np.bincount(cell, minlength=7))
    np.testing.assert_allclose(total[:, 5].sum(), ((x - centres[cell]) ** 2).sum(), rtol=1e-5)
    found = means(total)
    assert len(np.unique(found, axis=0)) == 7 and np.abs(found).max() < 20
    lengths = np.linalg.norm(means(total, spherical=True), axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-6)


WAYS: dict[str, tuple[dict[str, Any], float]] = {
    "in memory": ({"trainer": "faiss"}, 1.0),
    "by blocks": ({"trainer": "lloyd"}, 1.05),
    "by blocks, all rows": ({"trainer": "lloyd", "points": 1000}, 1.05),
    "two levels": ({"levels": 2}, 1.25),
    "two levels by blocks": ({"levels": 2, "trainer": "lloyd"}, 1.25),
    "ivf": ({"search": "ivf", "probes": 4}, 1.15),
    "hnsw": ({"search": "hnsw"}, 1.05),
    "balanced": ({"balanced": 1.5}, 1.3),
    "k-means++ by blocks": ({"trainer": "lloyd", "seeding": "k-means++"}, 1.05),
}


def checked(found: Clustering, x: np.ndarray) -> None:
    """A partition, and true distances to centres that are rows."""
    assert found.sizes.sum() == len(x) and found.cell[:].min() >= 0 and found.cell[:].max() < found.k
    np.testing.assert_array_equal(found.centres, x[found.rows])
    true = ((x.astype(np.float64) - found.centres[found.cell[:]]) ** 2).sum(1)
    np.testing.assert_allclose(found.distance[:], true, rtol=1e-4, atol=1e-5)
    assert found.cost == pytest.approx(true.sum(), rel=1e-5)
    np.testing.assert_allclose(found.costs(), np.bincount(found.cell[:], weights=true, minlength=found.k), rtol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_a_partition_with_true_distances_at_nearly_the_cost(way: str) -> None:
    options, most = WAYS[way]
    x = blobs()
    found = cluster(
        pool_of(x), KMeans(k=K, points=options.get("points", 50), **{k: v for k, v in options.items() if k != "points"}), 0
    )
    checked(found, x)
    assert 50 <= found.k <= K
    assert found.cost <= most * cluster(pool_of(x), KMeans(k=K, points=50, trainer="faiss"), 0).cost
    if options.get("search") is None and "balanced" not in options:
        np.testing.assert_array_equal(found.cell[:], exact(x, found.centres))


@pytest.mark.parametrize("trainer", ["faiss", "lloyd"])
def test_spherical_cells(trainer: str) -> None:
    x = blobs() * np.random.default_rng(2).lognormal(size=(N, 1)).astype(np.float32)
    found = cluster(pool_of(x), KMeans(k=K, points=50, spherical=True, trainer=trainer), 0)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(np.linalg.norm(found.centres, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.cell[:], exact(unit, found.centres))


@pytest.mark.parametrize("multiple", [1.0, 2.0])
def test_balanced_cells_have_at_most_so_many_rows(multiple: float) -> None:
    random = np.random.default_rng(0)
    x = np.concatenate([random.normal(scale=0.1, size=(2500, 3)), np.zeros((500, 3)), random.normal(scale=9, size=(1000, 3))])
    pool = pool_of(x.astype(np.float32))
    free, found = (cluster(pool, KMeans(k=40, points=100, balanced=b), 0) for b in (0.0, multiple))
    checked(found, x.astype(np.float32))
    most = int(np.ceil(multiple * 4000 / found.k))
    assert found.sizes.max() <= most < free.sizes.max()
    for j in range(found.k):
        own = free.cell[:] == j
        stays = own & (found.cell[:] == j)
        assert stays.sum() == min(most, own.sum())
        if own.sum() > most:
            assert free.distance[stays].max() <= free.distance[own & ~stays].min()


def test_any_partition_leaves_estimates_unbiased() -> None:
    x = blobs(2000)
    loss = np.exp(x[:, 0] / 2)
    cells = cluster(pool_of(x), KMeans(k=30, points=20, levels=2, search="ivf", probes=1, balanced=1.2), 0)
    for words in ("stratified", "sensitivity(lam=0.1)"):
        found = [
            method(words)(Ask(pool_of(x), 200, seed, Losses(loss, 2000), lambda: cells)).estimate.mean  # type: ignore[union-attr]
            for seed in range(200)
        ]
        assert abs(np.mean(found) - loss.mean()) < 4 * np.std(found, ddof=1) / np.sqrt(200)


def test_super_is_for_many_euclidean_cells_of_long_rows() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(2100, 128)).astype(np.float32)
    found = cluster(pool_of(x), KMeans(k=1024, points=2, iterations=2, trainer="super"), 0)
    checked(found, x)
    plain = cluster(pool_of(x), KMeans(k=1024, points=2, iterations=2, trainer="faiss", seeding="random"), 0)
    assert found.cost < 1.1 * plain.cost and found.how["trainer"] == "super"
    for n, d, words in ((2100, 64, {}), (900, 128, {"k": 900}), (2100, 128, {"spherical": True}), (2100, 128, {"levels": 2})):
        with pytest.raises(OptionError, match="trainer 'super' must have Euclidean cells on one level, at least 1,024"):
            KMeans(**{"k": 1024, "trainer": "super", **words}).trained_by(n, d)


def test_what_is_in_files_reads_like_what_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    x = blobs()
    usual = cluster(pool_of(x), KMeans(k=K), 0)
    monkeypatch.setattr(module, "KEPT", 100)
    for name in ("clframe.selection.clustering.kmeans", "clframe.selection.clustering.parts"):
        monkeypatch.setattr(f"{name}.SHARD", 1000)
    monkeypatch.setattr(Source.parts, "__defaults__", (1000,))
    found = cluster(pool_of(x), KMeans(k=K), 0)
    place = found.cell._files[0].parent  # type: ignore[union-attr]
    assert not isinstance(found.cell, np.ndarray) and len(list(place.glob("assigned-*"))) == 6
    rows = np.array([5999, 0, 1000, 999, 3])
    for one, two in ((found.cell, usual.cell), (found.distance, usual.distance)):
        assert len(one) == N
        np.testing.assert_array_equal(one[990:3010], two[990:3010])
        np.testing.assert_array_equal(one[rows], two[rows])
        np.testing.assert_array_equal(np.asarray(one), two)
    assert found.cost == usual.cost
    one = two = None
    del found
    assert not place.exists()


def test_rows_that_are_not_finite_are_named_wherever_they_are_read(tmp_path: Path) -> None:
    x = blobs()
    x[4321, 3] = np.nan
    for words in ({}, {"trainer": "lloyd"}, {"trainer": "lloyd", "points": 1000}):
        with pytest.raises(DataError, match="in row 4321"):
            cluster(pool_of(x), KMeans(**{"k": K, "points": 50, **words}), 0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"trainer": "loyd"}, "Did you mean 'lloyd'"),
        ({"levels": 3}, "levels must be 1 or 2; got 3"),
        ({"search": "flat"}, "search must be a known name"),
        ({"probes": 4}, "probes must be left out"),
        ({"balanced": 0.5}, "balanced must be 0 for no limit"),
        ({"kernel": "mkl"}, "kernel must be a known name"),
    ],
)
def test_wrong_options(words: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        KMeans(**words)


def test_a_pool_is_sent_in_pieces() -> None:
    pool: Pool = pool_of(blobs(100))
    assert [part.vectors.shape[0] for part in Source(pool.vectors).parts(40)] == [40, 40, 20]


def test_methods_and_duplicates_are_the_same_from_cells_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    x = blobs(1500)
    pool = pool_of(x, label=(x[:, 1] > 0).astype(int), target=x[:, 2])
    usual = cluster(pool, KMeans(k=20), 0)
    monkeypatch.setattr(module, "KEPT", 100)
    stored = cluster(pool, KMeans(k=20), 0)
    assert not isinstance(stored.cell, np.ndarray)
    for words in ("stratified(by=cell)", "sensitivity", "adaptive", "auto", "greg(controls=distance)", "regression"):
        one, two = (select(pool, 150, words, loss=np.exp(x[:, 0]), clustering=cells) for cells in (usual, stored))
        np.testing.assert_array_equal(one.rows, two.rows)
        np.testing.assert_array_equal(one.weights, two.weights)
    first, second = (deduplicate(pool, 0.2, clustering=cells)[0.2] for cells in (usual, stored))
    np.testing.assert_array_equal(first.original, second.original)


MEMORY = """
import sys
import faiss, numpy as np, torch
from pathlib import Path
from clframe.selection import open_pool, select
from clframe.selection.clustering import KMeans

def megabytes(name):
    return int(next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(name)).split()[1]) * 1024 / 1e6

torch.set_num_threads(1)
faiss.omp_set_num_threads(1)
Path("/proc/self/clear_refs").write_text("5")
before, pool, how = megabytes("VmRSS"), open_pool(sys.argv[1]), KMeans(k=int(sys.argv[2]), iterations=2)
select(pool, 2000, "stratified(by=cell)", kmeans=how)
print(megabytes("VmHWM") - before, how.memory(pool.n, pool.d) / 1e6)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone tells the most memory since a moment")
@pytest.mark.parametrize(("n", "d", "k", "kind"), [(300_000, 128, 1024, "<f2"), (400_000, 64, 500, "<f4")])
def test_memory_stays_below_what_is_announced(n: int, d: int, k: int, kind: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", random.standard_normal((n, d), dtype=np.float32).astype(kind))
    words = [sys.executable, "-c", MEMORY, str(tmp_path / "x.npy"), str(k)]
    took, announced = map(float, subprocess.run(words, check=True, capture_output=True, text=True).stdout.split())
    assert 0.3 * announced < took <= announced
