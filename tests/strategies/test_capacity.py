"""Capacity: who owns which weights, from masks made by hand, from any masks, and from trained subnets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import clframe
from clframe.strategies.sparse import capacity
from clframe.strategies.sparse.archive import Archive
from clframe.strategies.sparse.capacity import ALL, COLUMNS, PAIRS, tables

Masks = list[tuple[int, dict[str, torch.Tensor]]]


def masks(*bits: tuple[int, str, str]) -> Masks:
    """(task, bits of layer a, bits of layer b)."""
    return [(t, {n: torch.tensor([c == "1" for c in x]) for n, x in (("a", a), ("b", b))}) for t, a, b in bits]


HAND = masks((7, "110000", "000"), (2, "011100", "111"), (5, "111100", "010"))


def test_masks_made_by_hand() -> None:
    found = tables(HAND)
    rows = [tuple(r) for r in found["capacity"].itertuples(index=False)]
    assert rows == [  # task, layer, size, own, shared, used, free: tasks as they finished, not by number
        (7, "a", 6, 2, 0, 2, 4),
        (7, "b", 3, 0, 0, 0, 3),
        (2, "a", 6, 2, 1, 4, 2),
        (2, "b", 3, 3, 0, 3, 0),
        (5, "a", 6, 0, 4, 4, 2),
        (5, "b", 3, 0, 1, 3, 0),
    ]
    pairs = found["overlap"].set_index(["task", "other", "layer"])
    assert pairs.loc[(7, 2, "a"), ["both", "either"]].tolist() == [1, 4]
    assert pairs.jaccard[7, 2, "a"] == 0.25
    assert pairs.jaccard[7, 5, "b"] == 0
    assert pairs.jaccard[2, 5, "a"] == 0.75
    assert pairs.jaccard[2, 5, ALL] == pytest.approx(4 / 7)
    assert pairs.jaccard[7, 2, ALL] == pytest.approx(1 / 7)
    assert len(pairs) == 3 * 3


def test_two_empty_subnets_have_no_overlap_and_one_task_has_no_pair() -> None:
    found = tables(masks((0, "1", "00"), (1, "1", "00")))["overlap"].set_index("layer").jaccard
    assert math.isnan(found["b"])
    assert found["a"] == found[ALL] == 1
    assert tables(HAND[:1])["overlap"].empty
    for name, columns in (("capacity", COLUMNS), ("overlap", PAIRS)):
        assert tables([])[name].columns.tolist() == list(columns)
        assert tables([])[name].empty


@st.composite
def any_masks(draw: st.DrawFn) -> Masks:
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))
    count = draw(st.integers(1, 5))
    order = draw(st.permutations(range(count)))
    bits = st.integers(0, 2**30)
    made = torch.Generator().manual_seed(draw(bits))
    return [
        (t, {str(i): torch.rand(s, generator=made) < draw(st.sampled_from([0, 0.3, 1])) for i, s in enumerate(sizes)})
        for t in order
    ]


@settings(max_examples=60, deadline=None)
@given(any_masks())
def test_counts_add_up_for_any_masks(made: Masks) -> None:
    found = tables(made)
    table = found["capacity"].set_index(["task", "layer"])
    assert (table.used + table.free == table["size"]).all()
    for layer in made[0][1]:
        of = table.xs(layer, level="layer")
        assert of.index.tolist() == [t for t, _ in made]
        assert (of.own + of.shared).tolist() == [int(m[layer].sum()) for _, m in made]
        assert of.used.tolist() == of.own.cumsum().tolist()
        assert of.used.is_monotonic_increasing
        assert of.used.iloc[-1] == int(torch.stack([m[layer] for _, m in made]).any(0).sum())
    by_task = dict(made)
    for p in found["overlap"].itertuples():
        one, two = ({p.layer: m[p.layer]} if p.layer != ALL else m for m in (by_task[p.task], by_task[p.other]))
        assert p.both == sum(int((one[n] & two[n]).sum()) for n in one)
        assert p.either == sum(int((one[n] | two[n]).sum()) for n in one)
        assert math.isnan(p.jaccard) if p.either == 0 else p.jaccard == p.both / p.either


def test_blocks_do_not_change_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.Generator().manual_seed(0)
    made = [(t, {"w": torch.rand(31, 11, generator=g) < 0.4}) for t in range(4)]
    whole = tables(made)
    monkeypatch.setattr(capacity, "_BYTES", 3)
    for name, table in tables(made).items():
        pd.testing.assert_frame_equal(table, whole[name])


def test_the_archive_gives_tasks_as_they_finished_also_after_a_checkpoint() -> None:
    archive = Archive(like := {"w": torch.zeros(4)})
    for task in (3, 1, 3):
        archive.keep(task, {"w": torch.arange(4) < task}, {})
    again = Archive(like)
    again.load(archive.state())
    for one in (archive, again):
        assert [(t, int(m["w"].sum())) for t, m in one.finished()] == [(3, 3), (1, 1)]


def run(strategy: str, **options: Any) -> clframe.Result:
    return clframe.run("task-split-digits", strategy, evaluate="boundaries", model="mlp(hidden=[20,20])", report=False, **options)


def test_subnets_that_share_nothing_share_nothing() -> None:
    result = run("dst(density=0.1,share=false,period=5)")
    assert result.capacity is not None
    assert result.overlap is not None
    assert (result.capacity.shared == 0).all()
    assert (result.overlap.both == 0).all()
    assert result.capacity.groupby("layer").own.nunique().eq(1).all()


def test_packnet_shares_all_that_tasks_before_it_own() -> None:
    found = run("packnet(prune=0.5)").capacity
    assert found is not None
    for _, of in found.groupby("layer"):
        assert of.shared.tolist() == [0, *of.used[:-1]]
        left = of["size"].iloc[0]
        for own, free in zip(of.own, of.free, strict=True):
            assert own == left - round(0.5 * left)
            left = free
    assert np.array_equal(found.task.unique(), np.arange(5))
