"""Facility location: against plain loops and optima of tiny pools, and the memory it says that it needs."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

from clframe.errors import OptionError
from clframe.selection import pool_of
from clframe.selection.choice import Ask, Choice
from clframe.selection.methods.facility_location import FacilityLocation, embeddings, needed
from clframe.selection.methods.greedy_cover import greedy_cover

SPREAD, PLACE = np.repeat([[0.3], [1.0], [4.0]], 100, axis=0), np.repeat([[0], [9], [2]], 100, axis=0)
POOL = (np.random.default_rng(0).normal(size=(300, 5)) * SPREAD + PLACE).astype(np.float32)


def chosen(how: FacilityLocation, x: np.ndarray, size: int, seed: int = 0) -> Choice:
    return how(Ask(pool_of(x), size, seed))


def apart(x: np.ndarray, spherical: bool = False) -> np.ndarray:
    x = x.astype(np.float64)
    x = x / np.linalg.norm(x, axis=1, keepdims=True) if spherical else x
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))


@pytest.mark.parametrize("size", [1, 2, 40, 300])
@pytest.mark.parametrize("spherical", [False, True])
def test_facility_location_is_the_plain_greedy_choice(size: int, spherical: bool) -> None:
    d = apart(POOL, spherical)
    rows, near = [int(d.sum(axis=0).argmin())], d[:, d.sum(axis=0).argmin()]
    while len(rows) < size:
        gain = np.maximum(near[:, None] - d, 0).sum(axis=0)
        gain[rows] = -1
        rows.append(int(gain.argmax()))
        near = np.minimum(near, d[:, rows[-1]])
    choice = chosen(FacilityLocation(spherical=spherical), POOL, size)
    assert choice.rows.tolist() == sorted(rows)
    assert choice.weight.tolist() == np.bincount(d[:, choice.rows].argmin(axis=1), minlength=size).tolist()
    assert choice.facts["mean_distance"] == pytest.approx(near.mean(), rel=1e-4, abs=1e-6)
    assert np.isnan(choice.score).sum() == 1


def test_facility_location_is_within_its_bound_of_the_optimum() -> None:
    for seed in range(10):
        x = np.random.default_rng(seed).normal(size=(10, 2))
        d = apart(x)
        best = min(d[:, list(rows)].min(axis=1).mean() for rows in itertools.combinations(range(10), 3))
        found = chosen(FacilityLocation(), x, 3).facts["mean_distance"]
        assert d.max() - found >= (1 - 1 / np.e) * (d.max() - best) and found >= best * (1 - 1e-6)


def test_candidates_alone_can_be_chosen_and_all_rows_are_weighed() -> None:
    few = FacilityLocation(candidates=30)
    choices = [chosen(few, POOL, size) for size in (5, 30)]
    assert set(choices[0].rows) <= set(choices[1].rows) and len(choices[1].rows) == 30
    assert all(c.weight.sum() == 300 and c.facts["candidates"] == 30 for c in choices)
    assert choices[0].rows.tolist() != chosen(few, POOL, 5, seed=1).rows.tolist()


def test_the_choice_needs_the_memory_that_it_says() -> None:
    x = np.random.default_rng(0).normal(size=(1000, 2000)).astype(np.float32)
    tracemalloc.start()
    try:
        greedy_cover(embeddings(pool_of(x), np.arange(1000), spherical=True), 3)
        peak = tracemalloc.get_traced_memory()[1] / 2**30
    finally:
        tracemalloc.stop()
    assert 0.9 * (needed(1000, 2000) - needed(0, 2000)) < peak < needed(1000, 2000)


def test_what_needs_too_much_memory_is_refused_beforehand() -> None:
    class Endless:
        shape = (10_000_000, 1000)

        def read(self, start: int, stop: int) -> np.ndarray:
            raise AssertionError("nothing is to be read")

        take = describe = read

    pool = pool_of(Endless())  # type: ignore[arg-type]
    with pytest.raises(
        OptionError, match=r"at least the 299\.0 GiB that 10,000,000 candidates need; got 4\.0\. Give candidates="
    ) as e:
        FacilityLocation(candidates=10_000_000)(Ask(pool, 1000, 0))
    fit = int(str(e.value).split("candidates=")[1].split(",")[0])
    assert needed(fit, 1000) <= 4 < needed(fit + 1, 1000)
    with pytest.raises(OptionError, match=r"got 4\.0\. Give memory=119\.7, or a smaller size\.$"):
        FacilityLocation()(Ask(pool, 1_000_000, 0))
    with pytest.raises(OptionError, match="candidates must be at least the 20 rows to choose; got 10"):
        FacilityLocation(candidates=10)(Ask(pool, 20, 0))
