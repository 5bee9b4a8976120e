"""Riemannian walk against its equations, written out by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from clframe.errors import OptionError
from clframe.models import build
from clframe.scenarios import class_incremental
from clframe.strategies import Learner, RWalk
from clframe.types import Batch

LR, MOMENTUM = 0.05, 0.5


def setting(updates: int) -> tuple[Any, list[tuple[Any, list[Batch]]]]:
    torch.manual_seed(0)
    model = build("mlp", (1, 8, 8), 10, options={"hidden": (8,)}).double()
    stream = class_incremental("digits", class_order="sorted").walked(batch_size=20)
    experiences = [(e.train, [Batch(b.x.double(), b.y, b.index) for _, b in e.steps()][:updates]) for e in stream.experiences[:3]]
    return model, experiences


def by_hand(model: Any, experiences: Any, part: RWalk) -> tuple[list[float], list[Tensor]]:
    """Flat vectors, every gradient taken by itself."""
    params = list(model.parameters())
    flat = lambda tensors: torch.cat([t.detach().flatten() for t in tensors])  # noqa: E731
    buffer = torch.zeros_like(flat(params))
    importance, anchor, fisher, past, penalties = torch.zeros_like(buffer), flat(params), None, None, []
    for _, batches in experiences:
        score, fall, corner = torch.zeros_like(buffer), torch.zeros_like(buffer), flat(params)
        for t, batch in enumerate(batches, 1):
            theta = flat(params)
            penalties.append(part.strength * (importance * (theta - anchor) ** 2).sum().item())
            g = flat(torch.autograd.grad(functional.cross_entropy(model(batch.x), batch.y), params))
            fisher = g**2 if fisher is None else part.alpha * g**2 + (1 - part.alpha) * fisher
            buffer = MOMENTUM * buffer + g + 2 * part.strength * importance * (theta - anchor)
            torch.nn.utils.vector_to_parameters(theta - LR * buffer, params)
            now = flat(params)
            fall -= g * (now - theta)
            if t % part.interval == 0 or t == len(batches):
                score += fall / (0.5 * fisher * (now - corner) ** 2 + part.epsilon)
                fall, corner = torch.zeros_like(buffer), now
        past = score if past is None else (past + score) / 2
        importance = fisher / fisher.max() + torch.relu(past) / past.max()
        anchor = flat(params)
    return penalties, importance


@pytest.mark.parametrize(("updates", "interval"), [(6, 3), (7, 3), (2, 10)])
def test_penalties_and_importance_are_those_of_the_equations(updates: int, interval: int) -> None:
    model, experiences = setting(updates)
    mine = copy.deepcopy(model)
    part = RWalk(strength=0.5, interval=interval)
    made = Learner(mine, torch.optim.SGD(mine.parameters(), lr=LR, momentum=MOMENTUM), part)
    found = []
    for train, batches in experiences:
        made.begin(train)
        found += [made.observe(batch).get("rwalk/quadratic", torch.zeros(())).item() for batch in batches]
        made.end(train)
    penalties, importance = by_hand(model, experiences, part)
    assert max(penalties) > 1e-3
    assert found == pytest.approx(penalties, rel=1e-8, abs=1e-12)
    torch.testing.assert_close(torch.cat([i.flatten() for i in part.importance]), importance, rtol=1e-8, atol=1e-12)
    for p, q in zip(mine.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12)


def test_both_halves_of_the_importance_lie_in_0_to_1() -> None:
    model, experiences = setting(10)
    part = RWalk(interval=4)
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=LR), part)
    for train, batches in experiences:
        made.begin(train)
        for batch in batches:
            made.observe(batch)
        made.end(train)
        fisher = torch.cat([f.flatten() for f in part.fisher])
        rest = torch.cat([i.flatten() for i in part.importance]) - fisher / fisher.max()
        assert rest.min() >= -1e-12
        assert rest.max().item() == pytest.approx(1.0)


def test_an_experience_in_which_nothing_moves_is_survived() -> None:
    model, experiences = setting(3)
    part = RWalk()
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=0.0), part)
    train, batches = experiences[0]
    made.begin(train)
    made.end(train)
    assert all((i == 0).all() for i in part.importance)
    made.begin(train)
    made.observe(batches[0])
    made.end(train)
    assert all(i.isfinite().all() for i in part.importance)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strength": -1.0}, "strength must be zero or positive; got -1.0."),
        ({"alpha": 0.0}, "alpha must be in (0, 1]; got 0.0."),
        ({"alpha": 1.5}, "alpha must be in (0, 1]; got 1.5."),
        ({"interval": 0}, "interval must be a positive integer; got 0."),
        ({"epsilon": 0.0}, "epsilon must be positive; got 0.0."),
    ],
)
def test_bad_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as error:
        RWalk(**options)
    assert str(error.value).startswith(said)
