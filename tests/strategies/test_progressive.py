"""Progressive heads: rows of other classes never move, and a frozen backbone is frozen to the bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clframe.errors import CompositionError, OptionError
from clframe.models import build
from clframe.scenarios import Stream, class_incremental, permuted, task_incremental
from clframe.strategies import Learner, Part, Progressive, Replay


def made_for(stream: Stream, *parts: Part, head: str = "single", model: str | nn.Module = "mlp", **adam: float) -> Learner:
    options = {"hidden": (12,), "norm": "batch", "dropout": 0.2} if model == "mlp" else None
    net = build(model, (1, 8, 8), 10, options=options, head=head, num_tasks=stream.num_tasks)
    if adam:
        return Learner(net, torch.optim.AdamW(net.parameters(), **adam), *parts)
    return Learner(net, torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01), *parts)


def walk(made: Learner, stream: Stream, which: int, updates: int = 6) -> None:
    experience = stream.experiences[which]
    made.begin(experience.train)
    for (_, batch), _ in zip(experience.steps(), range(updates), strict=False):
        made.observe(batch)
    made.end(experience.train)


def moved(before: torch.Tensor, after: torch.Tensor) -> list[int]:
    return (before != after).flatten(1).any(1).nonzero().flatten().tolist()


@pytest.mark.parametrize("optimizer", [{}, {"lr": 0.01, "weight_decay": 0.1}])
def test_only_the_rows_of_the_classes_of_the_experience_move(optimizer) -> None:
    stream = class_incremental("digits", class_order="sorted").walked(batch_size=10)
    made = made_for(stream, Progressive(), Replay(size=40), **optimizer)
    for k in range(3):
        weight, bias = made.model.head.weight.detach().clone(), made.model.head.bias.detach().clone()
        body = [p.detach().clone() for p in made.model.backbone.parameters()]
        walk(made, stream, k)
        assert moved(weight, made.model.head.weight) == [2 * k, 2 * k + 1] == moved(bias[:, None], made.model.head.bias[:, None])
        assert all(not torch.equal(a, b) for a, b in zip(body, made.model.backbone.parameters(), strict=True))


def test_the_rows_that_train_follow_the_same_path_as_without_it() -> None:
    stream = class_incremental("digits", experiences=1).walked(batch_size=10)
    with_it, without = made_for(stream, Progressive()), made_for(stream)
    for made in (with_it, without):
        torch.manual_seed(0)
        walk(made, stream, 0)
    assert all(torch.equal(a, b) for a, b in zip(with_it.model.parameters(), without.model.parameters(), strict=True))


def test_with_separate_heads_each_task_has_its_rows() -> None:
    stream = task_incremental("digits", class_order="sorted").walked(batch_size=10)
    made = made_for(stream, Progressive(), head="multi")
    for k in range(3):
        before = made.model.head.weight.detach().clone()
        walk(made, stream, k)
        rows = made.model.head.table[k][made.model.head.table[k] >= 0]
        assert moved(before, made.model.head.weight) == rows.tolist()


def test_a_class_that_comes_back_is_trained_again() -> None:
    stream = permuted("digits", experiences=2).walked(batch_size=10)
    made = made_for(stream, Progressive())
    for k in range(2):
        before = made.model.head.weight.detach().clone()
        walk(made, stream, k)
        assert moved(before, made.model.head.weight) == list(range(10))


@pytest.mark.parametrize("head", ["single", "multi", "cosine", "masked"])
def test_with_a_frozen_backbone_old_scores_never_change(head) -> None:
    stream = (task_incremental if head == "multi" else class_incremental)("digits", class_order="sorted").walked(batch_size=10)
    made = made_for(stream, Progressive(backbone="frozen"), Replay(size=40), head=head)
    x = torch.randn(9, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    tasks = torch.zeros(9, dtype=torch.int64) if head == "multi" else None
    start = {k: v.clone() for k, v in made.model.state_dict().items()}
    walk(made, stream, 0)
    assert any(not torch.equal(v, start[k]) for k, v in made.model.backbone.state_dict(prefix="backbone.").items())
    after_first = {k: v.clone() for k, v in made.model.backbone.state_dict().items()}
    old = made.model.eval()(x, tasks)[:, :2]
    for k in (1, 2):
        walk(made, stream, k)
        assert all(torch.equal(v, after_first[name]) for name, v in made.model.backbone.state_dict().items())
        assert torch.equal(made.model.eval()(x, tasks)[:, :2], old)
    assert not torch.equal(made.model.head.weight[4:6], start["head.weight"][4:6])


def test_a_resumed_run_holds_the_rows_of_the_run_and_not_those_of_a_fresh_network() -> None:
    stream = task_incremental("digits", class_order="sorted").walked(batch_size=10)
    made, other = (made_for(stream, Progressive(backbone="frozen"), head="multi") for _ in range(2))
    walk(made, stream, 0)
    walk(made, stream, 1)
    state = made.state_dict()
    other.begin(stream.experiences[1].train)
    other.load_state_dict(state)
    before = {k: v.clone() for k, v in made.model.state_dict().items()}
    _, batch = next(stream.experiences[1].steps())
    other.observe(batch)
    changed = [k for k, v in other.model.state_dict().items() if not torch.equal(v, before[k])]
    assert changed == ["head.weight", "head.bias"]
    assert moved(before["head.weight"], other.model.head.weight) == made.model.head.table[1, 2:4].tolist()


def test_what_is_refused() -> None:
    stream = class_incremental("digits")
    with pytest.raises(OptionError, match="backbone must be 'trained' or 'frozen'; got 'thawed'"):
        Progressive(backbone="thawed")  # type: ignore[arg-type]
    whole = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(OptionError, match="head must be one with a row for each class; got 'none'"):
        made_for(stream, Progressive(), head="none", model=whole)
    second = Progressive()
    second.name = "again"
    with pytest.raises(CompositionError, match="at most one part may change the weights"):
        made_for(stream, Progressive(), second)
