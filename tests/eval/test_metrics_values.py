"""Known answers: dips, saw-teeth, constants, and the defects of published code."""

from __future__ import annotations

from dataclasses import asdict, fields

import numpy as np
import pytest

from clframe.errors import DataError, OptionError
from clframe.eval import metrics as m
from clframe.eval.metrics import METRICS, Curves, Metric, Metrics, compute

NAN = float("nan")


def of_matrix(matrix: list[list[float]] | np.ndarray, sizes: list[int] | None = None) -> Curves:
    """Boundaries only: row 0 is the initial model, one update an experience."""
    k = len(matrix) - 1
    return Curves.from_arrays(range(k + 1), np.asarray(matrix, dtype=float), ends=range(1, k + 1), sizes=sizes)


def two(first: list[float], second: list[float]) -> Curves:
    """Two experiences: 1 update on the first (accuracy `first[0]`), then the curves over the updates on the second."""
    rows = [[0.0, 0.0], *([a, b] for a, b in zip(first, second, strict=True))]
    return Curves.from_arrays(range(len(rows)), rows, ends=[1, len(rows) - 1])


MATRIX = [[0.1, 0.2, 0.3], [0.9, 0.25, 0.3], [0.95, 0.8, 0.4], [0.6, 0.5, 0.7]]


def test_end_of_task_metrics_by_hand() -> None:
    values = compute(of_matrix(MATRIX, sizes=[100, 100, 200]))
    expected = {
        "acc": (0.6 + 0.5 + 0.7) / 3,
        "acc_sample_mean": (0.6 + 0.5 + 2 * 0.7) / 4,
        "average_incremental_accuracy": (0.9 + (0.95 + 0.8) / 2 + 0.6) / 3,
        "la": (0.9 + 0.8 + 0.7) / 3,
        "forgetting_first_last": (0.3 + 0.3) / 2,
        "forgetting_max_final_included": (0.35 + 0.3) / 2,
        "forgetting_max_before_final": (0.35 + 0.3) / 2,
        "bwt": -0.3,
        "bwt_all_rows": (0.05 - 0.3 - 0.3) / 3,
        "fwt": (0.05 + 0.1) / 2,
        "fwt_without_baseline": (0.25 + 0.4) / 2,
        "min_acc": (0.6 + 0.5) / 2,
        "wc_acc": (0.7 + 0.6 + 0.5) / 3,
    }
    assert {name: values[name] for name in expected} == pytest.approx(expected)


def test_the_forgetting_variants_differ_where_accuracy_rises_at_the_end() -> None:
    curves = of_matrix([[0, 0], [0.5, 0], [0.8, 0.9]])
    assert m.forgetting_first_last(curves) == pytest.approx(-0.3)
    assert m.forgetting_max_final_included(curves) == 0.0
    assert m.forgetting_max_before_final(curves) == pytest.approx(-0.3)


def test_two_experiences_have_two_row_forgetting() -> None:
    """continuum's code sums over range(k - 2) and gives 0 here; LibContinual leaves out the previous experience."""
    curves = of_matrix([[0, 0], [0.9, 0], [0.4, 0.9]])
    assert m.forgetting_max_before_final(curves) == pytest.approx(0.5)
    assert m.bwt_all_rows(curves) == pytest.approx(-0.5)


def test_forgetting_divides_by_the_experiences_that_it_sums() -> None:
    """LibContinual: the (k-1)-th experience left out of the sum, the sum still divided by k - 1."""
    r = [[0.0] * 3, [0.8, 0, 0], [0.8, 0.8, 0], [0.6, 0.4, 0.9]]
    libcontinual = (0.8 - 0.6) / 2
    assert m.forgetting_first_last(of_matrix(r)) == pytest.approx((0.2 + 0.4) / 2)
    assert m.forgetting_first_last(of_matrix(r)) != pytest.approx(libcontinual)


