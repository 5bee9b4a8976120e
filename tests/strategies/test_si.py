"""Synaptic intelligence against its equations, written out by hand."""

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
from clframe.strategies import SI, Learner
from clframe.types import Batch

LR, MOMENTUM = 0.05, 0.5


def setting() -> tuple[Any, list[tuple[Any, list[Batch]]]]:
    torch.manual_seed(0)
    model = build("mlp", (1, 8, 8), 10, options={"hidden": (8,)}).double()
    stream = class_incremental("digits", class_order="sorted").walked(batch_size=20)
    experiences = [(e.train, [Batch(b.x.double(), b.y, b.index) for _, b in e.steps()][:6]) for e in stream.experiences[:3]]
    return model, experiences


def by_hand(model: Any, experiences: Any, c: float, xi: float, task: bool) -> tuple[list[float], list[Tensor]]:
    """Plain SI: every gradient taken by itself, with autograd through the penalty."""
    params = list(model.parameters())
    buffers = [torch.zeros_like(p) for p in params]
    omega, anchor = [torch.zeros_like(p) for p in params], [p.detach().clone() for p in params]
    penalties = []
    for _, batches in experiences:
        w = [torch.zeros_like(p) for p in params]
        for batch in batches:
            loss = functional.cross_entropy(model(batch.x), batch.y)
            penalty = c * sum((o * (p - a).square()).sum() for o, p, a in zip(omega, params, anchor, strict=True))
            penalties.append(penalty.item())
            own = torch.autograd.grad(loss, params, retain_graph=True)
            total = torch.autograd.grad(loss + penalty, params)
            with torch.no_grad():
                for i, p in enumerate(params):
                    buffers[i] = MOMENTUM * buffers[i] + total[i]
                    step = -LR * buffers[i]
                    w[i] -= (own if task else total)[i] * step
                    p += step
        with torch.no_grad():
            for i, p in enumerate(params):
                omega[i] = torch.relu(omega[i] + w[i] / ((p - anchor[i]) ** 2 + xi))
                anchor[i] = p.clone()
    return penalties, omega


@pytest.mark.parametrize("gradient", ["task", "total"])
def test_penalties_and_importance_are_those_of_the_equations(gradient: Any) -> None:
    model, experiences = setting()
    mine = copy.deepcopy(model)
    part = SI(strength=0.5, xi=0.01, gradient=gradient)
    made = Learner(mine, torch.optim.SGD(mine.parameters(), lr=LR, momentum=MOMENTUM), part)
    found = []
    for train, batches in experiences:
        made.begin(train)
        found += [made.observe(batch).get("si/quadratic", torch.zeros(())).item() for batch in batches]
        made.end(train)
    penalties, omega = by_hand(model, experiences, 0.5, 0.01, gradient == "task")
    assert max(penalties) > 0.01
    assert found == pytest.approx(penalties, rel=1e-8, abs=1e-12)
    for a, b in zip(part.importance, omega, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)
    for p, q in zip(mine.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12)


def test_the_path_adds_up_to_the_fall_of_the_loss() -> None:
    """sum_j w_j = - integral of <g, d theta> = the fall of the loss, for small steps on one batch."""
    model, experiences = setting()
    train, batches = experiences[0]
    part = SI()
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=1e-3), part)
    made.begin(train)
    losses = [made.observe(batches[0])["ce"].item() for _ in range(200)]
    after = functional.cross_entropy(model(batches[0].x), batches[0].y).item()
    assert losses[0] - after > 0.1
    assert sum(w.sum().item() for w in part.path) == pytest.approx(losses[0] - after, rel=0.01)


def test_the_penalty_and_its_gradient_are_zero_at_the_first_update() -> None:
    model, experiences = setting()
    part = SI(strength=10.0)
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=0.0), part, decompose=True)
    for train, batches in experiences[:2]:
        made.begin(train)
        terms = made.observe(batches[0])
        made.end(train)
    assert terms["si/quadratic"] == 0
    assert terms["grad/stability"] == 0


def test_a_weight_that_never_moved_has_no_importance() -> None:
    """Inputs that are always 0 give no gradient, so no path: 0 / xi."""
    model, experiences = setting()
    part = SI()
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=LR), part)
    train, batches = experiences[0]
    made.begin(train)
    for batch in batches:
        made.observe(Batch(batch.x * 0, batch.y, batch.index))
    made.end(train)
    assert part.importance[0].abs().max() == 0  # the first layer's weights
    assert all(o.min() >= 0 for o in part.importance)
    assert part.importance[-1].max() > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strength": -1.0}, "strength must be zero or positive; got -1.0."),
        ({"strength": float("nan")}, "strength must be zero or positive; got nan."),
        ({"xi": 0.0}, "xi must be positive; got 0.0."),
        ({"gradient": "own"}, "gradient must be 'task' or 'total'; got 'own'."),
    ],
)
def test_bad_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as error:
        SI(**options)
    assert str(error.value).startswith(said)
