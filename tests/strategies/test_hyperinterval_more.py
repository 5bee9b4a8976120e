"""HyperInterval: promises and what they have in common, wide boxes, and tasks that are found by how sure a whole box is."""

from __future__ import annotations

import copy

import pytest
import torch

from clframe.errors import OptionError
from clframe.models.interval import Box
from clframe.models.interval.forward import propagate, traced
from clframe.strategies.interval.promises import Promises
from tests.strategies.test_hyperinterval import learn, made, samples_of


def box(low: float, high: float) -> Box:
    return Box(torch.tensor([low]), torch.tensor([high]))


def ends(found: Box | None) -> tuple[float, float]:
    assert found is not None
    return found.lower.item(), found.upper.item()


def test_one_network_for_all_is_held_by_what_all_promises_have_in_common() -> None:
    held = Promises(shared=True)
    assert held.limit(0) is None
    held.keep(0, box(0, 4))
    held.keep(1, box(1, 5))
    held.keep(2, box(0, 3))
    assert ends(held.limit(0)) == ends(held.limit(7)) == (1, 3)
    held.keep(1, box(-1, 9))  # the task came back, and was promised anew
    assert ends(held.limit(0)) == (0, 3)


def test_a_network_of_its_own_is_held_by_its_own_promise() -> None:
    held = Promises(shared=False)
    held.keep(0, box(0, 4))
    held.keep(1, box(1, 5))
    assert ends(held.limit(0)) == (0, 4) and ends(held.limit(1)) == (1, 5) and held.limit(2) is None


def test_promises_that_are_put_back_hold_as_before() -> None:
    held, again = Promises(shared=True), Promises(shared=True)
    held.keep(3, box(0, 4))
    held.keep(1, box(1, 5))
    again.put_back(copy.deepcopy(held.ends()), torch.device("cpu"))
    assert list(again.boxes) == [3, 1] and ends(again.limit(0)) == ends(held.limit(0))


def test_a_reward_for_volume_makes_boxes_wider() -> None:
    logs = []
    for words in ("hyperinterval", "hyperinterval(volume=0.3)"):
        strategy, stream = made(words, epochs=8)
        learn(strategy, stream.experiences[0])
        logs.append(float((strategy.promises.boxes[0].radius / strategy.net.scale).log().mean()))
    assert logs[1] > logs[0] + 0.3  # on average wider by a third


def test_the_surest_task_is_that_of_the_least_weighted_entropy() -> None:
    strategy, stream = made("hyperinterval(infer=interval)", "class-incremental(experiences=3)", epochs=2)
    for experience in stream.experiences:
        learn(strategy, experience)
    x = torch.cat([samples_of(stream, k)[0][:20] for k in range(3)])
    with torch.no_grad():
        found, entropies = strategy.predict(x), []
        for task in strategy.embeddings:
            weights = {n: Box(low, high) for (n, low), high in zip(*region(strategy, task), strict=True)}
            out = propagate(traced(strategy.target), x, weights).out
            low, high = out.lower[:, : len(strategy._classes[task])], out.upper[:, : len(strategy._classes[task])]
            p = ((low + high) / 2).softmax(1)
            entropies.append(-(p * p.log() / (high - low + 1e-8)).sum(1))
        tasks = torch.stack(entropies).argmin(0)
        assert len(tasks.unique()) == 3
        for i, task in enumerate(tasks.tolist()):
            torch.testing.assert_close(found[i], strategy.scores_of(task, x)[i])


def region(strategy, task):  # type: ignore[no-untyped-def]
    made_of = strategy.region([task])
    return strategy.net.split(made_of.lower[0]).items(), strategy.net.split(made_of.upper[0]).values()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("hyperinterval(volume=-1)", "volume must be zero or positive; got -1"),
        ("hyperinterval(volume=0.1,gamma=0)", "volume must be 0 where gamma is 0"),
        ("hyperinterval(ramp=2)", "ramp must be a share in"),
    ],
)
def test_what_boxes_depend_on_is_checked(words: str, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        made(words)
