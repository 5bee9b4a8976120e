"""One mechanism, four kinds: which rows score, which rows learn, and what survives a round trip."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clframe.errors import OptionError
from clframe.models import Head, NoHead


def seeded_head(kind: str, **options: object) -> Head:
    torch.manual_seed(0)
    return Head(6, 4, kind=kind, **options)


def features(size: int = 5) -> Tensor:
    return torch.randn(size, 6, generator=torch.Generator().manual_seed(1))


def test_single_is_a_plain_linear_map_over_all_classes():
    head = seeded_head("single")
    assert torch.equal(head(features()), F.linear(features(), head.weight, head.bias))
    before = head.table.clone()
    head.begin((1,), 0)
    head.begin(None, None)
    assert torch.equal(head.table, before)


@pytest.mark.parametrize("cosine", [False, True])
def test_masked_equals_single_restricted_to_the_revealed_classes(cosine):
    masked, single = seeded_head("masked", cosine=cosine), seeded_head("single", cosine=cosine)
    assert masked(features()).isneginf().all()
    masked.begin((3, 1), None)
    logits = masked(features())
    assert torch.equal(logits[:, [1, 3]], single(features())[:, [1, 3]])
    assert logits[:, [0, 2]].isneginf().all()


@pytest.mark.parametrize("cosine", [False, True])
def test_masked_classes_get_exactly_zero_gradient(cosine):
    head = seeded_head("masked", cosine=cosine)
    head.begin((1, 3), None)
    x = features().requires_grad_()
    F.cross_entropy(head(x), torch.tensor([1, 3, 1, 3, 1])).backward()
    assert torch.equal(head.weight.grad[[0, 2]], torch.zeros(2, 6))
    assert (head.weight.grad[[1, 3]].abs().sum(1) > 0).all()
    assert x.grad.isfinite().all()
    if head.bias is not None:
        assert head.bias.grad[[0, 2]].tolist() == [0, 0]


def test_masked_classes_stay_in_use():
    head = seeded_head("masked")
    head.begin((1,), None)
    head.begin((2,), None)
    head.begin((1,), None)
    assert head.table.tolist() == [[-1, 1, 2, -1]]


def test_multi_isolates_tasks_bit_for_bit():
    head = seeded_head("multi", num_tasks=2)
    head.begin((0, 1), 0)
    head.begin((2, 3), 1)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    weight, bias = head.weight.detach().clone(), head.bias.detach().clone()
    task = torch.zeros(5, dtype=torch.int64)
    F.cross_entropy(head(features(), task), torch.tensor([0, 1, 0, 1, 0])).backward()
    optimizer.step()
    mine, others = head.table[0, [0, 1]], head.table[1, [2, 3]]
    assert torch.equal(head.weight[others], weight[others]) and torch.equal(head.bias[others], bias[others])
    assert not torch.equal(head.weight[mine], weight[mine])


def test_multi_routes_each_sample_by_its_task():
    head = seeded_head("multi", num_tasks=2)
    head.begin((0, 1), 0)
    head.begin((2, 3), 1)
    task = torch.tensor([0, 1, 1, 0, 1])
    mixed = head(features(), task)
    for t in (0, 1):
        assert torch.equal(mixed[task == t], head(features(), torch.full((5,), t))[task == t])
    assert torch.equal(mixed.isneginf(), torch.stack([(torch.arange(4) >= 2) != (t == 1) for t in task]))


def test_multi_gives_every_task_its_own_rows_of_the_same_classes():
    head = seeded_head("multi", num_tasks=3)
    for task in range(3):
        head.begin((0, 1, 2, 3), task)
    assert sorted(head.table.flatten().tolist()) == list(range(12))
    zero, one = (head(features(), torch.full((5,), t)) for t in (0, 1))
    assert not torch.equal(zero, one)


def test_multi_reads_hidden_classes_as_all_classes():
    head = seeded_head("multi", num_tasks=2)
    head.begin(None, 1)
    assert head.table.tolist() == [[-1] * 4, [0, 1, 2, 3]]


def test_reserved_rows_suffice_for_a_class_split_and_no_more():
    head = seeded_head("multi", num_tasks=2, rows=4)
    head.begin((0, 1), 0)
    head.begin((2, 3), 1)
    assert head.weight.shape == (4, 6)
    with pytest.raises(OptionError, match=r"rows must be enough .* task 1 needs 5; got 4\. Leave it out to reserve 8"):
        head.begin((0,), 1)


def test_cosine_is_the_scaled_angle():
    head = seeded_head("cosine", scale=7.0)
    expected = 7 * F.cosine_similarity(features()[:, None], head.weight[None], dim=2)
    torch.testing.assert_close(head(features()), expected)
    torch.testing.assert_close(head(100 * features()), expected)
    assert head.bias is None
    F.cross_entropy(head(features()), torch.zeros(5, dtype=torch.int64)).backward()
    assert head.scale.grad.abs() > 0


def test_cosine_of_a_zero_feature_is_finite():
    x = torch.zeros(1, 6, requires_grad=True)
    seeded_head("cosine")(x).sum().backward()
    assert x.grad.isfinite().all()


reveals = st.lists(st.tuples(st.sets(st.integers(0, 3), min_size=1).map(tuple), st.integers(0, 2)), max_size=6)


@settings(deadline=None, max_examples=40)
@given(kind=st.sampled_from(["single", "multi", "masked", "cosine"]), seen=reveals)
def test_state_round_trips_into_a_fresh_head_that_began_elsewhere(kind, seen):
    head, fresh = (Head(6, 4, kind=kind, num_tasks=3) for _ in range(2))
    for classes, task in seen:
        head.begin(classes, task)
    if seen:
        fresh.begin(*seen[-1])  # a resume begins the experience in progress, then loads
    fresh.load_state_dict(head.state_dict())
    task = torch.tensor([0, 1, 2, 0, 1])
    assert torch.equal(fresh(features(), task), head(features(), task))
    for classes, t in seen:
        head.begin(classes, t)
        fresh.begin(classes, t)
    assert torch.equal(fresh.table, head.table)


@settings(deadline=None, max_examples=40)
@given(seen=reveals)
def test_multi_never_gives_a_row_twice_nor_moves_one(seen):
    head = Head(6, 4, kind="multi", num_tasks=3)
    for classes, task in seen:
        before = head.table.clone()
        head.begin(classes, task)
        assert torch.equal(head.table[before >= 0], before[before >= 0])
        assert (head.table[task, list(classes)] >= 0).all()
    used = head.table[head.table >= 0].tolist()
    assert sorted(used) == list(range(len(used)))


@pytest.mark.parametrize("kind", ["single", "multi", "masked", "cosine"])
def test_only_begin_changes_the_table_and_no_parameter_appears(kind):
    head = seeded_head(kind, num_tasks=2)
    parameters, table = list(head.parameters()), head.table.clone()
    head(features(), torch.zeros(5, dtype=torch.int64)).nan_to_num(neginf=0.0).sum().backward()
    assert torch.equal(head.table, table)
    values = [p.detach().clone() for p in parameters]
    head.begin((0, 2), 1)
    assert all(a is b for a, b in zip(parameters, head.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(values, parameters, strict=True))
    assert torch.equal(head.table, table) == (kind in ("single", "cosine"))


def test_no_head_passes_the_first_columns():
    out = NoHead(3)(features())
    assert torch.equal(out, features()[:, :3])


@pytest.mark.parametrize(
    ("kind", "classes", "task", "message"),
    [
        ("masked", None, None, "classes must be revealed, because the head is 'masked'; got None"),
        ("multi", (0,), None, "task must be known, because the head is 'multi'; got None"),
        ("multi", (0,), 2, r"task must be in 0\.\.1.*; got 2"),
        ("single", (4,), None, r"classes must be ids in 0\.\.3; got \(4,\)"),
        ("masked", (-1,), None, r"classes must be ids in 0\.\.3; got \(-1,\)"),
    ],
)
def test_begin_refuses_with_a_sentence(kind, classes, task, message):
    with pytest.raises(OptionError, match=message):
        seeded_head(kind, num_tasks=2).begin(classes, task)


def test_multi_without_a_task_is_refused_with_a_sentence():
    with pytest.raises(OptionError, match=r"task must be known, .* 'multi'; got None\. Use head='single'"):
        seeded_head("multi")(features())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "maskd"}, "head must be a known name; got 'maskd'. Did you mean 'masked'"),
        ({"num_tasks": 0}, "num_tasks must be a positive integer; got 0"),
        ({"scale": 0.0}, r"scale must be a positive number; got 0\.0"),
        ({"rows": 8}, "rows must be left out"),
    ],
)
def test_construction_refuses_with_a_sentence(options, message):
    with pytest.raises(OptionError, match=message):
        Head(6, 4, **options)
