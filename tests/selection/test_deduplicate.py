"""De-duplication: against plain loops, by hand, and whatever the blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clframe.errors import DataError, OptionError, RunError
from clframe.executors import InProcess, executor
from clframe.selection import open_pool, pool_of
from clframe.selection.clustering import Clustering, KMeans, cluster
from clframe.selection.deduplicate import deduplicate, order_of, together, within
from clframe.selection.engine import Engine
from clframe.selection.working import working

EPS = (0.001, 0.02, 0.2)
BASE = np.random.default_rng(0).normal(size=(60, 6))
NOISE = np.random.default_rng(1).normal(size=(400, 6)) * np.random.default_rng(2).choice([0.0, 0.03, 0.1, 0.3], size=(400, 1))
X = (BASE[np.random.default_rng(3).integers(60, size=400)] + NOISE).astype(np.float32)
X *= np.random.default_rng(4).uniform(0.5, 5, size=(400, 1)).astype(np.float32)  # lengths do not matter


def circle(*degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def one_cell(n: int) -> Clustering:
    """All rows in one cell, gone through in the order of the rows with keep="easy"."""
    return Clustering(
        np.zeros((1, 2), np.float32), np.zeros(1, np.int64), np.zeros(n, np.int32), np.arange(n, dtype=np.float32), {}
    )


def plain(x: np.ndarray, cells: Clustering, keep: str, eps: float, seed: int) -> np.ndarray:
    u = x.astype(np.float64)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    original = np.arange(len(x))
    kept: list[int] = []
    for i in order_of(cells, keep, seed).tolist():
        near = [(float(u[i] @ u[j]), j) for j in kept if cells.cell[i] == cells.cell[j]]
        best = max(near, key=lambda pair: pair[0], default=(-1.0, i))
        if best[0] > 1 - eps:
            original[i] = best[1]
        else:
            kept.append(i)
    return original


@pytest.mark.parametrize("keep", ["hard", "easy", "random"])
@pytest.mark.parametrize("k", [1, 7])
def test_it_is_the_plain_loop_for_every_threshold(keep: str, k: int) -> None:
    pool = pool_of(X)
    cells = cluster(pool, KMeans(k=k, spherical=True), seed=5)
    found = deduplicate(pool, EPS, keep, seed=5, k=k)
    assert list(found) == list(EPS)
    for eps in EPS:
        assert found[eps].original.tolist() == plain(X, cells, keep, eps, 5).tolist()


def test_what_is_dropped_is_like_what_is_kept_and_what_is_kept_is_not() -> None:
    cells = cluster(pool_of(X), KMeans(k=5, spherical=True), seed=0)
    u = X / np.linalg.norm(X, axis=1, keepdims=True)
    sizes = []
    for eps, found in deduplicate(pool_of(X), EPS, clustering=cells).items():
        kept, dropped = found.kept, found.dropped
        assert sorted([*kept.tolist(), *dropped.tolist()]) == list(range(400)) and found.threshold == eps
        assert set(found.original[dropped].tolist()) <= set(kept.tolist()) and found.weight.sum() == 400
        assert (cells.cell[dropped] == cells.cell[found.original[dropped]]).all()
        cosine = (u[dropped] * u[found.original[dropped]]).sum(axis=1)
        np.testing.assert_allclose(found.similarity[dropped], cosine, atol=1e-6)
        assert (found.similarity[dropped] > 1 - eps).all() and (found.similarity[kept] == 1).all()
        among = u[kept] @ u[kept].T
        same = (cells.cell[kept][:, None] == cells.cell[kept][None]) & ~np.eye(len(kept), dtype=bool)
        assert among[same].max() <= 1 - eps + 1e-6
        sizes.append(len(kept))
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[2]


def test_a_chain_does_not_fall_together() -> None:
    pool = pool_of(circle(0, 8, 16, 24))  # neighbours are nearly alike: cos 8 degrees = 0.990, cos 16 degrees = 0.961
    found = deduplicate(pool, [0.02, 0.05], "easy", clustering=one_cell(4))
    assert found[0.02].original.tolist() == [0, 0, 2, 2]
    assert found[0.05].original.tolist() == [0, 0, 0, 3]


def test_a_row_duplicates_the_nearest_of_those_kept() -> None:
    found = deduplicate(pool_of(circle(0, 20, 12)), 0.05, "easy", clustering=one_cell(3))[0.05]
    assert found.original.tolist() == [0, 1, 1] and found.similarity[2] == pytest.approx(np.cos(np.deg2rad(8)))
    middle = deduplicate(pool_of(circle(10, 0, 20)), 0.05, "easy", clustering=one_cell(3))[0.05]
    assert middle.original.tolist() == [0, 0, 0] and middle.weight.tolist() == [3]


@pytest.mark.parametrize("wide", [1, 1024])
def test_of_two_that_are_equally_near_the_first_is_the_original(wide: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clframe.selection.deduplicate.WIDE", wide)
    found = deduplicate(pool_of([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), 0.5, "easy", clustering=one_cell(3))[0.5]
    assert found.original.tolist() == [0, 1, 0]


def test_hard_keeps_what_is_far_from_the_centre_and_easy_what_is_near() -> None:
    cells = Clustering(
        np.array([[1, 0]], np.float32), np.array([0]), np.zeros(3, np.int32), np.array([0.0, 0.1, 0.2], np.float32), {}
    )
    pool = pool_of(circle(0, 18, 26))
    assert deduplicate(pool, 0.2, "hard", clustering=cells)[0.2].kept.tolist() == [2]
    assert deduplicate(pool, 0.2, "easy", clustering=cells)[0.2].kept.tolist() == [0]
    random = [deduplicate(pool, 0.2, "random", seed=s, clustering=cells)[0.2].kept.tolist() for s in range(30)]
    assert {r[0] for r in random} == {0, 1, 2} and all(len(r) == 1 for r in random)


def test_equal_rows_of_any_length_are_one_and_rows_of_zeros_are_none() -> None:
    x = np.concatenate([np.tile([[0.3, 0.7]], (30, 1)) * np.arange(1, 31)[:, None], np.zeros((2, 2))])
    found = deduplicate(pool_of(x), 1e-6, "easy", clustering=one_cell(32))[1e-6]
    assert found.kept.tolist() == [0, 30, 31] and found.weight.tolist() == [30, 1, 1]


def test_different_cells_are_not_compared() -> None:
    cells = Clustering(np.zeros((2, 2), np.float32), np.arange(2), np.array([0, 1, 1], np.int32), np.zeros(3, np.float32), {})
    found = deduplicate(pool_of(np.ones((3, 2))), 0.1, clustering=cells)[0.1]
    assert found.original.tolist() == [0, 1, 1]


@pytest.mark.parametrize("keep", ["hard", "random"])
def test_blocks_of_another_size_and_files_give_the_same(keep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", X)
    one = deduplicate(pool_of(X), EPS, keep, k=4)
    others = [deduplicate(pool_of(np.load(tmp_path / "x.npy", mmap_mode="r")), EPS, keep, k=4)]
    for wide, many in ((3, 2**17), (16, 50), (1024, 1)):
        monkeypatch.setattr("clframe.selection.deduplicate.WIDE", wide)
        monkeypatch.setattr("clframe.selection.deduplicate.TOGETHER", many)
        others.append(deduplicate(open_pool(tmp_path / "x.npy"), EPS, keep, k=4))
    for other in others:
        for eps in EPS:
            assert other[eps].original.tolist() == one[eps].original.tolist()
            np.testing.assert_array_equal(other[eps].similarity, one[eps].similarity)


def test_cells_are_read_together_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clframe.selection.deduplicate.TOGETHER", 5)
    parts = [(len(rows), sizes.tolist()) for rows, sizes in together(np.arange(17), np.array([2, 3, 0, 9, 1, 2]))]
    assert parts == [(5, [2, 3, 0]), (9, [9]), (3, [1, 2])]


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    deduplicate(pool_of(X), 0.1, k=3, tell=lambda done, whole: told.append((done, whole)))
    assert told[-1] == (400, 400)


def test_two_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clframe.selection.deduplicate.TOGETHER", 90)
    np.save(tmp_path / "x.npy", X)
    one = deduplicate(pool_of(X), EPS, k=6)
    with executor("processes", 2) as two_processes:
        for pool in (pool_of(X), pool_of(np.load(tmp_path / "x.npy", mmap_mode="r")), open_pool(tmp_path / "x.npy")):
            two = deduplicate(pool, EPS, k=6, engine=Engine(two_processes))
            for eps in EPS:
                assert two[eps].original.tolist() == one[eps].original.tolist()
                np.testing.assert_array_equal(two[eps].similarity, one[eps].similarity)


def test_what_is_finished_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clframe.selection.deduplicate.TOGETHER", 90)
    one, done = deduplicate(pool_of(X), EPS, k=6), [0]

    def stopping(x: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        done[0] += 1
        if done[0] == 4:
            raise KeyboardInterrupt
        return within(x, limits)

    monkeypatch.setattr("clframe.selection.deduplicate.within", stopping)
    with pytest.raises(KeyboardInterrupt) as stop, working(InProcess(), tmp_path / "work", "a job", None) as engine:
        deduplicate(pool_of(X), EPS, k=6, engine=engine)
    assert "the same command goes on from there" in str(stop.value.__notes__)
    finished = len(list((tmp_path / "work").glob("duplicates-*.npy")))
    with working(InProcess(), tmp_path / "work", "a job", None) as engine:
        two = deduplicate(pool_of(X), EPS, k=6, engine=engine)
    assert finished > 0 and done[0] < 4 + 6
    assert all(two[eps].original.tolist() == one[eps].original.tolist() for eps in EPS)
    with pytest.raises(RunError, match="must be of this job"), working(InProcess(), tmp_path / "work", "another", None):
        pass


def test_wrong_options_are_refused() -> None:
    pool = pool_of(X)
    with pytest.raises(OptionError, match=r"thresholds must be numbers from 1e-06 to 1; got 0\.0\. Give thresholds=0\.05"):
        deduplicate(pool, [0.1, 0.0])
    with pytest.raises(OptionError, match="thresholds must be numbers"):
        deduplicate(pool, [])
    with pytest.raises(OptionError, match=r"keep must be a known name; got 'herd'\. Did you mean 'hard'"):
        deduplicate(pool, keep="herd")
    with pytest.raises(OptionError, match="k must be left out where cells are given; got 3"):
        deduplicate(pool, k=3, clustering=one_cell(400))
    with pytest.raises(DataError, match="clustering must be of the 400 rows of the pool; got 5"):
        deduplicate(pool, clustering=one_cell(5))
    with pytest.raises(DataError, match="embeddings must be finite"):
        deduplicate(pool_of([[1.0, np.inf], [0.0, 1.0]]), k=1)
