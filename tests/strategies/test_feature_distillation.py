"""Feature distillation against its equations."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from clframe.errors import OptionError
from clframe.models import build
from clframe.scenarios import class_incremental
from clframe.strategies import FeatureDistillation, Learner, Replay


def learner(*parts: Any, **options: Any) -> tuple[Learner, Any]:
    torch.manual_seed(0)
    model = build("mlp", (1, 8, 8), 10, options={"hidden": (16,)})
    stream = class_incremental("digits", class_order="sorted").walked(batch_size=10)
    return Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), *parts, **options), stream


def learn(made: Learner, experience: Any) -> None:
    made.begin(experience.train)
    for _, batch in experience.steps():
        made.observe(batch)
    made.end(experience.train)


@pytest.mark.parametrize("normalised", [False, True])
def test_the_penalty_is_that_of_the_equation(normalised: bool) -> None:
    part = FeatureDistillation(strength=0.3, normalised=normalised)
    made, stream = learner(part)
    learn(made, stream.experiences[0])
    old = copy.deepcopy(made.model)
    made.begin(stream.experiences[1].train)
    for _, batch in stream.experiences[1].steps():
        with torch.no_grad():
            f, g = made.model.features(batch.x), old.features(batch.x)
        if normalised:
            cosines = (f * g).sum(1) / (f.norm(dim=1) * g.norm(dim=1))
            expected = 0.3 * (1 - cosines).mean()
        else:
            expected = 0.3 * ((f - g) ** 2).sum(1).mean()
        found = made.observe(batch)["feature-distillation/features"]
        assert found.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
    assert found > 1e-3
    assert part.forwards == stream.experiences[1].train.size


def test_nothing_pulls_at_the_first_update() -> None:
    made, stream = learner(FeatureDistillation(strength=5.0), decompose=True)
    learn(made, stream.experiences[0])
    made.begin(stream.experiences[1].train)
    _, batch = next(stream.experiences[1].steps())
    terms = made.observe(batch)
    assert terms["feature-distillation/features"] == 0
    assert terms["grad/stability"].item() == pytest.approx(0.0, abs=1e-7)


def test_only_the_new_samples_are_compared() -> None:
    part = FeatureDistillation()
    made, stream = learner(part, Replay(size=50))
    learn(made, stream.experiences[0])
    made.begin(stream.experiences[1].train)
    _, batch = next(stream.experiences[1].steps())
    before = part.forwards
    made.observe(batch)
    assert part.forwards - before == len(batch)


def test_the_teacher_stays_as_it_was_and_is_not_trained() -> None:
    part = FeatureDistillation()
    made, stream = learner(part)
    learn(made, stream.experiences[0])
    kept = copy.deepcopy(part.teacher.state_dict())
    made.begin(stream.experiences[1].train)
    for _, batch in stream.experiences[1].steps():
        made.observe(batch)
    assert all(torch.equal(a, b) for a, b in zip(kept.values(), part.teacher.state_dict().values(), strict=True))
    assert not any(p.requires_grad for p in part.teacher.parameters())
    assert not part.teacher.training


def test_bad_options() -> None:
    with pytest.raises(OptionError) as error:
        FeatureDistillation(strength=-1.0)
    assert str(error.value).startswith("strength must be zero or positive; got -1.0.")
