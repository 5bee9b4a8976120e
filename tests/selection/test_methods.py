"""Coresets: unbiased estimates, intervals that hold, a bound that is kept, and a choice that is never much worse than uniform."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest

from clframe.errors import DataError, OptionError
from clframe.selection import Losses, Pool, load, pool_of, select
from clframe.selection.choice import Ask
from clframe.selection.clustering import Clustering, KMeans, cluster
from clframe.selection.estimate import draws_needed
from clframe.selection.methods import method
from clframe.selection.methods.greg import calibrated, regressed

N, M = 3000, 300


@cache
def world(kind: str) -> tuple[Pool, np.ndarray, Clustering]:
    """3,000 rows in 8 dimensions; losses that follow the embedding, or the same ones shuffled, and skewed either way."""
    random = np.random.default_rng(5)
    centres = random.normal(scale=3, size=(30, 8))
    of = random.integers(30, size=N)
    x = centres[of] + random.normal(scale=0.4, size=(N, 8))
    loss = np.exp(random.normal(scale=1.2, size=30))[of] * np.exp(0.3 * random.normal(size=N))
    if kind == "shuffled":
        loss = random.permutation(loss)
    label = of % 5
    pool = pool_of(x, label=label, proxy=loss * np.exp(0.2 * random.normal(size=N)) if kind == "proxy" else None)
    return pool, loss, cluster(pool, KMeans(k=30), seed=0)


def estimates(words: str, kind: str, repeats: int, size: int = M) -> tuple[np.ndarray, np.ndarray, float]:
    """Means and whether the interval held, over repeats."""
    pool, loss, cells = world(kind)
    made, held, truth = [], [], float(loss.mean())
    for seed in range(repeats):
        found = method(words)(Ask(pool, size, seed, Losses(loss, N), lambda: cells)).estimate
        assert found is not None
        made.append(found.mean)
        held.append(found.low <= truth <= found.high)
    return np.array(made), np.array(held), truth


SAMPLERS = (
    "uniform",
    "stratified",
    "stratified(by=label,allocation=equal)",
    "sensitivity(pilot=100)",
    "sensitivity(pilot=100,draw=systematic,mixture=0.5)",
    "sensitivity(lam=0.1)",
    "adaptive",
)


@pytest.mark.parametrize("kind", ["follows", "shuffled"])
@pytest.mark.parametrize("words", SAMPLERS)
def test_means_are_unbiased_and_intervals_hold(words: str, kind: str) -> None:
    found, held, truth = estimates(words, kind, 500)
    assert abs(found.mean() - truth) < 4 * found.std(ddof=1) / np.sqrt(len(found))
    assert 0.92 - 2 * 0.0116 < held.mean() <= 1.0  # two standard errors of a share of .93 below what is asked for


@pytest.mark.parametrize("words", ["greg", "auto"])
def test_means_that_are_unbiased_up_to_order_one_over_m(words: str) -> None:
    found, held, truth = estimates(words, "proxy", 400)
    assert abs(found.mean() - truth) < 4 * found.std(ddof=1) / np.sqrt(len(found)) + 2 * found.std(ddof=1) / M
    assert held.mean() > 0.9


def error(words: str, kind: str, repeats: int = 300) -> float:
    found, _, truth = estimates(words, kind, repeats)
    return float(np.sqrt(((found - truth) ** 2).mean()))


def test_where_losses_follow_the_embedding_structure_pays() -> None:
    uniform = error("uniform", "follows")
    assert error("auto", "follows") < 0.65 * uniform
    assert error("stratified", "follows") < 0.6 * uniform
    assert error("greg", "proxy") < 0.6 * error("uniform", "proxy")


def test_auto_is_never_much_worse_than_uniform() -> None:
    assert error("auto", "shuffled", 600) < 1.05 * error("uniform", "shuffled", 600)


def test_auto_says_what_it_chose_and_asks_for_no_loss_beside_those_of_its_rows() -> None:
    for kind, chosen in (("shuffled", {"uniform"}), ("follows", {"stratified"})):
        pool, loss, cells = world(kind)
        coreset = select(pool, M, "auto", loss=loss, clustering=cells)
        facts = coreset.manifest["facts"]
        share = f"{100 * facts['candidates']['stratified']['variance'] / facts['candidates']['uniform']['variance']:.0f} % of"
        assert facts["chosen"] in chosen and facts["reason"].startswith(f"by a pilot of {facts['pilot']} losses, ")
        assert (share in facts["reason"]) == (kind == "follows")
        assert coreset.manifest["queries"] == len(coreset)


@pytest.mark.parametrize(("proxy", "chosen"), [("older", {"calibrated"}), ("useless", {"uniform", "calibrated"})])
def test_auto_calibrates_to_the_losses_of_an_older_model(proxy: str, chosen: set[str]) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(4000, 3))
    older = np.exp(x[:, 0] + 0.5 * random.normal(size=4000))
    loss = older * np.exp(0.3 * random.normal(size=4000))
    pool = pool_of(x, loss=loss, proxy=older if proxy == "older" else random.permutation(older))
    made = [[select(pool, 150, how, seed=s, k=10) for s in range(40)] for how in ("uniform", "auto")]
    uniform, auto = (math.sqrt(np.mean([(c.mean_loss.mean - loss.mean()) ** 2 for c in some if c.mean_loss])) for some in made)
    assert auto < (0.5 if proxy == "older" else 1.1) * uniform
    assert np.mean([c.mean_loss.low < loss.mean() < c.mean_loss.high for c in made[1] if c.mean_loss]) >= 0.85
    assert {c.manifest["facts"]["chosen"] for c in made[1]} <= chosen | ({"stratified"} if proxy == "useless" else set())


def test_auto_says_how_many_rows_it_needs_to_tell_anything() -> None:
    pool, loss, cells = world("follows")
    said = [select(pool, m, "auto", loss=loss, clustering=cells).manifest["facts"]["reason"] for m in (60, 67)]
    assert said[0] == "a pilot of 18 rows is too small to tell anything from, which needs a size of 67"
    assert said[1].startswith("by a pilot of 20 losses, ")


def test_equal_losses_in_cells_of_no_width_are_sampled_uniformly() -> None:
    pool = pool_of(np.repeat(np.eye(4), 25, axis=0))
    choice = method("sensitivity(pilot=10,mixture=0)")(
        Ask(pool, 20, 0, Losses(np.full(100, 2.0), 100), lambda: cluster(pool, KMeans(k=4, seeding="k-means++"), seed=0))
    )
    assert choice.expected.tolist() == pytest.approx([0.2] * len(choice.rows))
    assert choice.estimate is not None and choice.estimate.mean == pytest.approx(2.0) and choice.estimate.half < 1e-6


def test_the_theorem_holds_where_its_assumption_does() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(4000, 3))
    pool = pool_of(x)
    cells = cluster(pool, KMeans(k=60), seed=0)
    lam, epsilon, delta = 0.7, 0.1, 0.05
    far = cells.distance.astype(float)
    loss = random.exponential(size=60)[cells.cell] + lam * far * random.uniform(0, 1, size=4000)
    size, bound = draws_needed(epsilon, delta), epsilon * (loss.sum() + 2 * lam * far.sum())
    failures = 0
    for seed in range(200):
        found = method(f"sensitivity(lam={lam},mixture=0)")(Ask(pool, size, seed, Losses(loss, 4000), lambda: cells))
        failures += abs((found.weight * loss[found.rows]).sum() - loss.sum()) > bound
    assert failures <= delta * 200


def test_losses_of_centres_pilot_and_rows_are_counted_once_each() -> None:
    pool, loss, cells = world("follows")
    asked: list[np.ndarray] = []

    def oracle(rows: np.ndarray) -> np.ndarray:
        asked.append(rows)
        return loss[rows]

    coreset = select(pool, M, "sensitivity(pilot=100)", loss=oracle, clustering=cells)
    every = np.concatenate(asked)
    assert len(every) == len(set(every.tolist())) == coreset.manifest["queries"] <= 30 + 100 + M


def test_calibrated_weights_give_back_what_is_known() -> None:
    pool, loss, _ = world("proxy")
    coreset = select(pool, 200, "greg", loss=loss)
    label, proxy = pool.columns["label"], pool.columns["proxy"]
    for value in range(5):
        assert coreset.weights[label[coreset.rows] == value].sum() == pytest.approx((label == value).sum())
    assert (coreset.weights * proxy[coreset.rows]).sum() == pytest.approx(proxy.sum())


def test_the_same_seed_chooses_the_same_rows_from_memory_and_from_a_file(tmp_path: Any) -> None:
    from clframe.selection import open_pool

    pool, loss, _ = world("follows")
    x = pool.vectors.read(0, N)
    np.save(tmp_path / "a.npy", x[:1000])
    np.save(tmp_path / "b.npy", x[1000:])
    for words in ("uniform", "sensitivity(pilot=50)", "auto", "stratified"):
        here = select(pool_of(x), 200, words, loss=loss, k=20, seed=3)
        there = select(open_pool([tmp_path / "a.npy", tmp_path / "b.npy"]), 200, words, loss=loss, k=20, seed=3)
        assert here.rows.tolist() == there.rows.tolist() and here.weights.tolist() == there.weights.tolist()
        assert select(pool_of(x), 200, words, loss=loss, k=20, seed=4).rows.tolist() != here.rows.tolist()


X = np.random.default_rng(0).normal(size=(50, 2))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: select(pool_of(X), 51), "size must be between 1 and the 50 rows of the pool; got 51"),
        (lambda: select(pool_of(X, loss=np.ones(50)), 40, k=60), "k must be at most the 50 rows of the pool; got 60"),
        (
            lambda: select(pool_of(X), 10, k=5, kmeans=KMeans(k=6)),
            "k must be left out where kmeans or a clustering is given; got 5",
        ),
        (
            lambda: select(pool_of(X), 10, clustering=world("follows")[2]),
            "clustering must be of the 50 rows of the pool; got 3,000",
        ),
        (lambda: select(pool_of(X), 10, "sensitivity"), "method 'sensitivity' needs losses; got none"),
        (lambda: select(pool_of(X), 10, "sensitivty"), "Did you mean 'sensitivity'"),
        (
            lambda: select(pool_of(X, loss=-np.ones(50)), 10),
            "column 'loss' must hold finite numbers of at least 0; got -1 in rows 0, 1, 2 and 47 more",
        ),
        (lambda: select(pool_of(X), 10, "uniform", loss=lambda rows: -1.0 * (rows == rows[1])), "got -1 in row"),
        (lambda: select(pool_of(X), 10, "uniform", loss=np.ones(49)), "losses must be one for each of the 50 rows; got 49"),
        (lambda: pool_of(X, label=[1, 2]), "column 'label' must have one value for each of the 50 embeddings; got 2"),
        (lambda: pool_of(X, ids=[3, *range(49)]), "ids must differ; got .*3.* in rows 0 and 4"),
        (lambda: select(pool_of(X), 10, "stratified(by=labl)"), "must have a column 'labl'; got embeddings alone"),
        (
            lambda: select(pool_of(X, label=range(50)), 10, "stratified(by=label)"),
            "size must be at least 50, the floors of the 50 strata of 'label'",
        ),
        (lambda: select(pool_of(X, label=range(50)), 10, "greg"), "controls must be few enough labels for 10 rows"),
        (lambda: pool_of(np.zeros(5)), r"must hold numbers of shape \(n, d\)"),
    ],
)
def test_what_breaks_a_rule_is_refused_in_a_sentence(call: Any, says: str) -> None:
    with pytest.raises((OptionError, DataError), match=says):
        call()


def test_rows_with_nan_are_named() -> None:
    broken = X.copy()
    broken[[7, 9]] = np.nan
    with pytest.raises(DataError, match="embeddings must be finite; got NaN or infinity in rows 7 and 9"):
        select(pool_of(broken, loss=np.ones(50)), 40, "sensitivity(pilot=5)")


def test_rows_that_are_all_alike_leave_no_empty_stratum() -> None:
    pool = pool_of(np.repeat(np.eye(3), 40, axis=0))
    for words in ("stratified", "auto(pilot=0.5)", "sensitivity(pilot=9)", "adaptive"):
        coreset = select(pool, 60, words, loss=np.tile([1.0, 2.0, 3.0, 4.0], 30), k=12)
        assert coreset.mean_loss is not None and coreset.mean_loss.low < 2.5 < coreset.mean_loss.high
        assert np.isfinite(coreset.weights).all()


@pytest.mark.parametrize("size", [1, 2, 30, 67, 70])
def test_auto_finds_room_whatever_the_size(size: int) -> None:
    pool, loss, cells = world("follows")
    assert select(pool, size, "auto(pilot=0.9)", loss=loss, clustering=cells).choice.count.sum() == size


def test_one_row_has_an_interval_without_ends(tmp_path: Any) -> None:
    coreset = select(pool_of(X), 1, "uniform", loss=[2.0] * 50)
    assert coreset.manifest["mean_loss"]["low"] is None
    again = load(coreset.save(tmp_path / "one")).mean_loss
    assert again is not None and again.low == -np.inf and again.mean == 2.0


def test_the_interval_of_calibrated_weights_holds_where_losses_are_skewed_and_few() -> None:
    random, n, m, held = np.random.default_rng(0), 20_000, 100, 0
    proxy = random.exponential(size=n)
    loss = proxy * np.exp(0.6 * random.normal(size=n))
    x = np.stack([np.ones(n), proxy], 1)
    for _ in range(1000):
        rows = random.choice(n, m, replace=False)
        weight, kept = calibrated(x[rows], x.sum(0), n)
        found = regressed(loss[rows], x[rows][:, kept], weight, n)
        held += found.low < loss.mean() < found.high
    assert held > 915  # of residuals without factors, 901
