"""Strata: columns, their quantiles, several at once; floors; methods inside strata; intervals where strata have few rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clframe.errors import DataError, OptionError
from clframe.selection import pool_of, select
from clframe.selection.clustering import KMeans, cluster
from clframe.selection.coverage import of_strata
from clframe.selection.draws.hashing import hashed
from clframe.selection.estimate import stratified_mean
from clframe.selection.methods.strata import sizes_of, within

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(4000, 3))
LOSS = np.exp(X[:, 0] + 0.3 * RANDOM.normal(size=4000))
LABEL = np.where(X[:, 1] > 1.2, "rare", "usual")
TIME = np.arange(4000) / 100
POOL = pool_of(X, loss=LOSS, label=LABEL, time=TIME)


def test_a_pool_is_cut_at_quantiles_and_crossed_with_a_column() -> None:
    coreset = select(POOL, 200, "stratified(by=label+time:4,allocation=equal)")
    table = coreset.manifest["facts"]["of_strata"]
    assert len(table) == 8 and {t["chosen"] for t in table.values()} == {25}
    assert list(table) == [f"{label}+{h}/4" for label in ("rare", "usual") for h in (1, 2, 3, 4)]
    for name, counts in table.items():
        label, (low, high) = name.partition("+")[0], counts["time"]
        here = (label == LABEL) & (low <= TIME) & (high >= TIME)
        assert counts["rows"] == here.sum() and here[coreset.rows].sum() == 25
        np.testing.assert_allclose(coreset.weights[here[coreset.rows]].sum(), here.sum())


def test_floors_by_name_are_kept_and_the_rest_is_in_proportion() -> None:
    coreset = select(POOL, 100, "stratified(by=label,floor={'rare':40})")
    rare = coreset.manifest["facts"]["of_strata"]["rare"]
    assert rare["chosen"] == 40 > 100 * rare["rows"] / 4000


def test_parts_are_called_by_their_number_and_are_in_the_order_of_their_values() -> None:
    coreset = select(POOL, 240, "stratified(by=time:12,floor={'1/12':60,'11/12':30})")
    table = coreset.manifest["facts"]["of_strata"]
    assert list(table) == [f"{h}/12" for h in range(1, 13)]
    assert [table[name]["chosen"] for name in ("1/12", "2/12", "11/12")] == [60, 15, 30]
    ends = [v for one in table.values() for v in one["time"]]
    assert ends == sorted(ends) and ends[0] == 0 and ends[-1] == TIME[-1]
    shown = of_strata(coreset.choice)
    assert shown is not None and shown.parts[0] == "1/12: 0 to 3.33" and shown.parts[9].startswith("10/12: ")


def test_parts_without_rows_are_left_out_and_the_others_keep_their_names() -> None:
    pool = pool_of(np.zeros((100, 1)), hour=[0] * 60 + [5] * 20 + [9] * 20)
    made = select(pool, 20, "stratified(by=hour:4)").manifest["facts"]["of_strata"]
    assert {name: one["hour"] for name, one in made.items()} == {"1/4": [0, 0], "3/4": [5, 5], "4/4": [9, 9]}
    with pytest.raises(OptionError, match=r"stratum must be a known name; got '2/4'.*Known: 1/4, 3/4, 4/4"):
        select(pool, 20, "stratified(by=hour:4,floor={'2/4':3})")


@pytest.mark.parametrize(
    "inside", ["sensitivity(pilot=30)", "k-center", "uniform", "greg(controls=label)", "stratified(by=time:3)"]
)
def test_weights_of_a_method_inside_strata_add_up_and_the_mean_is_right(inside: str) -> None:
    coreset = select(POOL, 400, f"stratified(by=label,floor=60,inside={inside})")
    assert len(np.unique(coreset.rows)) == len(coreset) <= 400
    assert (coreset.choice.stratum == (LABEL[coreset.rows] == "usual")).all()
    if "k-center" in inside:
        assert coreset.mean_loss is None
        return
    assert coreset.mean_loss is not None and abs(coreset.mean_loss.mean - LOSS.mean()) < 4 * coreset.mean_loss.error
    if "sensitivity" not in inside:  # the sum of its weights is random
        np.testing.assert_allclose(coreset.weights.sum(), 4000)


def test_a_method_inside_strata_is_unbiased() -> None:
    pool, truth = pool_of(X[:300], loss=LOSS[:300], label=LABEL[:300], time=TIME[1000:1300]), LOSS[:300].mean()
    found = [
        select(pool, 60, "stratified(by=label,inside=scored(column=time,how=proportional))", seed=s).mean_loss for s in range(200)
    ]
    means = np.array([f.mean for f in found if f is not None])
    assert abs(means.mean() - truth) < 4 * means.std(ddof=1) / np.sqrt(200) + 1e-9
    assert np.mean([f.low - 1e-9 < truth < f.high + 1e-9 for f in found if f is not None]) > 0.9


@pytest.mark.parametrize("k", [60, 240])
def test_intervals_hold_where_cells_have_few_rows(k: int) -> None:
    cells = cluster(POOL, KMeans(k=k), seed=0)
    found = [select(POOL, 260, "stratified", seed=s, clustering=cells).mean_loss for s in range(250)]
    assert np.mean([f.low < LOSS.mean() < f.high for f in found if f is not None]) >= 0.92


def test_one_row_of_each_stratum_is_enough_for_an_interval_that_is_too_wide_rather_than_too_narrow() -> None:
    found = stratified_mean(np.array([1.0, 2.0, 3.0]), np.arange(3), {0: 10, 1: 10, 2: 10})
    plain = np.array([1.0, 2.0, 3.0]).std(ddof=1) / np.sqrt(3) * np.sqrt(0.9)
    assert found.mean == 2 and found.freedom == 2 and found.error == pytest.approx(plain)
    assert stratified_mean(np.array([1.0]), np.zeros(1, dtype=int), {0: 10}).error == np.inf
    assert stratified_mean(np.array([1.0, 3.0]), np.arange(2), {0: 1, 1: 1}).error == 0


def test_rows_within_strata_are_those_with_the_smallest_numbers_however_many_are_taken() -> None:
    stratum = np.random.default_rng(1).integers(5, size=50_000)
    sizes, taken = sizes_of(stratum, 6), np.array([1, 500, 0, 9_000, 3, 0])
    rows = within(stratum, sizes, taken, seed=3)
    number = hashed(np.arange(50_000), 3)
    for h in range(5):
        mine = np.flatnonzero(stratum == h)
        assert set(rows[stratum[rows] == h]) == set(mine[np.argsort(number[mine])[: taken[h]]])


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("stratified(by=time)", "size must be at least 4,000, the floors of the 4,000 strata of 'time'.*by='NAME:10'"),
        ("stratified(by=time:1)", "by must be NAME:PARTS with two or more parts; got 'time:1'"),
        ("stratified(by=label:3)", "column 'label' must hold numbers; got text"),
        ("stratified(by=label,floor={'rar':3})", "stratum must be a known name; got 'rar'. Did you mean 'rare'"),
        ("stratified(by=label,floor={'rare':0})", "floor must be a positive number of rows"),
        ("stratified(by=label,floor=0)", "floor must be a positive integer"),
        ("stratified(by=label,inside=unifrm)", "method must be a known name; got 'unifrm'"),
        ("stratified(by=label+tim:3)", "column must be a known name; got 'tim'"),
    ],
)
def test_what_breaks_a_rule_is_refused_in_a_sentence(method: str, says: str) -> None:
    call: Any = select
    with pytest.raises((OptionError, DataError), match=says):
        call(POOL, 100, method)


def test_a_floor_above_the_rows_of_its_stratum_is_refused() -> None:
    pool = pool_of(np.zeros((20, 1)), label=["a"] * 17 + ["b"] * 3)
    with pytest.raises(OptionError, match="floor must be at most 3, the rows of stratum 'b'; got 5"):
        select(pool, 10, "stratified(by=label,floor={'b':5})")
