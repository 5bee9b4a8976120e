"""From the record table to curves: boundaries, subsets, unfinished runs, damaged tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from clframe.errors import DataError, OptionError
from clframe.eval.metrics import Curves, Metrics, acc, largest_evaluation_gap, min_acc, per_class_accuracy, wc_acc

COLUMNS = ["run", "seed", "n", "trained", "evaluated", "correct", "total", "subset", "seconds", "bits"]


def record(
    ends: list[int],
    accuracy: Callable[[int, int], float],
    every: int = 1,
    curve: bool = True,
    stop: int | None = None,
    total: int = 100,
) -> pd.DataFrame:
    """The table of a run as the evaluator writes it; `accuracy(n, experience)`, measured every `every` updates up to `stop`."""
    stop = ends[-1] if stop is None else stop
    rows: list[tuple[object, ...]] = []
    for n in range(stop + 1):
        trained = -1 if n == 0 else int(np.searchsorted(ends, n))
        boundary = n == 0 or n in ends
        if not boundary and n % every:
            continue
        for i in range(len(ends) if boundary else trained + 1):
            for subset, size in (("full", 2 * total), ("curve", total)) if curve else (("full", total),):
                if subset == "full" and curve and not boundary:
                    continue
                rows.append(("er", 0, n, trained, i, round(accuracy(n, i) * size), size, subset, 0.01, b""))
    return pd.DataFrame(rows, columns=COLUMNS)


def hump(n: int, i: int) -> float:
    return 0.2 + 0.1 * ((n * (i + 3)) % 7)


def test_curves_of_a_run_with_a_curve_subset() -> None:
    curves = Curves.from_rows(record([4, 9, 12], hump, every=2))
    assert curves.ends == (4, 9, 12)
    assert curves.times.tolist() == [0, 2, 4, 6, 8, 9, 10, 12]
    assert curves.trained.tolist() == [-1, 0, 0, 1, 1, 1, 2, 2]
    assert curves.sizes.tolist() == [200, 200, 200]
    assert curves.matrix.shape == curves.curve_matrix.shape == (4, 3)
    np.testing.assert_allclose(curves.matrix[2], [hump(9, i) for i in range(3)])
    unseen = np.isnan(curves.accuracy)
    assert unseen.tolist() == [[False] * 3, [False, True, True], [False] * 3, *[[False, False, True]] * 2, *[[False] * 3] * 3]


def test_curve_and_full_rows_are_kept_apart() -> None:
    rows = record([2, 4], hump)
    rows.loc[rows.subset == "full", "correct"] = 200
    curves = Curves.from_rows(rows)
    assert (curves.matrix == 1.0).all()
    assert (curves.curve_matrix < 1.0).all()
    assert Curves.from_rows(rows, subset="full").accuracy[0].tolist() == [1.0, 1.0]
    with pytest.raises(OptionError, match="subset must be"):
        Curves.from_rows(rows, subset="ful")


def test_only_full_rows_make_the_curve_where_the_subset_is_the_whole_test_set() -> None:
    curves = Curves.from_rows(record([3, 6], hump, curve=False))
    assert curves.ends == (3, 6)
    assert curves.times.tolist() == list(range(7))
    np.testing.assert_array_equal(curves.matrix, curves.curve_matrix)


def test_the_order_of_rows_does_not_matter() -> None:
    rows = record([4, 9, 12], hump, every=3)
    expected = Metrics.from_rows(rows)
    assert expected.min_acc is not None
    for seed in range(5):
        assert Metrics.from_rows(rows.sample(frac=1.0, random_state=seed)) == expected


@pytest.mark.parametrize("curve", [True, False])
@pytest.mark.parametrize("stop", [0, 2, 4, 7, 9, 11])
def test_an_unfinished_run_is_scored_up_to_its_last_boundary(curve: bool, stop: int) -> None:
    ends = [4, 9, 12]
    whole = Curves.from_rows(record(ends, hump, curve=curve))
    part = Curves.from_rows(record(ends, hump, curve=curve, stop=stop), finished=False)
    k = sum(e <= stop for e in ends)
    assert part.ends == tuple(ends[:k])
    assert part.times[-1] == stop
    assert Metrics.from_curves(part) == Metrics.from_curves(whole.until(k))
    assert acc(part) == (None if k == 0 else acc(whole.until(k)))


def test_full_rows_prove_the_boundary_even_of_the_last_experience() -> None:
    assert Curves.from_rows(record([4, 9], hump, stop=7)).ends == (4,)
    assert Curves.from_rows(record([4, 9], hump), finished=False).ends == (4, 9)


def test_the_model_at_the_end_of_an_experience_is_in_the_curve_whatever_the_plan() -> None:
    """Defect D2 of the released code: with evaluation every 4 updates its curve lacks the models at 9 and 18."""
    curves = Curves.from_rows(record([9, 18], lambda n, i: 0.1 if n == 18 else 0.9, every=4))
    assert {9, 18} <= set(curves.times.tolist())
    assert min_acc(curves) == pytest.approx(0.1)
    assert wc_acc(curves) == pytest.approx(0.1)
    assert largest_evaluation_gap(curves) == 4


def test_more_than_a_hundred_experiences_keep_their_columns() -> None:
    """PyCIL sorts "100-119" before "20-39"; here column 10 stays column 10."""
    ends = list(range(1, 121))
    curves = Curves.from_rows(record(ends, lambda n, i: (i + 1) / 200, curve=False, total=200))
    np.testing.assert_allclose(curves.matrix[-1], np.arange(1, 121) / 200)
    np.testing.assert_allclose(curves.matrix, np.tile(np.arange(1, 121) / 200, (121, 1)))


def test_experiences_named_by_strings_are_refused() -> None:
    rows = record([2, 4], hump).astype({"evaluated": str})
    with pytest.raises(DataError, match="Column evaluated must hold integers"):
        Curves.from_rows(rows)


def test_damaged_tables_get_a_sentence() -> None:
    rows = record([2, 4], hump)
    cases = {
        "must have rows": rows.iloc[:0],
        "must hold one run": pd.concat([rows, rows.assign(seed=1)]),
        "must appear once": pd.concat([rows, rows.iloc[3:4]]),
        "must have the columns": rows.drop(columns="correct"),
        "0 <= correct <= total": rows.assign(correct=rows.total + 1),
        'must hold "curve" or "full"': rows.assign(subset="half"),
        "at least -1": rows.assign(trained=-rows.n),
        "must not fall": rows.assign(trained=rows.trained.where(rows.n != 4, 0)),
        "Every experience": rows.query("trained != 0"),
    }
    for message, frame in cases.items():
        with pytest.raises(DataError, match=message):
            Curves.from_rows(frame)


def test_curves_from_arrays_are_those_from_rows() -> None:
    rows = Curves.from_rows(record([4, 9, 12], hump, every=2, curve=False))
    arrays = Curves.from_arrays(rows.times, rows.accuracy, rows.ends, sizes=[100, 100, 100])
    for name in ("times", "accuracy", "trained", "matrix", "curve_matrix", "sizes"):
        np.testing.assert_array_equal(getattr(arrays, name), getattr(rows, name))
    assert arrays.ends == rows.ends


def test_curves_from_arrays_check_their_input() -> None:
    with pytest.raises(DataError, match="must be"):
        Curves.from_arrays([0, 1], [[0.5]], ends=[1])
    with pytest.raises(DataError, match="increase strictly"):
        Curves.from_arrays([1, 0], [[0.5], [0.5]], ends=[1])
    with pytest.raises(DataError, match="hold every end"):
        Curves.from_arrays([0, 1], [[0.5], [0.5]], ends=[2])
    with pytest.raises(OptionError, match=r"k must be an integer in 0\.\.1"):
        Curves.from_arrays([0, 1], [[0.5], [0.5]], ends=[1]).until(2)


def test_per_class_counts_over_experiences_and_boundaries() -> None:
    rows = record([2, 4], hump)
    counts = [(0, 0, 5, 0, 4), (2, 0, 5, 4, 4), (2, 1, 7, 0, 8), (4, 0, 5, 1, 4), (4, 1, 5, 1, 4), (4, 1, 7, 6, 8)]
    classes = pd.DataFrame(counts, columns=["n", "evaluated", "label", "correct", "total"])
    curves = Curves.from_rows(rows, classes=classes)
    assert per_class_accuracy(curves) == {5: 0.25, 7: 0.75}
    assert per_class_accuracy(curves, 1) == {5: 1.0}
    assert per_class_accuracy(curves, 1, seen=False) == {5: 1.0, 7: 0.0}
    metrics = Metrics.from_rows(rows, classes)
    assert metrics.mean_class_accuracy == 0.5
    assert metrics.worst_class_accuracy == 0.25
    assert metrics.amca == pytest.approx((0.5 + 0.5) / 2)
    assert metrics.amca_seen == pytest.approx((1.0 + 0.5) / 2)
    assert Metrics.from_rows(rows).amca is None
