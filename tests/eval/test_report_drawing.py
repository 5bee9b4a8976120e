"""The report's drawing aids: thinning that keeps minima, labels that do not overlap, names that stay different."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clframe.eval.report import plots, style
from clframe.eval.report.series import Track, thin


@given(st.lists(st.floats(0, 1), min_size=2, max_size=400), st.integers(1, 40))
def test_thinning_keeps_extremes_and_ends(values: list[float], buckets: int) -> None:
    y = np.array(values)
    x = np.cumsum(1.0 + (y > 0.5))
    kept = thin(x, y, buckets)
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= 4 * buckets + 4
    assert (kept[0], kept[-1]) == (0, len(y) - 1)
    assert (y[kept].min(), y[kept].max()) == (y.min(), y.max())


@given(st.lists(st.floats(0, 1), max_size=12))
def test_labels_are_spread_in_order(wanted: list[float]) -> None:
    places = style.spread(wanted, gap=0.05, low=0.0, high=1.0)
    in_order = [places[i] for i in sorted(range(len(wanted)), key=lambda i: (wanted[i], i))]
    assert all(b - a >= 0.05 - 1e-6 for a, b in itertools.pairwise(in_order))
    assert all(-1e-6 <= p <= 1 + 1e-6 for p in places)


def test_a_short_dip_survives_thinning_of_a_long_run() -> None:
    times = np.arange(30_001)
    accuracy = np.full((30_001, 2), 0.9)
    accuracy[20_345, 0] = 0.11
    long = Track("er", times.astype(float), accuracy[None], np.array([15_000.0, 30_000.0]))
    line = max(plots.curves_figure(long).axes[0].lines, key=lambda x: len(x.get_xdata()))
    assert line.get_ydata().min() == 0.11
    assert len(line.get_xdata()) < 4_000


def test_short_names_stay_different() -> None:
    long = [f"method(option='a very long value {i}')" for i in range(3)]
    assert len(set(style.short_names(long))) == 3
    assert max(map(len, style.short_names(long))) <= 18


def test_matrix_cells() -> None:
    texts = {t.get_text() for t in plots.matrix_figure(np.array([[0.1, np.nan], [0.95, 1.0]])).axes[0].texts}
    assert texts == {".10", "–", ".95", "1.0"}
