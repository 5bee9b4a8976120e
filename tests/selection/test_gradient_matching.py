"""CRAIG and GradMatch: the greedy choice by brute force, weights, bounds, and what refits give."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from clframe.errors import DataError, OptionError
from clframe.selection import pool_of
from clframe.selection.choice import Ask, Choice
from clframe.selection.methods import greedy_cover as covers
from clframe.selection.methods import method
from clframe.selection.methods.grad_match import matched, nonnegative
from clframe.selection.methods.greedy_cover import greedy_cover


def plain_greedy(x: np.ndarray, size: int) -> list[int]:
    far = np.linalg.norm(x[:, None] - x[None], axis=2)
    chosen: list[int] = []
    while len(chosen) < size:
        costs = np.array([np.inf if j in chosen else far[:, [*chosen, j]].min(1).sum() for j in range(len(x))])
        chosen.append(int(np.flatnonzero(costs <= costs.min() + 1e-8)[0]))  # the first of equal gains
    return chosen


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("look", [1, 7, 512])
def test_the_lazy_choice_is_the_plain_greedy_one(seed: int, look: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covers, "LOOK", look)
    x = np.random.default_rng(seed).standard_t(3, size=(60, 3)) + 100
    found = greedy_cover(x, 20)
    assert found.chosen.tolist() == plain_greedy(x, 20)
    far = np.linalg.norm(x[:, None] - x[found.chosen][None], axis=2)
    np.testing.assert_allclose(found.distance, far.min(1), atol=1e-9)
    assert found.owner.tolist() == far.argmin(1).tolist()
    assert (np.diff(found.gain[1:]) <= 1e-9).all()


def test_the_greedy_choice_is_near_the_best_one() -> None:
    x = np.random.default_rng(0).normal(size=(14, 2))
    far = np.linalg.norm(x[:, None] - x[None], axis=2)
    best = min(far[:, list(s)].min(1).sum() for s in combinations(range(14), 3))
    empty = 14 * far.max()
    assert empty - greedy_cover(x, 3).distance.sum() >= (1 - 1 / np.e) * (empty - best)


def test_rows_that_are_the_same_stand_for_themselves_at_least() -> None:
    found = greedy_cover(np.repeat(np.array([[0.0, 1.0], [5.0, 5.0]]), 4, axis=0), 6)
    assert found.chosen.tolist() == [0, 4, 1, 2, 3, 5]
    assert found.sizes.min() >= 1 and found.sizes.sum() == 8 and found.distance.max() == 0


RANDOM = np.random.default_rng(4)
LABEL = np.sort(RANDOM.integers(3, size=300))
G = RANDOM.normal(size=(3, 6))[LABEL] + RANDOM.normal(size=(300, 6)) * RANDOM.exponential(size=(300, 1))
POOL, UNLABELLED = pool_of(G, label=LABEL), pool_of(G)


def gap(choice: Choice) -> float:
    return float(np.linalg.norm(G.sum(0) - choice.weight @ G[choice.rows])) / 300


def test_craig_weighs_rows_by_what_they_stand_for_and_keeps_its_bound() -> None:
    for pool, words in ((POOL, "craig"), (UNLABELLED, "craig"), (POOL, "craig(by=none)")):
        choice = method(words)(Ask(pool, 30, 0))
        assert len(choice.rows) == 30 and choice.weight.sum() == 300 and choice.weight.min() >= 1
        assert choice.facts["gradient_error"] == pytest.approx(gap(choice), abs=1e-6)
        assert choice.facts["gradient_error"] <= choice.facts["distance"]
        assert choice.estimate is None and np.isnan(choice.expected).all()


def test_craig_chooses_within_each_label() -> None:
    choice = method("craig")(Ask(POOL, 30, 0))
    assert choice.stratum.tolist() == LABEL[choice.rows].tolist()
    for h, size in enumerate(np.bincount(LABEL)):
        own = choice.stratum == h
        rows = np.flatnonzero(h == LABEL)
        assert abs(own.sum() - size / 10) < 1 and choice.weight[own].sum() == size
        assert choice.rows[own].tolist() == sorted(rows[plain_greedy(G.astype(np.float32)[rows], int(own.sum()))].tolist())
    whole = method("craig(by=none)")(Ask(POOL, 30, 0))
    assert whole.rows.tolist() == method("craig")(Ask(UNLABELLED, 30, 0)).rows.tolist() != choice.rows.tolist()
    assert method("craig")(Ask(POOL, 30, 7)).rows.tolist() == choice.rows.tolist()


@pytest.mark.parametrize("lam", [0.0, 0.3])
def test_refits_are_the_best_over_all_supports(lam: float) -> None:
    for seed in range(10):
        random = np.random.default_rng(seed)
        g, target = random.normal(size=(5, 3 if lam else 6)), random.normal(size=3 if lam else 6)

        def cost(u: np.ndarray, g: np.ndarray = g, target: np.ndarray = target) -> float:
            return float(((u @ g - target) ** 2).sum() + lam * (u**2).sum())

        best = cost(np.zeros(5))
        for k in range(1, 6):
            for support in map(list, combinations(range(5), k)):
                u = np.zeros(5)
                u[support] = np.linalg.solve(g[support] @ g[support].T + lam * np.eye(k), g[support] @ target)
                best = min(best, cost(u) if u.min() >= 0 else np.inf)
        found = nonnegative(g, target, lam)
        assert found.min() >= 0 and cost(found) == pytest.approx(best, abs=1e-9)


def test_each_row_is_the_one_that_what_is_left_points_to() -> None:
    rows, _ = matched(G, 8, ridge=0.05, refits=100)
    lam, target = 0.05 * (G**2).sum(1).mean(), G.mean(0)
    chosen: list[int] = []
    for _ in range(8):
        u = nonnegative(G[chosen], target, lam) if chosen else np.empty(0)
        pull = G @ (target - u @ G[chosen])
        pull[chosen] = -np.inf
        chosen.append(int(pull.argmax()))
    assert set(rows.tolist()) <= set(chosen) and rows[0] == chosen[0]


def test_without_a_ridge_the_mean_is_met_and_few_rows_are_needed() -> None:
    choice = method("grad-match(ridge=0,by=none)")(Ask(POOL, 50, 0))
    assert gap(choice) < 1e-5 and len(choice.rows) <= 7
    assert choice.facts["missing"] == 50 - len(choice.rows) and choice.weight.min() > 0


@pytest.mark.parametrize("words", ["grad-match", "grad-match(refits=3)", "grad-match(by=none,ridge=0.1)"])
def test_gradients_are_matched_better_than_by_a_random_choice(words: str) -> None:
    choice = method(words)(Ask(POOL, 40, 0))
    assert choice.facts["gradient_error"] == pytest.approx(gap(choice), abs=1e-6)
    random = np.mean([gap(method("uniform")(Ask(POOL, 40, seed))) for seed in range(20)])
    assert gap(choice) < 0.2 * random
    assert len(choice.rows) + choice.facts["missing"] == 40 and choice.estimate is None
    again = method(words)(Ask(POOL, 40, 9))
    assert again.rows.tolist() == choice.rows.tolist() and again.weight.tolist() == choice.weight.tolist()


def test_a_choice_by_gradients_does_not_depend_on_their_scale() -> None:
    one, scaled = (method("grad-match")(Ask(pool_of(G * s, label=LABEL), 30, 0)) for s in (1.0, 1024.0))
    assert one.rows.tolist() == scaled.rows.tolist()
    np.testing.assert_allclose(one.weight, scaled.weight, rtol=1e-6)


def test_a_larger_ridge_spreads_the_weights() -> None:
    small, large = (method(f"grad-match(ridge={r},by=none)")(Ask(POOL, 30, 0)).weight for r in (1e-6, 1.0))
    assert (small**2).sum() / small.sum() ** 2 > (large**2).sum() / large.sum() ** 2


def test_gradients_that_cancel_leave_one_row() -> None:
    choice = method("grad-match")(Ask(pool_of([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]), 2, 0))
    assert choice.rows.tolist() == [2] and choice.weight.tolist() == [3.0] and choice.facts["missing"] == 1


@pytest.mark.parametrize("words", ["grad-match(ridge=-1.0)", "grad-match(refits=0)"])
def test_options_that_break_a_rule_are_refused(words: str) -> None:
    with pytest.raises(OptionError, match="must be"):
        method(words)


@pytest.mark.parametrize("name", ["craig", "grad-match"])
def test_what_cannot_be_matched_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="column must be a known name; got 'task'"):
        method(f"{name}(by=task)")(Ask(POOL, 5, 0))
    with pytest.raises(OptionError, match="size must be at least 3"):
        method(name)(Ask(POOL, 2, 0))
    x = np.zeros((4, 2))
    x[2, 0] = np.inf
    with pytest.raises(DataError, match="embeddings must be finite; got NaN or infinity in row 2"):
        method(name)(Ask(pool_of(x, label=[1, 0, 0, 1]), 2, 0))
