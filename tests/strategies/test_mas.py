"""Memory aware synapses against closed forms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from clframe.errors import OptionError
from clframe.models import Head, Network, build
from clframe.scenarios import class_incremental, task_incremental
from clframe.strategies import MAS, Learner


def linear() -> Network:
    torch.manual_seed(0)
    return Network(nn.Flatten(), Head(64, 10))


def learned(part: MAS, model: Network, experiences: int, lr: float = 0.05, stream: Any = None) -> tuple[Learner, Any]:
    stream = (stream or class_incremental("digits", class_order="sorted")).walked(batch_size=20)
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=lr), part)
    for experience in stream.experiences[:experiences]:
        made.begin(experience.train)
        for _, batch in experience.steps():
            made.observe(batch)
        made.end(experience.train)
    return made, stream


def closed_form(model: Network, train: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """For f = W x + b: d ||f||^2 / dW = 2 f x', d ||f||^2 / db = 2 f."""
    batch = next(iter(train.batches(train.size)))
    f = model(batch.x).detach()
    x = batch.x.flatten(1)
    weight = torch.stack([(2 * torch.outer(a, b)).abs() for a, b in zip(f, x, strict=True)]).mean(0)
    return weight, (2 * f).abs().mean(0)


def test_importance_of_a_linear_model_has_a_closed_form() -> None:
    part, model = MAS(samples=10_000), linear()
    _, stream = learned(part, model, 1)
    train = stream.experiences[0].train
    weight, bias = closed_form(model, train)
    torch.testing.assert_close(part.importance[0], weight, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(part.importance[1], bias, rtol=1e-4, atol=1e-6)
    assert part.forwards == part.backwards == train.size


def test_experiences_count_the_same_by_default_and_as_asked_with_keep() -> None:
    for keep, shares in ((None, (1 / 3, 1 / 3, 1 / 3)), (0.5, (0.25, 0.25, 0.5)), (0.0, (0.0, 0.0, 1.0))):
        part, model = MAS(samples=10_000, keep=keep), linear()
        _, stream = learned(part, model, 3, lr=0.0)  # the weights stay, so that each importance can be had at the end
        each = [closed_form(model, e.train)[0] for e in stream.experiences[:3]]
        expected = sum(share * one for share, one in zip(shares, each, strict=True))
        torch.testing.assert_close(part.importance[0], expected, rtol=1e-4, atol=1e-6)


def test_the_penalty_is_strength_times_the_weighted_square() -> None:
    part, model = MAS(strength=0.3, samples=32), linear()
    made, stream = learned(part, model, 1)
    made.begin(stream.experiences[1].train)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1)
    expected = 0.3 * 0.01 * sum(i.sum().item() for i in part.importance)
    _, batch = next(stream.experiences[1].steps())
    assert made.observe(batch)["mas/quadratic"].item() == pytest.approx(expected, rel=1e-4)


def test_labels_are_not_used() -> None:
    class Relabelled:
        def __init__(self, train: Any) -> None:
            self._train = train

        def batches(self, *args: Any, **options: Any) -> Any:
            for batch in self._train.batches(*args, **options):
                yield replace(batch, y=(batch.y + 1) % 10)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._train, name)

    found = []
    for disguise in (lambda train: train, Relabelled):
        part, model = MAS(samples=16), linear()
        train = class_incremental("digits").experiences[0].train
        made = Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), part)
        made.begin(train)
        made.end(disguise(train))
        found.append(part.importance)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_batch_has_less_importance_than_its_samples() -> None:
    """|mean g| <= mean |g|."""
    sizes = []
    for batch_size in (1, 16):
        part = MAS(samples=64, batch_size=batch_size)
        learned(part, linear(), 1)
        sizes.append(part.importance[0])
    assert (sizes[1] <= sizes[0] + 1e-6).all()
    assert sizes[1].sum() < sizes[0].sum()


def test_separate_heads_leave_other_tasks_alone() -> None:
    """Classes without an output score -inf; they must not reach the importance."""
    stream = task_incremental("digits", class_order="sorted")
    model = build("mlp", (1, 8, 8), 10, options={"hidden": (8,)}, head="multi", num_tasks=stream.num_tasks, rows=10)
    part = MAS(samples=32)
    learned(part, model, 1, stream=stream)
    assert all(i.isfinite().all() for i in part.importance)
    head = part.importance[-2]
    assert (head[:2] > 0).any()
    assert (head[2:] == 0).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strength": -0.5}, "strength must be zero or positive; got -0.5."),
        ({"keep": 1.0}, "keep must be a share in [0, 1) or None; got 1.0."),
        ({"samples": 0}, "samples must be a positive integer; got 0."),
        ({"batch_size": 0}, "batch_size must be a positive integer; got 0."),
    ],
)
def test_bad_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as error:
        MAS(**options)
    assert str(error.value).startswith(said)
