"""Scores of samples, and choices by them: closed forms, ties, strata, unbiased draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clframe.errors import DataError, OptionError
from clframe.selection import Losses, pool_of
from clframe.selection.choice import Ask
from clframe.selection.methods import method
from clframe.selection.scores import el2n, entropy, forgetting_events, grand, margin


def softmax(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(40, 5))
    p = np.exp(logits)
    return p / p.sum(1, keepdims=True), random.integers(5, size=40)


def test_margin_and_entropy_are_what_sorting_and_summing_give() -> None:
    p, _ = softmax()
    order = np.sort(p, axis=1)[:, ::-1]
    np.testing.assert_allclose(margin(p), order[:, 0] - order[:, 1])
    np.testing.assert_allclose(entropy(p), [-sum(q * np.log(q) for q in row) for row in p])
    assert entropy(np.full((1, 8), 1 / 8))[0] == pytest.approx(np.log(8))
    assert entropy(np.eye(3)).tolist() == [0, 0, 0] and margin(np.full((1, 4), 0.25)).tolist() == [0]


@pytest.mark.parametrize("bias", [True, False])
def test_grand_is_the_length_of_the_gradient_that_torch_computes(bias: bool) -> None:
    random = np.random.default_rng(1)
    h, y = random.normal(size=(10, 6)), random.integers(4, size=10)
    layer = torch.nn.Linear(6, 4, bias=bias).double()
    p = torch.softmax(layer(torch.from_numpy(h)), 1).detach().numpy()
    made = []
    for i in range(10):
        layer.zero_grad()
        torch.nn.functional.cross_entropy(layer(torch.from_numpy(h[i : i + 1])), torch.from_numpy(y[i : i + 1])).backward()
        made.append(sum(float((w.grad**2).sum()) for w in layer.parameters() if w.grad is not None) ** 0.5)
    np.testing.assert_allclose(grand(p, y, h, bias), made)


def test_el2n_is_the_length_of_the_error() -> None:
    p, y = softmax()
    np.testing.assert_allclose(el2n(p, y), np.linalg.norm(p - np.eye(5)[y], axis=1))


def test_forgetting_events_are_counted_and_those_never_learnt_come_last() -> None:
    right = np.random.default_rng(0).random((9, 60)) < 0.3
    expected = []
    for column in right.T:
        events = sum(1 for t in range(1, 9) if column[t - 1] and not column[t])
        expected.append(events if column.any() else 9)
    found = forgetting_events(right)
    assert found.tolist() == expected
    assert 9 in expected and max(e for e in expected if e < 9) < 9


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: margin(np.array([[0.5, 0.5], [2.0, -1.0]])),
            "probabilities must be positive and add up to 1; got others in row 1",
        ),
        (lambda: entropy(np.array([[0.5, 0.6]])), "add up to 1"),
        (lambda: entropy(np.array([[np.nan, 0.6]])), "add up to 1"),
        (lambda: margin(np.ones((3, 1))), r"shape \(n, c\), c > 1; got \(3, 1\)"),
        (lambda: el2n(np.eye(2), np.array([0, 2])), "labels must be between 0 and 1; got 2 in row 1"),
        (lambda: el2n(np.eye(2), np.array([0.0, 1.0])), "labels must be 2 whole numbers"),
        (lambda: el2n(np.eye(2), np.array([0])), "labels must be 2 whole numbers"),
        (lambda: grand(np.eye(2), np.array([0, 1]), np.ones(2)), "features must have shape"),
        (
            lambda: grand(np.eye(2), np.array([0, 1]), np.array([[1.0], [np.inf]])),
            "features must be finite; got NaN or infinity in row 1",
        ),
        (lambda: forgetting_events(np.ones((2, 3))), "correct must be true or false"),
        (lambda: forgetting_events(np.ones((0, 3), dtype=bool)), "correct must be true or false"),
    ],
)
def test_what_is_no_score_is_refused(call: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        call()


RANDOM = np.random.default_rng(3)
SCORE = RANDOM.exponential(size=500) ** 2
LABEL = (RANDOM.random(500) ** 2 * 4).astype(int)
LOSS = SCORE * RANDOM.uniform(0.5, 1.5, size=500) + 0.2 * LABEL
POOL = pool_of(np.zeros((500, 1)), score=SCORE, label=LABEL, flat=np.ones(500))


def test_the_top_is_that_of_sorting() -> None:
    order = np.argsort(SCORE)
    assert method("scored")(Ask(POOL, 30, 0)).rows.tolist() == sorted(order[-30:].tolist())
    smallest = method("scored(largest=False)")(Ask(POOL, 30, 0))
    assert smallest.rows.tolist() == sorted(order[:30].tolist())
    assert smallest.estimate is None and np.isnan(smallest.expected).all() and smallest.weight.tolist() == [500 / 30] * 30
    assert smallest.facts["mean_score"] == pytest.approx(SCORE[order[:30]].mean())


def test_the_top_of_each_label_has_its_share() -> None:
    choice = method("scored(by=label)")(Ask(POOL, 50, 0))
    sizes = np.bincount(LABEL)
    for h, size in enumerate(sizes):
        own = choice.rows[choice.stratum == h]
        assert abs(len(own) - 50 * size / 500) < 1
        rows = np.flatnonzero(h == LABEL)
        assert own.tolist() == sorted(rows[np.argsort(SCORE[rows])[-len(own) :]].tolist())
        assert choice.weight[choice.stratum == h].sum() == pytest.approx(size)


def test_ties_are_broken_by_the_numbers_of_rows() -> None:
    one, again, other = (method("scored(column=flat)")(Ask(POOL, 100, seed)).rows for seed in (0, 0, 1))
    assert one.tolist() == again.tolist() != other.tolist()
    assert 150 < one.mean() < 350  # spread over the pool, not its first rows


DRAWN = ("", ",by=label", ",largest=False,mixture=0.5", ",largest=False,by=label,mixture=0.5")


@pytest.mark.parametrize("options", DRAWN)
def test_draws_in_proportion_are_unbiased_and_intervals_hold(options: str) -> None:
    truth, means, held = float(LOSS.mean()), [], 0
    for seed in range(300):
        choice = method(f"scored(how=proportional{options})")(Ask(POOL, 60, seed, Losses(LOSS, 500)))
        assert len(choice.rows) == 60 and (np.diff(choice.rows) > 0).all()
        assert choice.score.tolist() == SCORE[choice.rows].tolist()
        found = choice.estimate
        assert found is not None and found.mean == pytest.approx((choice.weight * LOSS[choice.rows]).sum() / 500)
        means.append(found.mean)
        held += found.low <= truth <= found.high
    assert abs(np.mean(means) - truth) < 4 * np.std(means, ddof=1) / np.sqrt(300)
    assert held > 0.85 * 300


def test_where_losses_follow_the_score_draws_in_proportion_beat_uniform_ones() -> None:
    def error(words: str) -> float:
        made = [method(words)(Ask(POOL, 60, seed, Losses(LOSS, 500))).estimate for seed in range(100)]
        return float(np.sqrt(np.mean([(e.mean - LOSS.mean()) ** 2 for e in made if e is not None])))

    assert error("scored(how=proportional)") < 0.5 * error("uniform")


def test_a_label_with_one_uncertain_row_leaves_an_error_that_is_finite() -> None:
    pool = pool_of(np.zeros((40, 1)), score=[100.0, *[1.0] * 9, *[1.0] * 30], label=[0] * 10 + [1] * 30)
    choice = method("scored(how=proportional,by=label,mixture=0)")(Ask(pool, 8, 0, Losses(np.arange(40.0), 40)))
    assert (choice.stratum == 0).sum() == 2 and choice.expected[0] == 1
    assert choice.estimate is not None and 0 < choice.estimate.error < np.inf


@pytest.mark.parametrize("words", ["scored(how=best)", "scored(mixture=1.5)"])
def test_options_that_break_a_rule_are_refused(words: str) -> None:
    with pytest.raises(OptionError, match="must be"):
        method(words)


def test_columns_that_are_not_there_or_do_not_serve_are_refused() -> None:
    with pytest.raises(OptionError, match="column must be a known name; got 'el2n'"):
        method("scored(column=el2n)")(Ask(POOL, 5, 0))
    with pytest.raises(OptionError, match="column must be a known name; got 'task'"):
        method("scored(by=task)")(Ask(POOL, 5, 0))
    with pytest.raises(OptionError, match="size must be at least 4"):
        method("scored(by=label)")(Ask(POOL, 3, 0))
    negative = pool_of(np.zeros((3, 1)), score=[1.0, -1.0, 0.0])
    assert method("scored")(Ask(negative, 1, 0)).rows.tolist() == [0]
    with pytest.raises(DataError, match="at least 0; got -1 in row 1"):
        method("scored(how=proportional)")(Ask(negative, 1, 0))