@pytest.mark.parametrize(("classes", "step"), [(200, 20), (200, 10), (100, 10), (1000, 100)])
def test_forgetting_does_not_depend_on_how_groups_of_classes_are_spelt(classes: int, step: int) -> None:
    """PyCIL sorts the keys "20-39", "100-119" as strings, which moves columns between rows where their lengths mix."""
    k = classes // step
    r = np.tril(np.random.default_rng(0).uniform(0.1, 0.9, (k, k)))
    keys = [f"{str(i * step).rjust(2, '0')}-{str(i * step + step - 1).rjust(2, '0')}" for i in range(k)]
    as_strings = np.zeros((k, k))
    for j in range(k):
        order = sorted(range(j + 1), key=lambda i: keys[i])
        as_strings[j, : j + 1] = r[j, order]
    right = float((r.max(axis=0) - r[-1])[:-1].mean())
    wrong = float((as_strings.max(axis=0) - as_strings[-1])[:-1].mean())
    ours = m.forgetting_max_final_included(of_matrix(np.vstack([np.zeros(k), r])))
    assert ours == pytest.approx(right)
    assert (wrong != pytest.approx(right)) == (classes == 200)


def test_a_dip_between_boundaries() -> None:
    curves = two([0.9, 0.5, 0.2, 0.6, 0.9, 0.85], [0.0, 0.3, 0.5, 0.7, 0.8, 0.8])
    assert m.min_acc(curves) == 0.2
    assert m.wc_acc(curves) == pytest.approx(0.5 * 0.8 + 0.5 * 0.2)
    assert m.forgetting_first_last(curves) == pytest.approx(0.05)
    assert m.wf(curves, 2) == pytest.approx((0.4 + 0.0) / 2)
    assert m.wf(curves, 3) == pytest.approx((0.7 + 0.0) / 2)
    assert m.wp(curves, 2) == pytest.approx((0.9 + 0.3) / 2)
    assert m.gap_depth(curves) == pytest.approx(0.7)
    assert m.gap_depth(curves, horizon=1) == pytest.approx(0.4)
    assert m.gap_area(curves) == pytest.approx(0.4 + 0.7 + 0.3)
    assert m.recovery_time_median(curves) == m.recovery_time_mean(curves) == 4.0
    assert m.recovered_share(curves) == 1.0
    assert m.relative_dip(curves) == pytest.approx(0.7 / 0.9)
    assert m.lca(curves, beta=3) == pytest.approx(((0.0 + 0.9) / 2 + (0.0 + 0.3 + 0.5 + 0.7) / 4) / 2)
    assert m.aaa(curves) == pytest.approx((0.9 + 0.4 + 0.35 + 0.65 + 0.85 + 0.825) / 6)
    assert m.aaa_calibrated(curves) == pytest.approx((0.45 + 0.4 + 0.35 + 0.65 + 0.85 + 0.825) / 6)


def test_a_saw_tooth_has_its_drop_in_every_window() -> None:
    teeth = [0.8, *[0.4, 0.8] * 10]
    curves = two(teeth, [0.5] * len(teeth))
    for window in (2, 3, 10, 100):
        assert m.wf(curves, window) == pytest.approx(0.4 / 2)
    assert m.min_acc(curves) == 0.4
    assert m.recovery_time_median(curves) == 2.0
    assert m.gap_area(curves) == pytest.approx(0.4)


def test_a_gap_that_opens_late_is_not_recovered_at_the_first_update() -> None:
    curves = two([0.9, 0.9, 0.9, 0.1, 0.5, 0.9], [0.0] * 6)
    assert m.recovery_table(curves).tolist() == [[5.0]]


def test_recovery_that_never_comes() -> None:
    curves = two([0.9, 0.2, 0.8], [0.0] * 3)
    assert m.recovery_table(curves).tolist() == [[float("inf")]]
    assert m.recovery_time_median(curves) is None
    assert m.recovery_time_mean(curves) is None
    assert m.recovered_share(curves) == 0.0
    assert m.recovery_table(curves, tolerance=0.1).tolist() == [[2.0]]


