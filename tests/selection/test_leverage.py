"""Leverage scores and sensitivity sampling for least squares: closed forms, unbiased sums, and regressions on what was drawn."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from clframe.errors import DataError, OptionError
from clframe.selection import Losses, Pool, pool_of, select
from clframe.selection.choice import Ask, Choice
from clframe.selection.clustering import Clustering, KMeans, cluster
from clframe.selection.methods import method
from clframe.selection.methods.leverage import leverage
from clframe.selection.pool import pool as pools

N = 600


@cache
def world() -> tuple[Pool, np.ndarray, Clustering]:
    """Heavy tails, a target that is linear but for noise, and squared errors of another solution as losses."""
    random = np.random.default_rng(2)
    x = random.standard_t(3, size=(N, 4)).astype(np.float32)
    target = x @ np.array([1.0, -2.0, 0.5, 0.0]) + 3 + random.normal(size=N)
    loss = (x @ np.array([0.8, -1.5, 0.5, 0.3]) + 2 - target) ** 2
    pool = pool_of(x, target=target)
    return pool, loss, cluster(pool, KMeans(k=20), seed=0)


def chosen(words: str, seed: int = 0, size: int = 60) -> Choice:
    pool, loss, cells = world()
    return method(words)(Ask(pool, size, seed, Losses(loss, N), lambda: cells))


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("ridge", [0.0, 7.0])
def test_leverage_is_the_diagonal_of_the_hat_matrix(ridge: float, intercept: bool) -> None:
    x = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    wide = np.concatenate([x, np.ones((50, 1))], axis=1).astype(float) if intercept else x.astype(float)
    penalty = ridge * np.diag([1.0] * 5 + [0.0] * intercept)
    hat = wide @ np.linalg.inv(wide.T @ wide + penalty) @ wide.T
    np.testing.assert_allclose(leverage(pool_of(x), ridge, intercept), np.diag(hat), rtol=1e-10)


def test_columns_that_others_add_up_to_count_for_nothing() -> None:
    x = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    more = np.concatenate([x, x[:, :1] + x[:, 1:2], np.zeros((80, 1)), np.ones((80, 1))], axis=1)
    found = leverage(pool_of(more))
    np.testing.assert_allclose(found, leverage(pool_of(x)), rtol=1e-4)
    assert found.sum() == pytest.approx(4)


def test_leverage_does_not_depend_on_the_scale_of_columns_or_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    one = leverage(pool_of(x))
    np.testing.assert_allclose(leverage(pool_of(x * np.array([1e-6, 1.0, 1e6]))), one, rtol=1e-4)
    monkeypatch.setattr(pools, "BLOCK", 64)
    np.testing.assert_allclose(leverage(pool_of(x)), one, rtol=1e-12)


def test_a_ridge_lowers_the_effective_dimension_to_what_the_eigenvalues_say() -> None:
    x = np.random.default_rng(1).normal(size=(200, 6)) * np.geomspace(1, 20, 6)
    x = x.astype(np.float32)
    values = np.linalg.eigvalsh(x.astype(float).T @ x.astype(float))
    choice = method("leverage(ridge=500.0,intercept=False)")(Ask(pool_of(x), 20, 0))
    assert choice.facts["effective_dimension"] == pytest.approx(float((values / (values + 500)).sum()))


def test_probabilities_of_leverage_are_mixed_with_equal_ones() -> None:
    pool, _, _ = world()
    score = leverage(pool)
    for mixture in (0.0, 0.3, 1.0):
        choice = chosen(f"leverage(mixture={mixture})")
        p = (1 - mixture) * score / score.sum() + mixture / N
        np.testing.assert_allclose(choice.expected, 60 * p[choice.rows], rtol=1e-9)
        np.testing.assert_allclose(choice.weight, choice.count / choice.expected)


def test_a_pool_of_zeros_is_sampled_uniformly() -> None:
    choice = method("leverage(intercept=False)")(Ask(pool_of(np.zeros((30, 2))), 6, 0))
    np.testing.assert_allclose(choice.expected, 6 / 30)
    assert choice.facts["effective_dimension"] == 0


METHODS = (
    "leverage",
    "leverage(mixture=0.1,ridge=10.0)",
    "leverage(draw=systematic)",
    "regression",
    "regression(by=distance)",
    "regression(lam=0.1,draw=systematic,intercept=False)",
)


@pytest.mark.parametrize("words", METHODS)
def test_means_are_unbiased_and_intervals_hold(words: str) -> None:
    truth = float(world()[1].mean())
    found = [chosen(words, seed).estimate for seed in range(300)]
    means = np.array([e.mean for e in found if e is not None])
    assert len(means) == 300
    assert abs(means.mean() - truth) < 4 * means.std(ddof=1) / np.sqrt(300)
    assert np.mean([e.low <= truth <= e.high for e in found if e is not None]) > 0.85


@pytest.mark.parametrize("words", METHODS)
def test_the_seed_decides(words: str) -> None:
    one, again, other = chosen(words, 1), chosen(words, 1), chosen(words, 2)
    assert one.rows.tolist() == again.rows.tolist() and one.weight.tolist() == again.weight.tolist()
    assert one.rows.tolist() != other.rows.tolist()


def test_scores_of_the_regression_are_those_of_the_first_solution() -> None:
    pool, _, cells = world()
    x, target = pool.vectors.read(0, N).astype(float), pool.numbers("target")
    wide = np.concatenate([x, np.ones((N, 1))], axis=1)
    root, c = np.sqrt(cells.sizes), cells.rows
    found = np.linalg.lstsq(wide[c] * root[:, None], target[c] * root, rcond=None)[0]
    lam = (np.linalg.norm(found[:4]) + 1) ** 2
    q = ((wide[c] @ found - target[c]) ** 2)[cells.cell] + lam * ((x - x[c][cells.cell]) ** 2).sum(1)
    choice = chosen("regression")
    np.testing.assert_allclose(choice.expected, 60 * (0.5 * q / q.sum() + 0.5 / N)[choice.rows], rtol=1e-4)
    assert choice.facts["lambda"] == pytest.approx(lam)


def test_the_bound_of_the_regression_holds_where_its_assumption_does() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 3))
    target = np.sin(x[:, 0])  # changes by no more than the distance
    pool = pool_of(x, target=target)
    cells = cluster(pool, KMeans(k=25), seed=0)
    c, near = cells.rows, cells.cell
    solution = np.linalg.lstsq(x[c] * np.sqrt(cells.sizes)[:, None], target[c] * np.sqrt(cells.sizes), rcond=None)[0]
    choice = method("regression(intercept=False,mixture=0)")(Ask(pool, 499, 0, clustered=lambda: cells))
    q = ((x[c] @ solution - target[c]) ** 2)[near] + choice.facts["lambda"] * cells.distance
    assert ((x @ solution - target) ** 2 <= 2 * q + 1e-9).all()
    np.testing.assert_allclose(choice.score, q[choice.rows], rtol=1e-5)


def test_least_squares_on_rows_of_leverage_beats_that_on_uniform_ones_where_clusters_are_rare() -> None:
    random = np.random.default_rng(0)
    share = np.arange(1, 31) ** -2.0
    x = 5 * random.normal(size=(30, 10))[random.choice(30, size=4000, p=share / share.sum())] + 0.3 * random.normal(size=(4000, 10))
    target = x @ random.normal(size=10) + random.normal(size=4000)
    pool, wide = pool_of(x, target=target), np.concatenate([x, np.ones((4000, 1))], axis=1)
    best = float(((wide @ np.linalg.lstsq(wide, target, rcond=None)[0] - target) ** 2).sum())

    def excess(words: str) -> float:
        made = []
        for seed in range(30):
            choice = method(words)(Ask(pool, 100, seed))
            root = np.sqrt(choice.weight)
            found = np.linalg.lstsq(wide[choice.rows] * root[:, None], target[choice.rows] * root, rcond=None)[0]
            made.append(float(((wide @ found - target) ** 2).sum()) / best - 1)
        return float(np.median(made))

    assert excess("leverage") < 0.6 * excess("uniform")


def test_only_targets_of_residuals_are_needed() -> None:
    pool = pool_of(np.random.default_rng(0).normal(size=(100, 2)), label=[0] * 100)
    assert len(select(pool, 10, "regression(by=distance)", k=5)) > 0
    with pytest.raises(OptionError, match="column must be a known name; got 'target'"):
        select(pool, 10, "regression", k=5)
    with pytest.raises(DataError, match="column 'target' must hold finite numbers; got nan in row 3"):
        select(pool_of(np.zeros((5, 2)), target=[0, 0, 0, np.nan, 0]), 2, "regression", k=2)


def test_embeddings_that_are_not_finite_are_named() -> None:
    x = np.zeros((5, 2))
    x[3, 1] = np.nan
    with pytest.raises(DataError, match="embeddings must be finite; got NaN or infinity in row 3"):
        select(pool_of(x), 2, "leverage")


@pytest.mark.parametrize(
    "words",
    [
        "leverage(ridge=-1.0)",
        "leverage(mixture=2.0)",
        "leverage(draw=poisson)",
        "regression(by=label)",
        "regression(lam=ls)",
        "regression(lam=-1.0)",
        "regression(mixture=-0.1)",
        "regression(draw=x)",
    ],
)
def test_options_that_break_a_rule_are_refused(words: str) -> None:
    with pytest.raises(OptionError, match="must be"):
        method(words)
