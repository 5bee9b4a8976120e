"""Draws: probabilities, exact sizes, unbiased sums, and the same rows whoever does the blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clframe.errors import DataError, OptionError
from clframe.selection.draws import Draw, Scores, iid, systematic
from clframe.selection.draws.hashing import hashed
from clframe.selection.draws.without_replacement import threshold
from clframe.selection.pool import pool as pools

SKEWED = np.concatenate([np.zeros(40), np.geomspace(0.01, 100, 60)])
VALUES = np.sqrt(SKEWED) + np.arange(100) % 7


def totals(draw: str, mixture: float, repeats: int = 2000, size: int = 25) -> np.ndarray:
    scores = Scores.known(SKEWED, mixture)
    found = []
    for r in range(repeats):
        made = iid(scores, size, np.random.default_rng(r)) if draw == "iid" else systematic(scores, size, seed=r)
        found.append(float((made.weight * VALUES[made.rows]).sum()))
    return np.array(found)


@pytest.mark.parametrize("mixture", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("draw", ["iid", "systematic"])
def test_weighted_sums_are_unbiased(draw: str, mixture: float) -> None:
    found = totals(draw, mixture)
    assert abs(found.mean() - VALUES.sum()) < 4 * found.std(ddof=1) / np.sqrt(len(found))


def test_without_a_mixture_sums_are_unbiased_over_what_can_be_drawn() -> None:
    found = totals("iid", 0.0)
    assert abs(found.mean() - VALUES[40:].sum()) < 4 * found.std(ddof=1) / np.sqrt(len(found))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 1), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_probabilities_add_up_and_no_weight_exceeds_its_cap(q: list[float], mixture: float, size: int) -> None:
    scores = Scores.known(np.array(q), mixture)
    p = scores.read(0, len(q))
    assert abs(p.sum() - 1) < 1e-9
    draw = iid(scores, size, np.random.default_rng(0))
    assert int(draw.count.sum()) == size
    np.testing.assert_allclose(draw.weight, draw.count / (size * p[draw.rows]), rtol=1e-9)
    if mixture:
        assert float((draw.weight / draw.count).max()) <= len(q) / (size * mixture) * (1 + 1e-9)


def test_equal_scores_give_equal_probabilities() -> None:
    for values in (np.zeros(7), np.full(7, 3.0)):
        assert Scores.known(values, 0.3).read(0, 7).tolist() == pytest.approx([1 / 7] * 7)


@pytest.mark.parametrize("size", [1, 7, 59, 60, 100])
def test_a_systematic_draw_has_exactly_its_size(size: int) -> None:
    for seed in range(20):
        draw = systematic(Scores.known(SKEWED, 0.2), size, seed)
        assert len(draw.rows) == len(set(draw.rows.tolist())) == size
        assert draw.expected.max() <= 1 and draw.rows.tolist() == sorted(draw.rows.tolist())


def test_inclusion_probabilities_are_what_they_say() -> None:
    scores, size, repeats = Scores.known(SKEWED, 0.2), 20, 3000
    tau = threshold(scores, size)
    pi = np.minimum(1, scores.read(0, 100) / tau)
    assert pi.sum() == pytest.approx(size)
    often = np.zeros(100)
    for seed in range(repeats):
        often[systematic(scores, size, seed).rows] += 1
    error = np.sqrt(pi * (1 - pi) / repeats) + 1e-9
    assert float((np.abs(often / repeats - pi) / error).max()) < 5


def test_more_rows_than_can_be_drawn_are_refused() -> None:
    with pytest.raises(OptionError, match="size must be at most the 60 rows that can be drawn; got 61"):
        systematic(Scores.known(SKEWED), 61, 0)


def test_negative_scores_are_named() -> None:
    with pytest.raises(DataError, match="got -1 in row 2"):
        iid(Scores.known(np.array([1.0, 2.0, -1.0])), 2, np.random.default_rng(0))


def test_blocks_of_another_size_give_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    q = np.random.default_rng(0).exponential(size=5000)

    def drawn() -> Draw:
        return iid(Scores.known(q, 0.1), 300, np.random.default_rng(1))

    one = drawn()
    for module in ("scores", "with_replacement"):
        monkeypatch.setattr(f"clframe.selection.draws.{module}.BLOCK", 256)
    many = drawn()
    assert one.rows.tolist() == many.rows.tolist()
    np.testing.assert_allclose(one.expected, many.expected)
    assert pools.BLOCK > 256


def test_numbers_of_rows_are_uniform_and_differ_by_seed() -> None:
    rows = np.arange(20_000)
    u, v = hashed(rows, 1), hashed(rows, 2)
    assert np.histogram(u, 20, (0, 1))[0] == pytest.approx(np.full(20, 1000), abs=5 * np.sqrt(1000))
    assert abs(np.corrcoef(u, v)[0, 1]) < 0.03 and abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 0.03
    assert hashed(rows[500:600], 1).tolist() == u[500:600].tolist()
