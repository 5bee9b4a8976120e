"""WSN learns scores straight through its masks; SpaceNet keeps a task within units of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clframe import pieces
from clframe.errors import OptionError
from clframe.scenarios.catalog import build as build_stream
from clframe.strategies import Setup, build
from clframe.strategies.loss import classification_loss
from clframe.strategies.sparse.wsn import _limit


def made(words: str, backbone: str = "mlp(hidden=(40, 30))", lr: float = 0.1, options: str = "") -> tuple[Any, Any]:
    stream = build_stream("task-incremental" + options, options={}, seed=0).walked(batch_size=20, seed=0)
    model = pieces.network(backbone, "multi", stream, 0)
    return build(words, Setup(model, lambda p: torch.optim.SGD(p, lr=lr), seed=0)), stream


def learn(strategy: Any, experience: Any) -> None:
    strategy.begin(experience.train)
    for _, batch in experience.steps():
        strategy.observe(batch)
    strategy.end(experience.train)


def test_scores_and_weights_get_the_gradients_of_the_straight_through_estimate() -> None:
    strategy, stream = made("wsn(density=0.4)")
    learn(strategy, stream.experiences[0])
    for score in strategy.scores.values():
        score.data = score.data.flip(0)  # so that the second task takes up other weights, too
    strategy.begin(stream.experiences[1].train)
    _, batch = next(iter(stream.experiences[1].steps()))
    expected: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    weights = {n: strategy.store[n].clone().requires_grad_() for n in strategy.layers}
    scores = {n: strategy.scores[n].detach().clone().requires_grad_() for n in strategy.layers}
    straight = {n: strategy.masks[n] + scores[n].abs() - scores[n].abs().detach() for n in strategy.layers}
    logits = torch.func.functional_call(strategy.model, {n: weights[n] * straight[n] for n in weights}, (batch.x, batch.task))
    classification_loss(logits, batch.y, batch.weight).backward()  # type: ignore[no-untyped-call]
    for n in strategy.layers:
        weight, score = weights[n].grad, scores[n].grad
        assert weight is not None and score is not None
        expected[n] = (weight * ~strategy.used[n], score)
    before = {n: (strategy.store[n].clone(), strategy.scores[n].detach().clone()) for n in strategy.layers}
    strategy.observe(batch)
    for n, (weight, score) in expected.items():
        torch.testing.assert_close(strategy.store[n], before[n][0] - 0.1 * weight)
        torch.testing.assert_close(strategy.scores[n].detach(), before[n][1] - 0.1 * score)
        assert (strategy.masks[n] & strategy.used[n]).any() and weight.abs().sum() > 0


def test_a_task_computes_with_the_weights_of_the_largest_scores() -> None:
    strategy, stream = made("wsn(density=0.25)")
    learn(strategy, stream.experiences[0])
    for n, mask in strategy.archive.masks(0).items():
        score = strategy.scores[n].detach().abs()
        assert int(mask.sum()) == strategy.count[n] == round(0.25 * mask.numel())
        assert score[mask].min() > score[~mask].max()


@pytest.mark.parametrize("last", [None, 0.0, 0.29, 0.3, 0.5, 2.0, float("nan")])
def test_where_the_limit_is_looked_for_first_does_not_matter(last: float | None) -> None:
    scores = torch.rand(1000, generator=torch.Generator().manual_seed(0)).square()
    hint = None if last is None else torch.tensor(last)
    for count in (1, 7, 300, 500, 999, 1000):
        assert _limit(scores, count, hint) == scores.sort(descending=True).values[count - 1]


@pytest.mark.parametrize("backbone", ["mlp(hidden=(40, 30))", "cnn(widths=(20, 30))"])
def test_a_subnet_stays_within_its_units_and_reserved_ones_are_never_drawn_again(backbone: str) -> None:
    strategy, stream = made("spacenet(neurons=0.3,reserve=0.1,density=0.5,period=3)", backbone)
    reserved = {n: torch.zeros_like(r) for n, r in strategy.reserved.items()}
    for task, experience in enumerate(stream.experiences[:3]):
        strategy.begin(experience.train)
        blocks = strategy._blocks()
        counts = {n: int(m.sum()) for n, m in strategy.masks.items()}
        begun = {n: m.clone() for n, m in strategy.masks.items()}
        learnt = list(experience.steps())
        for _, batch in learnt:
            strategy.observe(batch)
        changed = sum(int((begun[n] ^ strategy.masks[n]).sum()) for n in strategy.layers)
        strategy.end(experience.train)
        assert changed > 0
        for n, mask in strategy.archive.masks(task).items():
            drawn = strategy.drawn[n]
            assert not (mask & ~blocks[n]).any() and int(mask.sum()) == counts[n]
            assert not (drawn & reserved[n]).any() and int(drawn.sum()) == round(0.3 * len(drawn))
            new = strategy.reserved[n] & ~reserved[n]
            assert int(new.sum()) == round(0.1 * len(drawn)) and not (new & ~drawn).any()
            reserved[n] = strategy.reserved[n].clone()


def test_importance_is_the_change_times_the_gradient() -> None:
    strategy, stream = made("spacenet(period=1000)", lr=0.1)
    experience = stream.experiences[0]
    strategy.begin(experience.train)
    omega = {n: torch.zeros_like(w) for n, w in strategy.store.items()}
    for _, batch in list(experience.steps())[:3]:
        strategy.observe(batch)
        for n, w in strategy._weights.items():
            omega[n] += 0.1 * w.grad.square() * strategy.masks[n]  # with plain SGD the change is -lr x gradient
    for n in strategy.layers:
        torch.testing.assert_close(strategy.omega[n], omega[n], rtol=1e-3, atol=1e-8)


def test_when_units_run_out_the_layers_and_what_would_fit_are_said() -> None:
    strategy, stream = made("spacenet(neurons=0.5,reserve=0.4,period=50)")
    said = r"5 tasks must find enough units that are not reserved; 2 of the layers .*Give reserve=0.125"
    with pytest.raises(OptionError, match=said):
        strategy.begin(stream.experiences[0].train)


def test_no_task_is_left_without_weights_however_much_the_first_asks_for() -> None:
    strategy, stream = made("spacenet(neurons=1,reserve=0,density=1,period=50)")
    for task, experience in enumerate(stream.experiences):
        learn(strategy, experience)
        assert all(m.any() for m in strategy.archive.masks(task).values())
    strategy._task, strategy.archive._held[9] = -1, strategy.archive._held.pop(0)  # a sixth task
    with pytest.raises(OptionError, match="task 5 must find free weights between its units; 2 of the layers have none"):
        strategy.begin(stream.experiences[0].train)


def test_by_default_every_task_that_is_expected_finds_its_units() -> None:
    strategy, stream = made("spacenet(neurons=0.2,period=50)", options="(experiences=10)")
    for experience in stream.experiences:
        learn(strategy, experience)
    assert strategy.tasks == 10


def test_spacenet_refuses_a_network_with_branches() -> None:
    stream = build_stream("task-incremental", options={}, seed=0).walked(batch_size=20, seed=0)
    model = pieces.network("slim-resnet18", "multi", stream, 0)
    with pytest.raises(OptionError, match="model must be a chain of layers for 'spacenet'"):
        build("spacenet", Setup(model, lambda p: torch.optim.SGD(p, lr=0.1), seed=0))
