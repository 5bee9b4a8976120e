"""k-center, herding, kernel herding, facility location: against plain loops, and optima of tiny pools."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from clframe.errors import DataError, OptionError
from clframe.selection import herd, open_pool, pool_of, select
from clframe.selection.choice import Ask, Choice, Method
from clframe.selection.methods import method
from clframe.selection.methods.facility_location import FacilityLocation
from clframe.selection.methods.herding import HerdingCoreset
from clframe.selection.methods.k_center import KCenter
from clframe.selection.methods.kernel_herding import KernelHerding, kernel_mean, median_distance
from clframe.selection.methods.owners import compare

NAMES = ("k-center", "herding", "kernel-herding", "facility-location")
METHODS: list[Method] = [KCenter(), HerdingCoreset(), KernelHerding(), FacilityLocation()]
MIXED = np.random.default_rng(0).normal(size=(300, 5)) * np.repeat([0.3, 1.0, 4.0], 100)[:, None] + np.repeat(
    [[0], [9], [2]], 100, 0
)
POOL = MIXED.astype(np.float32)


def chosen(how: Method, x: np.ndarray, size: int, seed: int = 0) -> Choice:
    return how(Ask(pool_of(x), size, seed))


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sqrt(((a[:, None].astype(np.float64) - b[None].astype(np.float64)) ** 2).sum(-1))


def in_order(choice: Choice) -> list[int]:
    """Rows in the order in which they were chosen, where the score is that."""
    return choice.rows[np.argsort(-choice.score, kind="stable")].tolist()


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)


# k-center


@pytest.mark.parametrize("size", [1, 2, 40, 300])
@pytest.mark.parametrize("spherical", [False, True])
def test_k_center_is_the_plain_greedy_choice(size: int, spherical: bool) -> None:
    choice = chosen(KCenter(spherical), POOL, size)
    d = apart(unit(POOL), unit(POOL)) if spherical else apart(POOL, POOL)
    rows, scores = chosen(KCenter(spherical), POOL, 1).rows.tolist(), []
    while len(rows) < size:
        near = d[:, rows].min(axis=1)
        near[rows] = -1
        rows.append(int(near.argmax()))
        scores.append(float(near.max()))
    assert choice.rows.tolist() == sorted(rows)
    by_row = dict(zip(rows, [scores[0] if scores else d[rows[0]].max(), *scores], strict=True))
    np.testing.assert_allclose(choice.score, [by_row[row] for row in choice.rows.tolist()], rtol=1e-4)
    assert choice.weight.tolist() == np.bincount(d[:, choice.rows].argmin(axis=1), minlength=size).tolist()
    assert choice.facts["radius"] == pytest.approx(d[:, rows].min(axis=1).max(), rel=1e-4, abs=1e-3)


def test_k_center_covers_within_twice_the_optimum() -> None:
    for seed in range(10):
        x = np.random.default_rng(seed).normal(size=(10, 2)).astype(np.float32)
        d = apart(x, x)
        best = min(d[:, list(rows)].min(axis=1).max() for rows in itertools.combinations(range(10), 3))
        facts = chosen(KCenter(), x, 3, seed).facts
        assert facts["least_possible_radius"] <= best * (1 + 1e-6) and facts["radius"] <= 2 * best * (1 + 1e-6)


def test_k_center_begins_where_the_seed_says() -> None:
    assert len({chosen(KCenter(), POOL, 1, seed).rows[0] for seed in range(20)}) > 10


@pytest.mark.parametrize("how", [KCenter(), FacilityLocation()])
def test_equal_rows_that_are_chosen_own_themselves(how: Method) -> None:
    x = np.repeat(np.array([[0.0, 1.0], [5.0, 5.0]]), [6, 4], axis=0)
    choice = chosen(how, x, 5)
    assert choice.weight.min() >= 1 and choice.weight.sum() == 10
    assert (choice.score == 0).sum() == 3 and set(choice.weight[choice.score == 0]) == {1}  # the others belong to the first ones
    every = chosen(how, x, 10)
    assert every.rows.tolist() == list(range(10)) and every.weight.tolist() == [1.0] * 10


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_owners_are_exact_however_many_are_compared_at_once(offset: float) -> None:
    x = (POOL + np.float32(offset)).astype(np.float32)
    gap = x[:, None] - x[None, :64]
    d = np.einsum("bpd,bpd->bp", gap, gap)
    found = []
    for together in (1, 7, 64):
        square, owner = np.full(300, np.inf, dtype=np.float32), np.zeros(300, dtype=np.int32)
        for first in range(0, 64, together):
            compare(x, x[first : min(first + together, 64)], square, owner, first)
        np.testing.assert_allclose(square, d.min(axis=1), rtol=1e-5)
        assert owner.tolist() == d.argmin(axis=1).tolist()
        found.append((square.tolist(), owner.tolist()))
    assert found[0] == found[1] == found[2]


def test_k_center_reads_few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clframe.selection.pool.pool.BLOCK", 50)
    x = np.random.default_rng(1).normal(size=(2000, 8))
    assert chosen(KCenter(), x, 200).facts["passes"] < 200 / 4


# herding


@pytest.mark.parametrize("size", [1, 30, 120])
def test_herding_is_that_of_the_replay_memory(size: int) -> None:
    whole = np.random.default_rng(2).integers(0, 4, size=(120, 3)).astype(np.float32)  # many equal rows
    for x in (POOL, whole):
        assert in_order(chosen(HerdingCoreset(), x, size)) == herd(torch.from_numpy(x), size).tolist()
    scaled = torch.from_numpy(POOL / np.linalg.norm(POOL, axis=1, keepdims=True))
    assert in_order(chosen(HerdingCoreset(spherical=True), POOL, size)) == herd(scaled, size).tolist()


def test_herding_begins_alike_whatever_the_size_and_says_by_how_much_it_misses_the_mean() -> None:
    long, short = chosen(HerdingCoreset(), POOL, 60), chosen(HerdingCoreset(), POOL, 20)
    assert in_order(long)[:20] == in_order(short)
    missed = np.linalg.norm(POOL[long.rows].mean(axis=0, dtype=np.float64) - POOL.mean(axis=0, dtype=np.float64))
    assert long.facts["mean_error"] == pytest.approx(missed, rel=1e-6)
    random = np.random.default_rng(0)
    gaps = [POOL[random.choice(300, 60, replace=False)].mean(axis=0) - POOL.mean(axis=0) for _ in range(2000)]
    assert long.facts["uniform_error"] == pytest.approx(np.sqrt((np.array(gaps) ** 2).sum(axis=1).mean()), rel=0.05)
    assert missed < long.facts["uniform_error"] / 10


# kernel herding


def gaussian(x: np.ndarray, h: float) -> np.ndarray:
    return np.exp(-(apart(x, x) ** 2) / (2 * h**2))


@pytest.mark.parametrize("size", [1, 50, 300])
def test_kernel_herding_is_the_plain_greedy_choice(size: int) -> None:
    h = 1.5
    k, rows = gaussian(POOL, h), []
    for t in range(1, size + 1):
        value = k.mean(axis=1) - k[:, rows].sum(axis=1) / t
        value[rows] = -np.inf
        rows.append(int(value.argmax()))
    choice = chosen(KernelHerding(bandwidth=h), POOL, size)
    assert in_order(choice) == rows and set(choice.weight.tolist()) == {300 / size}
    squared = k[np.ix_(rows, rows)].mean() - 2 * k[rows].mean() + k.mean()
    assert choice.facts["discrepancy"] == pytest.approx(np.sqrt(max(0, squared)), rel=1e-3, abs=1e-4)
    assert choice.facts["uniform_discrepancy"] == pytest.approx(np.sqrt((1 - k.mean()) / size), rel=1e-5)
    assert choice.facts["kernel_mean_error"] == 0 and choice.facts["reference"] == 300


def test_kernel_herding_comes_nearer_to_the_pool_than_a_uniform_sample() -> None:
    facts = chosen(KernelHerding(), POOL, 60).facts
    assert facts["discrepancy"] < facts["uniform_discrepancy"] / 2


def test_the_error_of_a_sampled_kernel_mean_is_what_it_says() -> None:
    exact = kernel_mean(pool_of(POOL), np.arange(300), 3.0)
    np.testing.assert_allclose(exact.value, gaussian(POOL, 3.0).mean(axis=1), atol=1e-6)
    off, said = [], []
    for seed in range(200):
        rows = np.sort(np.random.default_rng(seed).choice(300, 50, replace=False))
        found = kernel_mean(pool_of(POOL), rows, 3.0)
        off.append(((found.value - exact.value) ** 2).mean())
        said.append(found.error**2)
    assert np.mean(said) == pytest.approx(np.mean(off), rel=0.15)
    assert np.sqrt(np.mean(said)) < 1 / (2 * np.sqrt(50))


def test_a_reference_of_fewer_rows_is_drawn_by_the_seed() -> None:
    few = KernelHerding(bandwidth=1.5, reference=40)
    facts = chosen(few, POOL, 10).facts
    assert facts["reference"] == 40 and facts["kernel_mean_error"] > 0
    assert chosen(few, POOL, 10).rows.tolist() != chosen(few, POOL, 10, seed=1).rows.tolist()


def test_the_bandwidth_is_the_median_distance() -> None:
    d = apart(POOL, POOL)[np.triu_indices(300, 1)]
    assert median_distance(pool_of(POOL), 0) == pytest.approx(np.median(d))
    assert median_distance(pool_of(np.ones((5, 2))), 0) == 1.0
    assert median_distance(pool_of([[0.0]] * 9 + [[3.0]]), 0) == 3.0  # most pairs are equal


# all of them


@pytest.mark.parametrize("how", METHODS, ids=NAMES)
def test_blocks_of_another_size_and_files_give_the_same_choice(
    how: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.concatenate([POOL, POOL[:50]])  # with equal rows in different blocks
    np.save(tmp_path / "x.npy", x)
    one = chosen(how, x, 70)
    files = how(Ask(open_pool(tmp_path / "x.npy"), 70, 0))
    mapped = how(Ask(pool_of(np.load(tmp_path / "x.npy", mmap_mode="r")), 70, 0))
    monkeypatch.setattr("clframe.selection.pool.pool.BLOCK", 17)
    blocks = how(Ask(open_pool(tmp_path / "x.npy"), 70, 0))
    for other in (files, mapped, blocks):
        assert other.rows.tolist() == one.rows.tolist() and other.weight.tolist() == one.weight.tolist()
        np.testing.assert_array_equal(other.score, one.score)
    assert files.facts == mapped.facts == one.facts
    for name, value in one.facts.items():
        assert name == "passes" or blocks.facts[name] == pytest.approx(value, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_coresets_by_name_weigh_the_pool_and_claim_no_interval(name: str, tmp_path: Path) -> None:
    coreset = select(pool_of(POOL, loss=np.ones(300)), 25, name, seed=3)
    again = select(pool_of(POOL, loss=np.ones(300)), 25, name, seed=3)
    assert coreset.rows.tolist() == again.rows.tolist() and coreset.manifest["key"] == again.manifest["key"]
    assert len(set(coreset.rows.tolist())) == 25 and coreset.weights.sum() == pytest.approx(300)
    assert coreset.mean_loss is None and coreset.manifest["queries"] == 0 and np.isnan(coreset.choice.expected).all()
    coreset.save(tmp_path / "made")
    facts = json.loads((tmp_path / "made" / "manifest.json").read_text())["facts"]
    assert facts == coreset.manifest["facts"] and all(np.isfinite(v) for v in facts.values())


@pytest.mark.parametrize("how", METHODS, ids=NAMES)
def test_rows_that_are_not_finite_are_named(how: Method) -> None:
    x = POOL.copy()
    x[7, 1] = np.nan
    with pytest.raises(DataError, match="embeddings must be finite; got NaN or infinity in row 7"):
        chosen(how, x, 10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KernelHerding(bandwidth=-1.0), "bandwidth must be positive, or 0 for the median distance; got -1.0"),
        (lambda: KernelHerding(bandwidth=float("inf")), "bandwidth must be positive"),
        (lambda: KernelHerding(reference=-5), "reference must be a number of rows, or 0 for the usual one; got -5"),
        (lambda: FacilityLocation(candidates=-1), "candidates must be a number of rows, or 0 for the usual one; got -1"),
        (lambda: FacilityLocation(memory=0.0), "memory must be a positive number of GiB; got 0.0"),
        (lambda: method("k-center(spherical=3)"), "spherical must be bool; got 3"),
        (lambda: method("herding(by=label)"), "option of method 'herding' must be a known name; got 'by'"),
    ],
)
def test_wrong_options_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()
