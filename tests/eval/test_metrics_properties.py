"""Identities and bounds that hold for every run."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clframe.eval import metrics as m
from clframe.eval.metrics import Curves, compute


@st.composite
def runs(draw: st.DrawFn) -> Curves:
    """A run of 1 to 4 experiences under an uneven plan; accuracies in hundredths."""
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    ends = np.cumsum(lengths).tolist()
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.0, 0.3, 1.0]))
    times = [n for n in range(ends[-1] + 1) if n == 0 or n in ends or generator.random() < share]
    accuracy = generator.integers(0, 101, (len(times), len(ends))) / 100
    for row, n in enumerate(times):
        if n and n not in ends:
            accuracy[row, int(np.searchsorted(ends, n)) + 1 :] = np.nan
    return Curves.from_arrays(times, accuracy, ends)


def brute_force(times: list[int], values: list[float], window: int, sign: int) -> float | None:
    pairs = itertools.combinations(zip(times, values, strict=True), 2)
    changes = [sign * (b - a) for (s, a), (t, b) in pairs if t - s < window]
    return max([0.0, *changes]) if changes else None


@given(
    steps=st.lists(st.integers(1, 9), min_size=0, max_size=40),
    data=st.data(),
    window=st.integers(2, 30),
    sign=st.sampled_from([-1, 1]),
)
@settings(max_examples=200, deadline=None)
def test_windowed_equals_brute_force_on_uneven_times(
    steps: list[int], data: st.DataObject, window: int, sign: Literal[-1, 1]
) -> None:
    times = np.cumsum(steps, dtype=np.int64)
    values = data.draw(st.lists(st.floats(0, 1), min_size=len(steps), max_size=len(steps)))
    assert m.windowed(times, np.asarray(values), window, sign) == brute_force(times.tolist(), values, window, sign)


@given(runs())
@settings(max_examples=100, deadline=None)
def test_acc_is_la_minus_forgetting(curves: Curves) -> None:
    k, acc, la = curves.k, m.acc(curves), m.la(curves)
    forgetting = m.forgetting_first_last(curves)
    assert acc is not None
    assert la is not None
    assert (forgetting is None) == (k == 1)
    assert acc == pytest.approx(la - (k - 1) / k * (forgetting or 0.0))


@given(runs())
@settings(max_examples=100, deadline=None)
def test_the_worst_case_is_at_most_the_accuracy_on_the_same_samples(curves: Curves) -> None:
    worst, acc, lowest = m.wc_acc(curves), m.acc_curve(curves), m.min_acc(curves)
    assert worst is not None
    assert acc is not None
    assert worst <= acc + 1e-12
    if lowest is not None:
        k = curves.k
        assert worst == pytest.approx(curves.curve_matrix[k, k - 1] / k + (1 - 1 / k) * lowest)


@given(runs())
@settings(max_examples=100, deadline=None)
def test_windowed_forgetting_and_plasticity_grow_with_the_window(curves: Curves) -> None:
    for metric in (m.wf, m.wp):
        values = [metric(curves, w) for w in (2, 3, 5, 10, 20, 60)]
        defined = [v for v in values if v is not None]
        assert values[len(values) - len(defined) :] == defined  # once defined, defined for every larger window
        assert all(a <= b + 1e-12 for a, b in itertools.pairwise(defined))
        assert all(0.0 <= v <= 1.0 for v in defined)


@given(runs())
@settings(max_examples=100, deadline=None)
def test_bounds_and_orders_between_metrics(curves: Curves) -> None:
    values = compute(curves)
    assert all(v is None or np.isfinite(v) for v in values.values())
    for name in ("acc", "la", "aaa", "aaa_calibrated", "wc_acc", "average_incremental_accuracy"):
        value = values[name]
        assert value is not None
        assert -1e-12 <= value <= 1 + 1e-12
    if curves.k > 1:
        included, before, first = (
            values["forgetting_max_final_included"],
            values["forgetting_max_before_final"],
            values["forgetting_first_last"],
        )
        assert included is not None
        assert before is not None
        assert first is not None
        assert included >= max(before, 0.0) - 1e-12
        assert before >= first - 1e-12
        assert values["bwt"] == pytest.approx(-first)


@given(runs(), st.data())
@settings(max_examples=60, deadline=None)
def test_what_comes_later_does_not_change_what_was(curves: Curves, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, curves.k))
    n = curves.ends[k - 1] if k else 0
    later = curves.times > n
    changed = curves.accuracy.copy()
    changed[later] = 1.0
    again = Curves.from_arrays(curves.times, changed, curves.ends)
    assert compute(again.until(k)) == compute(curves.until(k))


@given(runs())
@settings(max_examples=60, deadline=None)
def test_a_coarser_plan_can_only_hide_dips(curves: Curves) -> None:
    keep = np.isin(curves.times, [0, *curves.ends])
    coarse = Curves.from_arrays(curves.times[keep], curves.accuracy[keep], curves.ends)
    fine, rough = m.min_acc(curves), m.min_acc(coarse)
    assert (fine is None) == (rough is None)
    if fine is not None and rough is not None:
        assert fine <= rough


@given(runs(), st.sampled_from([None, 1, 3]), st.sampled_from([0.0, 0.1]), st.data())
@settings(max_examples=100, deadline=None)
def test_gaps_equal_a_plain_walk_along_each_curve(
    curves: Curves, horizon: int | None, tolerance: float, data: st.DataObject
) -> None:
    holes = curves.accuracy.copy()
    for row, n in enumerate(curves.times.tolist()):
        if n not in (0, *curves.ends):
            holes[row, data.draw(st.integers(0, holes.shape[1] - 1))] = np.nan
    curves = Curves.from_arrays(curves.times, holes, curves.ends)
    found = m.gaps(curves, horizon=horizon, tolerance=tolerance)
    assert len(found) == curves.k * (curves.k - 1) // 2
    for gap in found:
        start = curves.ends[gap.boundary]
        times, values = curves.series(gap.experience, after=start, until=curves.ends[gap.boundary + 1])
        walk = list(zip(times.tolist(), values.tolist(), strict=True))
        near = [a for n, a in walk if horizon is None or n - start <= horizon]
        level = gap.before - tolerance - 1e-12
        lowest = min(a for _, a in walk)
        fallen = next(n for n, a in walk if a == lowest)
        back = [n for n, a in walk if n >= fallen and a >= level]
        until, area, previous = back[0] if back else times[-1], 0.0, start
        for n, a in walk:
            area += max(gap.before - a, 0.0) * (n - previous) if n <= until else 0.0
            previous = n
        assert gap.lowest == lowest
        assert gap.depth == pytest.approx(gap.before - min(near) if near else np.nan, nan_ok=True)
        assert gap.recovery == (0 if lowest >= level else back[0] - start if back else np.inf)
        assert gap.area == pytest.approx(area)
