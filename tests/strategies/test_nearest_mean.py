"""The nearest-mean head: distances written out, means that follow the weights, training that does not notice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

import clframe
from clframe.errors import OptionError
from clframe.models import build
from clframe.scenarios import Stream, class_incremental, task_incremental
from clframe.strategies import Learner, Part, Replay
from clframe.strategies.nearest_mean import NearestMean


def learner(*parts: Part, stream: Stream | None = None) -> tuple[Learner, Stream]:
    stream = (stream or class_incremental("digits", class_order="sorted")).walked(batch_size=10)
    multi = stream.reveals.task_test
    model = build(
        "mlp", (1, 8, 8), 10, options={"hidden": (16,)}, head="multi" if multi else "single",
        num_tasks=stream.num_tasks, rows=10 if multi else None,
    )  # fmt: skip
    return Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), *parts), stream


def train(made: Learner, stream: Stream, experiences: int) -> None:
    for experience in stream.experiences[:experiences]:
        made.begin(experience.train)
        for _, batch in experience.steps():
            made.observe(batch)
        made.end(experience.train)


def some_test(stream: Stream, count: int = 40) -> torch.Tensor:
    return stream.data.test.fetch(torch.arange(count))


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("memory", ["class-balanced", "herding"])
def test_scores_are_distances_to_the_means_of_what_is_remembered(normalised: bool, memory: str) -> None:
    part = NearestMean(size=60, memory=memory, normalised=normalised, answer=True)
    made, stream = learner(part)
    train(made, stream, 3)
    x = some_test(stream)
    ids = part.memory.index[: part.memory.filled]
    y = stream.data.train.y[ids.numpy()]
    with torch.no_grad():
        phi, exemplars = (made.model.features(i).double() for i in (x, stream.data.train.fetch(ids)))
    if normalised:
        phi, exemplars = functional.normalize(phi), functional.normalize(exemplars)
    scores = made.predict(x)
    for c in range(10):
        if c >= 6:
            assert scores[:, c].isneginf().all()
            continue
        mean = exemplars[torch.from_numpy(np.flatnonzero(y == c))].mean(0)
        mean = mean / mean.norm() if normalised else mean
        torch.testing.assert_close(scores[:, c].double(), -(phi - mean).square().sum(1), rtol=1e-4, atol=1e-4)


def test_the_means_follow_the_weights_and_are_worked_out_once() -> None:
    part = NearestMean(size=40, answer=True)
    made, stream = learner(part)
    train(made, stream, 1)
    x = some_test(stream)
    fetched = []
    real = part._fetch
    part._fetch = lambda ids: (fetched.append(len(ids)), real(ids))[1]  # type: ignore[func-returns-value]
    before = made.predict(x)
    assert torch.equal(before, made.predict(x))
    assert sum(fetched) == 40
    made.begin(stream.experiences[1].train)
    _, batch = next(stream.experiences[1].steps())
    made.observe(batch)
    after = made.predict(x)
    assert not torch.equal(before[:, :2], after[:, :2])
    assert after[:, 2:4].isfinite().all(), "classes of the experience in progress have means"


def test_it_is_measured_beside_the_linear_head_and_training_does_not_notice() -> None:
    plain, stream = learner(Replay(size=50))
    beside, _ = learner(Replay(size=50), NearestMean(size=50))
    answering, _ = learner(Replay(size=50), NearestMean(size=50, answer=True))
    x = some_test(stream)
    for made in (plain, beside, answering):
        train(made, stream, 2)
    for made in (beside, answering):
        assert all(torch.equal(a, b) for a, b in zip(plain.model.parameters(), made.model.parameters(), strict=True))
    assert beside.heads == ("nmc-head",)
    assert answering.heads == ("linear",)
    assert torch.equal(beside.predict(x), plain.predict(x))
    assert torch.equal(beside.predict_heads(x)["nmc-head"], answering.predict(x))
    assert torch.equal(answering.predict_heads(x)["linear"], plain.predict(x))


def test_the_means_are_taken_in_evaluation_mode_and_leave_no_trace() -> None:
    stream = class_incremental("digits", class_order="sorted").walked(batch_size=10)
    model = build("clframe.testing.worlds:mlp", (1, 8, 8), 10, options={"touchy": True})
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), NearestMean(size=40, answer=True))
    train(made, stream, 1)
    state, drawn = {n: v.clone() for n, v in model.state_dict().items()}, torch.get_rng_state()
    features = torch.zeros(3, 24)
    made.parts[0].read(features, torch.zeros(3, 10), None)
    assert all(torch.equal(v, model.state_dict()[n]) for n, v in state.items())
    assert torch.equal(drawn, torch.get_rng_state())
    assert all(m.training for m in model.modules())


def test_what_the_linear_head_rules_out_is_ruled_out() -> None:
    made, stream = learner(NearestMean(size=60, answer=True), stream=task_incremental("digits", class_order="sorted"))
    x = some_test(stream)
    assert made.predict(x, torch.zeros(40, dtype=torch.int64)).isneginf().all()
    train(made, stream, 3)
    for task in range(3):
        scores = made.predict(x, torch.full((40,), task))
        assert scores.isfinite()[0].tolist() == [c // 2 == task for c in range(10)]


def test_a_memory_that_waits_for_the_end_of_an_experience_needs_boundaries() -> None:
    assert "boundaries" in NearestMean(memory="herding").requires
    assert not NearestMean().requires


def test_it_runs_as_a_strategy() -> None:
    result = clframe.run("split-digits", "er(size=200)+nmc-head(answer=True)", evaluate="boundaries")
    assert result.accuracy[-1].mean() > 0.6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be a positive integer; got 0"),
        ({"size": 9}, "size must be at least the number of classes, 10"),
        ({"memory": "rinf"}, "Did you mean 'ring'"),
    ],
)
def test_wrong_options_get_a_sentence(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        learner(NearestMean(**options))  # type: ignore[arg-type]