def test_the_table_of_gaps_has_every_boundary_and_every_previous_experience() -> None:
    curves = of_matrix(MATRIX)
    found = {(g.boundary, g.experience): round(g.depth, 6) for g in m.gaps(curves)}
    assert found == {(0, 0): -0.05, (1, 0): 0.35, (1, 1): 0.3}
    table = m.recovery_table(curves)
    assert table[0, 0] == 0.0
    assert np.isnan(table[0, 1])
    assert np.isinf(table[1]).all()


def test_a_constant_model_has_no_gap() -> None:
    """With a subset drawn anew at every update (defect D1) this would fail: see the next test."""
    constant = np.full((40, 3), 0.75)
    curves = Curves.from_arrays(range(40), constant, ends=[13, 26, 39])
    assert m.wf(curves, 10) == m.wp(curves, 10) == m.wf(curves, 100) == 0.0
    assert m.min_acc(curves) == m.acc(curves) == m.wc_acc(curves) == 0.75
    assert m.gap_depth(curves) == m.gap_area(curves) == m.relative_dip(curves) == m.recovery_time_median(curves) == 0.0
    assert m.aaa(curves) == pytest.approx(0.75)


def test_a_subset_drawn_anew_puts_a_floor_under_the_window_and_lowers_the_minimum() -> None:
    """Defect D1 as large as in the released code: Split-MNIST, accuracy .8, 1,000 of 2,000 samples drawn at each update."""
    redrawn = np.random.default_rng(0).hypergeometric(1600, 400, 1000, size=(1901, 2)) / 1000
    curves = Curves.from_arrays(range(1901), redrawn, ends=[1, 1900])
    drop, lowest = m.wf(curves, 10), m.min_acc(curves)
    assert drop is not None
    assert lowest is not None
    assert drop == pytest.approx(0.050, abs=0.01)
    assert 0.8 - lowest == pytest.approx(0.030, abs=0.007)


def test_the_gain_of_a_window_starts_at_its_lowest_value() -> None:
    """Defect D3: the released code gives .4 for [.5, .3, .9]."""
    assert m.windowed(np.array([7, 8, 9]), np.array([0.5, 0.3, 0.9]), 3, 1) == pytest.approx(0.6)
    assert m.windowed(np.array([7, 8, 9]), np.array([0.5, 0.9, 0.3]), 3, -1) == pytest.approx(0.6)


def test_windows_count_updates_not_evaluations() -> None:
    """Defect D6: a decline of .01 an update, evaluated every 5, drops by .05 within 10 updates, not by .45."""
    times = np.arange(0, 60, 5)
    falling = 0.9 - 0.01 * times
    assert m.windowed(times, falling, 10, -1) == pytest.approx(0.05)
    assert m.windowed(times, falling, 11, -1) == pytest.approx(0.10)
    assert m.windowed(times, falling, 5, -1) is None


def test_a_plan_too_coarse_for_the_window_gives_none() -> None:
    curves = Curves.from_arrays([0, 50, 100], [[0.1, 0.1], [0.9, 0.1], [0.2, 0.9]], ends=[50, 100])
    assert m.wf(curves, 10) is None
    assert m.wf(curves, 51) == pytest.approx(0.7 / 2)
    assert m.lca(curves, 10) is None
    assert m.largest_evaluation_gap(curves) == 50


def test_an_unseen_experience_does_not_enter_the_windows() -> None:
    """The second experience moves from .5 to .0 before its training begins: nothing that was learned is lost."""
    curves = Curves.from_arrays(range(4), [[0.1, 0.5], [0.8, NAN], [0.9, 0.0], [0.9, 0.9]], ends=[2, 3])
    assert m.wf(curves, 10) == 0.0
    assert m.wp(curves, 10) == pytest.approx((0.8 + 0.9) / 2)


def test_anytime_accuracy_weighs_by_updates() -> None:
    even = Curves.from_arrays(range(101), [[0.2 if n <= 90 else 0.8] for n in range(101)], ends=[100])
    uneven = Curves.from_arrays([0, 90, *range(91, 101)], [[0.2], [0.2], *[[0.8]] * 10], ends=[100])
    assert m.aaa(even) == pytest.approx(0.9 * 0.2 + 0.1 * 0.8)
    assert m.aaa(uneven) == pytest.approx(m.aaa(even))


