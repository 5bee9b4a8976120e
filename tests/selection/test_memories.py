"""Memories: uniform, balanced, bounded, exact after a stop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clframe.errors import OptionError
from clframe.selection import MEMORIES, Memory, herd, memory


def fill(kind: str, size: int, labels: list[int], seed: int = 0, batch: int = 10) -> Memory:
    made = memory(kind, size, torch.Generator().manual_seed(seed))
    y = torch.tensor(labels)
    for low in range(0, len(y), batch):
        offer(made, torch.arange(low, min(low + batch, len(y))), y[low : low + batch])
    return made


def offer(into: Memory, index: torch.Tensor, y: torch.Tensor) -> None:
    into.update(index, y)
    if into.settles:
        into.settle(index, y, torch.stack([index.float().sin(), index.float().cos()], dim=1))


def test_a_reservoir_is_uniform_over_the_stream() -> None:
    """Inclusion counts over 2,000 draws: chi-square with 49 degrees of freedom, 99.99 % quantile 96."""
    counts = np.zeros(50)
    for seed in range(2000):
        counts[fill("reservoir", 10, [0] * 50, seed, batch=7).selection().index] += 1
    expected = 2000 * 10 / 50
    assert ((counts - expected) ** 2 / expected).sum() * (50 - 1) / (50 - 10) < 96


def test_class_balancing_gives_a_rare_class_its_share_and_stays_uniform_within() -> None:
    labels = [0] * 80 + [1] * 15 + [2] * 5
    kept = np.zeros(100)
    for seed in range(1000):
        found = fill("class-balanced", 15, labels, seed).selection().index
        assert np.bincount(np.array(labels)[found], minlength=3).tolist() == [5, 5, 5]
        kept[found] += 1
    rate = kept[:80] / 1000
    assert abs(rate - 5 / 80).max() < 5 * np.sqrt(5 / 80 / 1000)


@pytest.mark.parametrize("kind", MEMORIES)
@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=120), size=st.integers(1, 30), cut=st.integers(0, 120))
@settings(max_examples=40, deadline=None)
def test_bounded_distinct_and_exact_after_a_stop(kind: str, labels: list[int], size: int, cut: int) -> None:
    cut = min(cut // 10 * 10, len(labels))
    whole = fill(kind, size, labels)
    y = torch.tensor(labels)
    stopped = fill(kind, size, labels[:cut]) if cut else memory(kind, size, torch.Generator().manual_seed(0))
    again = memory(kind, size, torch.Generator())
    again.load_state_dict(stopped.state_dict())
    for low in range(cut, len(y), 10):
        offer(again, torch.arange(low, min(low + 10, len(y))), y[low : low + 10])
    assert len(whole) <= min(size, len(labels))
    if kind in ("reservoir", "class-balanced"):
        assert len(whole) == min(size, len(labels))
    assert len(set(whole.selection().index.tolist())) == len(whole)
    assert whole.selection().index.tolist() == again.selection().index.tolist()
    assert ((whole.selection().probability > 0) & (whole.selection().probability <= 1)).all()


@pytest.mark.parametrize(("filled", "count"), [(5, 10), (20, 10), (1000, 10)])
def test_a_draw_has_no_repeats_and_stays_in_the_memory(filled: int, count: int) -> None:
    made = fill("reservoir", filled, [0] * filled)
    drawn = made.draw(count).tolist()
    assert len(drawn) == len(set(drawn)) == min(filled, count)
    assert set(drawn) <= set(range(filled))


def test_every_class_has_its_quota() -> None:
    labels = [0] * 60 + [1] * 20 + [2] * 3 + [0] * 10
    for kind, kept in {"ring": [4, 5, 3], "greedy": [4, 5, 3], "herding": [4, 4, 3]}.items():
        found = fill(kind, 12, labels, batch=len(labels)).selection().index
        assert np.bincount(np.array(labels)[found], minlength=3).tolist() == kept
    assert set(fill("ring", 12, labels).selection().index) == {89, 90, 91, 92, 75, 76, 77, 78, 79, 80, 81, 82}


def test_greedy_keeps_what_it_has() -> None:
    first = set(fill("greedy", 10, [0] * 10).selection().index.tolist())
    assert set(fill("greedy", 10, [0] * 50).selection().index.tolist()) == first


def test_herding_is_the_greedy_choice_of_the_paper() -> None:
    rows = torch.nn.functional.normalize(torch.randn(40, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    chosen: list[int] = []
    for k in range(1, 11):
        means = (rows + rows[chosen].sum(0)) / k
        distance = (rows.mean(0) - means).norm(dim=1)
        distance[chosen] = torch.inf
        chosen.append(int(distance.argmin()))
    assert herd(rows, 10).tolist() == chosen
    assert sorted(herd(rows, 100).tolist()) == list(range(40))


def test_what_is_kept_beside_an_id_stays_with_it() -> None:
    for kind in ("reservoir", "class-balanced", "ring", "greedy"):
        made = memory(kind, 9, torch.Generator().manual_seed(0))
        for low in range(0, 200, 7):
            index = torch.arange(low, low + 7)
            made.keep(made.update(index, index % 3), double=2.0 * index)
        again = memory(kind, 9, torch.Generator())
        again.load_state_dict(made.state_dict())
        for each in (made, again):
            assert each.extra["double"].tolist() == (2.0 * each.index).tolist()


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(OptionError, match="size must be a positive integer; got 0"):
        memory("reservoir", 0, torch.Generator())
