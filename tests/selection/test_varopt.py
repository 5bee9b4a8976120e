"""VarOpt: exact totals, unbiased sums of any set, merges, and reservoir sampling where all weights are equal."""

from __future__ import annotations

import numpy as np
import pytest

from clframe.errors import DataError, OptionError
from clframe.selection.draws.varopt import Kept, keep

WEIGHT = np.concatenate([np.geomspace(0.01, 20, 90), [100.0, 300.0]])


def streamed(size: int, seed: int, weight: np.ndarray = WEIGHT, batch: int = 7) -> Kept:
    random, held = np.random.default_rng(seed), Kept.none()
    for start in range(0, len(weight), batch):
        rows = np.arange(start, min(start + batch, len(weight)))
        held = keep(size, random, held, Kept(rows, weight[rows]))
    return held


def test_totals_are_exact_and_sizes_fixed() -> None:
    for seed in range(50):
        held = streamed(20, seed)
        assert len(held.rows) == len(set(held.rows.tolist())) == 20
        assert held.weight.sum() == pytest.approx(WEIGHT.sum())
        assert {90, 91} <= set(held.rows.tolist())  # the heavy ones are certain, with their own weights
        assert held.weight[held.rows == 91].item() == pytest.approx(300)


@pytest.mark.parametrize("merged", [False, True])
def test_sums_of_any_set_are_unbiased(merged: bool) -> None:
    some, found = np.arange(len(WEIGHT)) % 3 == 0, []
    for seed in range(2000):
        held = streamed(15, seed)
        if merged:
            random = np.random.default_rng(seed)
            one = keep(15, random, Kept(np.arange(40), WEIGHT[:40]))
            two = keep(15, random, Kept(np.arange(40, len(WEIGHT)), WEIGHT[40:]))
            held = keep(15, random, one, two)
        found.append(held.weight[some[held.rows]].sum())
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - WEIGHT[some].sum()) < 4 * error


def test_equal_weights_are_reservoir_sampling() -> None:
    n, size, repeats = 60, 12, 3000
    often, together = np.zeros(n), 0
    for seed in range(repeats):
        held = streamed(size, seed, np.full(n, 2.0))
        often[held.rows] += 1
        together += {3, 50} <= set(held.rows.tolist())
        assert held.weight == pytest.approx(np.full(size, 2.0 * n / size))
    p = size / n
    assert np.abs(often / repeats - p).max() < 5 * np.sqrt(p * (1 - p) / repeats)
    pair = size * (size - 1) / (n * (n - 1))
    assert abs(together / repeats - pair) < 5 * np.sqrt(pair / repeats)


def test_a_stream_that_is_short_is_kept_whole() -> None:
    assert streamed(200, 0).weight.tolist() == WEIGHT.tolist()


def test_what_breaks_a_rule_is_refused() -> None:
    with pytest.raises(OptionError, match="size must be a positive integer; got 0"):
        keep(0, np.random.default_rng(0), Kept.none())
    with pytest.raises(DataError, match="got 0 for row 7"):
        keep(1, np.random.default_rng(0), Kept(np.array([6, 7]), np.array([1.0, 0.0])))
