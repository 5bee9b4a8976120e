"""Intervals over seeds and over samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clframe.errors import DataError, OptionError
from clframe.eval.metrics import Curves, min_acc
from clframe.eval.statistics import Summary, min_acc_interval, paired_difference, summarise


def test_student_interval_by_hand() -> None:
    s = summarise([1.0, 2.0, 3.0, 4.0, 5.0], method="t")
    half = 2.7764451 * np.sqrt(2.5 / 5)
    assert (s.n, s.mean, s.missing, s.method, s.level) == (5, 3.0, 0, "t", 0.95)
    assert s.std == pytest.approx(np.sqrt(2.5))
    assert (s.low, s.high) == pytest.approx((3 - half, 3 + half))


def test_bootstrap_interval_is_near_the_normal_one_for_many_values() -> None:
    x = np.random.default_rng(0).normal(size=400)
    s = summarise(x.tolist(), method="bootstrap")
    half = 1.96 * x.std(ddof=1) / 20
    assert (s.low, s.high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.01)
    assert s.method == "bootstrap"


def test_auto_takes_student_below_ten_seeds() -> None:
    values = [0.1 * i for i in range(10)]
    assert summarise(values[:9]) == summarise(values[:9], method="t")
    assert summarise(values) == summarise(values, method="bootstrap")


def test_the_bootstrap_has_its_own_generator() -> None:
    values = [0.1 * i**0.5 for i in range(12)]
    np.random.seed(1)  # noqa: NPY002
    first = summarise(values, seed=3)
    np.random.random(5)  # noqa: NPY002
    assert summarise(values, seed=3) == first
    assert summarise(values, seed=4).low != first.low


def test_undefined_values_are_left_out_and_counted() -> None:
    assert summarise([0.5, None, 0.7, None]).missing == 2
    assert summarise([0.5, None, 0.7, None]).mean == pytest.approx(0.6)
    assert summarise([None]) == Summary(0, None, None, None, None, "none", 0.95, 1)
    assert summarise([]) == Summary(0, None, None, None, None, "none", 0.95, 0)


def test_one_value_gives_no_interval() -> None:
    assert summarise([0.5]) == Summary(1, 0.5, None, None, None, "none", 0.95, 0)


def test_wrong_arguments_get_a_sentence() -> None:
    with pytest.raises(OptionError, match="level must be"):
        summarise([1.0, 2.0], level=95)
    with pytest.raises(OptionError, match="method must be"):
        summarise([1.0, 2.0], method="bca")  # type: ignore[arg-type]
    for bad in (float("nan"), float("inf")):
        with pytest.raises(DataError, match="finite or None"):
            summarise([1.0, bad])


def test_a_higher_level_gives_a_wider_interval() -> None:
    for method in ("t", "bootstrap"):
        widths = []
        for level in (0.5, 0.8, 0.95, 0.99):
            s = summarise([0.1, 0.4, 0.2, 0.9, 0.3], level=level, method=method)
            assert s.low is not None
            assert s.high is not None
            widths.append(s.high - s.low)
        assert widths == sorted(widths)


def test_coverage_at_five_seeds_is_why_auto_takes_student() -> None:
    """300 draws of 5 normal values: Student covers about 95 %, the percentile bootstrap about 84 %."""
    draws = np.random.default_rng(0).normal(size=(300, 5))
    covered = {"t": 0, "bootstrap": 0}
    for x in draws:
        for method in ("t", "bootstrap"):
            s = summarise(x.tolist(), method=method)
            assert s.low is not None
            assert s.high is not None
            covered[method] += s.low <= 0.0 <= s.high
    assert 0.92 <= covered["t"] / 300 <= 0.98
    assert 0.78 <= covered["bootstrap"] / 300 <= 0.89


def test_paired_difference_sees_what_separate_intervals_hide() -> None:
    level = [0.5, 0.6, 0.7, 0.8, 0.9]
    a = {seed: v + 0.02 + 0.001 * seed for seed, v in enumerate(level)}
    b = dict(enumerate(level))
    first, second, difference = summarise(a.values()), summarise(b.values()), paired_difference(a, b)
    assert first.low is not None
    assert second.high is not None
    assert first.low < second.high
    assert difference.low is not None
    assert difference.low > 0
    assert difference.mean == pytest.approx(0.022)


def test_paired_difference_pairs_by_seed_and_counts_what_lacks_a_partner() -> None:
    d = paired_difference({2: 0.5, 1: 0.9, 7: None}, {1: 0.8, 2: 0.3, 7: 0.1, 9: 0.2})
    assert (d.n, d.missing, d.mean) == (2, 2, pytest.approx(0.15))
    with pytest.raises(DataError, match="must share seeds"):
        paired_difference({0: 0.5}, {1: 0.5})


def table_with_bits(correct: np.ndarray, end: int) -> pd.DataFrame:
    """Two experiences; correct (T, S) of the first at n = 0, 1, ..., T - 1; the second is always right."""
    rows = []
    for n, bits in enumerate(correct):
        for i, b in enumerate((bits, np.ones_like(bits))):
            if i == 0 or n in (0, end) or n > end:
                rows.append((n, -1 if n == 0 else int(n > end), i, int(b.sum()), len(b), "full", np.packbits(b).tobytes()))
    return pd.DataFrame(rows, columns=["n", "trained", "evaluated", "correct", "total", "subset", "bits"])


def dipping(generator: np.random.Generator, samples: int) -> np.ndarray:
    """Per-sample correctness (61, samples): 0.9 until update 20, then down to 0.3 and back."""
    level = 0.9 - 0.6 * np.exp(-np.maximum(np.arange(61) - 21, 0) / 10) * (np.arange(61) > 20)
    return generator.random(samples)[None] < level[:, None]


def test_min_acc_interval_holds_the_value_and_narrows_with_samples() -> None:
    generator = np.random.default_rng(0)
    widths = []
    for samples in (100, 1603):
        rows = table_with_bits(dipping(generator, samples), end=20)
        interval = min_acc_interval(rows)
        assert interval is not None
        assert interval.value == min_acc(Curves.from_rows(rows))
        assert interval.low < interval.value < interval.high
        widths.append(interval.high - interval.low)
    assert widths[0] == pytest.approx(2 * 1.96 * np.sqrt(0.3 * 0.7 / 100), rel=0.25)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.25)


def test_min_acc_interval_covers_the_truth_of_a_clear_dip() -> None:
    generator = np.random.default_rng(1)
    hits = 0
    for seed in range(100):
        interval = min_acc_interval(table_with_bits(dipping(generator, 200), end=20), resamples=200, seed=seed)
        assert interval is not None
        hits += interval.low <= 0.3 <= interval.high
    assert 87 <= hits <= 100


def test_min_acc_interval_does_not_depend_on_the_order_of_rows() -> None:
    rows = table_with_bits(dipping(np.random.default_rng(2), 50), end=20)
    assert min_acc_interval(rows, seed=5) == min_acc_interval(rows.sample(frac=1, random_state=0), seed=5)


def test_min_acc_interval_is_none_with_one_experience_and_needs_bits() -> None:
    rows = table_with_bits(dipping(np.random.default_rng(3), 50), end=20)
    assert min_acc_interval(rows[rows.n <= 20]) is None
    with pytest.raises(DataError, match="must have a column bits"):
        min_acc_interval(rows.drop(columns="bits"))
    for missing in (b"", None):
        with pytest.raises(DataError, match="Bits must hold 50 samples"):
            min_acc_interval(rows.assign(bits=[missing] * len(rows)))
    with pytest.raises(DataError, match="add up to the column correct"):
        min_acc_interval(rows.assign(correct=(rows.correct - 1).clip(lower=0)))
    with pytest.raises(OptionError, match="resamples must be"):
        min_acc_interval(rows, resamples=10)