def test_gap_area_and_recovery_count_updates() -> None:
    curves = Curves.from_arrays([0, 10, 14, 20, 30], [[0, 0], [0.9, 0], [0.4, 0.5], [0.9, 0.6], [0.8, 0.7]], ends=[10, 30])
    assert m.gap_area(curves) == pytest.approx(0.5 * 4)
    assert m.recovery_time_median(curves) == 10.0
    assert m.gap_depth(curves, horizon=3) is None


def test_learning_curve_area_weighs_by_updates() -> None:
    """A value at b = 5 stands for the updates 1 to 5."""
    curves = Curves.from_arrays([0, 5, 6, 20], [[0.0], [0.5], [0.6], [0.9]], ends=[20])
    assert m.lca(curves, beta=6) == pytest.approx((0.0 + 5 * 0.5 + 0.6) / 7)


def test_one_experience_leaves_the_rest_undefined() -> None:
    values = compute(Curves.from_arrays([0, 1, 2], [[0.1], [0.4], [0.8]], ends=[2]))
    undefined = [name for name, value in values.items() if value is None]
    assert undefined == [
        "forgetting_first_last", "forgetting_max_final_included", "forgetting_max_before_final", "bwt", "bwt_all_rows",
        "fwt", "fwt_without_baseline", "min_acc", "gap_depth", "gap_area", "relative_dip", "recovery_time_median",
        "recovery_time_mean", "recovered_share", "mean_class_accuracy", "worst_class_accuracy", "amca", "amca_seen",
    ]  # fmt: skip
    assert values["acc"] == values["wc_acc"] == values["la"] == 0.8


def test_no_finished_experience_leaves_everything_undefined() -> None:
    curves = Curves.from_arrays([0, 1], [[0.1, 0.2], [0.4, NAN]], ends=[])
    assert set(compute(curves).values()) == {None}


def test_what_was_not_measured_is_none_not_nan() -> None:
    hole = of_matrix([[NAN, NAN], [0.9, NAN], [NAN, 0.8]])
    values = compute(hole)
    assert values["acc"] is None
    assert values["fwt"] is None
    assert values["min_acc"] is None
    assert values["la"] == pytest.approx(0.85)


def test_an_experience_never_learned_has_no_relative_dip() -> None:
    assert m.relative_dip(two([0.0, 0.0], [0.1, 0.9])) is None


def test_options_out_of_range_get_a_sentence() -> None:
    curves = m.dip()
    for call, message in (
        (lambda: m.wf(curves, 1), "window must be"),
        (lambda: m.lca(curves, 0), "beta must be"),
        (lambda: m.gap_depth(curves, horizon=0), "horizon must be"),
        (lambda: m.gaps(curves, tolerance=2.0), "tolerance must be"),
        (lambda: compute(curves, ["mni_acc"]), "Did you mean 'min_acc'"),
    ):
        with pytest.raises(OptionError, match=message):
            call()


def test_every_headline_field_is_a_described_metric() -> None:
    assert [f.name for f in fields(Metrics)] == list(METRICS)
    assert all(METRICS[name].name == name and METRICS[name].description for name in METRICS)
    assert METRICS["wf_10"].higher_is_better is False
    assert METRICS["largest_evaluation_gap"].higher_is_better is None
    assert asdict(Metrics.from_curves(m.dip())) == compute(m.dip())


def test_a_registered_metric_is_computed_and_must_not_be_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "last", Metric("last", lambda c: float(c.accuracy[-1, -1]), "high", "the last value"))
    assert compute(m.dip(), ["last"]) == {"last": 0.8}
    monkeypatch.setitem(METRICS, "bad", Metric("bad", lambda c: NAN, None, "not a number"))
    with pytest.raises(DataError, match="metric bad must be finite or None"):
        compute(m.dip())
