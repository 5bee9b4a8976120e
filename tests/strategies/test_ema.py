"""The moving average of the weights: closed forms, torch's own average, and training that does not notice."""

from __future__ import annotations

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from clframe.errors import CompositionError, OptionError
from clframe.models import build
from clframe.scenarios import Stream, class_incremental
from clframe.strategies import Learner
from clframe.strategies.ema import EMA
from clframe.strategies.icarl import ICaRL
from clframe.strategies.nearest_mean import NearestMean

STEPS = 12


def learner(*parts: EMA, head: str = "single") -> tuple[Learner, Stream]:
    stream = class_incremental("digits", class_order="sorted").walked(batch_size=10)
    model = build("clframe.testing.worlds:mlp", (1, 8, 8), 10, options={"touchy": True}, head=head)
    return Learner(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), *parts), stream


def steps(made: Learner, stream: Stream, count: int = STEPS) -> list[dict[str, torch.Tensor]]:
    """Train, and return every state of the weights, the first included."""
    experience = stream.experiences[0]
    made.begin(experience.train)
    seen = [{n: v.clone() for n, v in made.model.state_dict().items()}]
    for (_, batch), _ in zip(experience.steps(), range(count), strict=False):
        made.observe(batch)
        seen.append({n: v.clone() for n, v in made.model.state_dict().items()})
    return seen


def test_the_exponential_average_has_its_closed_form() -> None:
    made, stream = learner(EMA(decay=0.8))
    seen = steps(made, stream)
    for name, mean in made.parts[0].network().state_dict().items():
        if mean.is_floating_point():
            expected = 0.8**STEPS * seen[0][name].double()
            expected += 0.2 * sum(0.8 ** (STEPS - k) * seen[k][name].double() for k in range(1, STEPS + 1))
            torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(mean, seen[-1][name])


@pytest.mark.parametrize(("weights", "power"), [("uniform", 0), ("linear", 1), ("quadratic", 2)])
def test_the_other_averages_have_their_closed_form(weights: str, power: int) -> None:
    made, stream = learner(EMA(weights=weights))  # type: ignore[arg-type]
    seen = steps(made, stream)
    total = sum(k**power for k in range(1, STEPS + 1))
    for name, mean in made.parts[0].network().state_dict().items():
        if mean.is_floating_point():
            expected = sum(k**power / total * seen[k][name].double() for k in range(1, STEPS + 1))
            torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-6)


def test_every_step_is_that_of_torchs_averaged_model() -> None:
    made, stream = learner(EMA(decay=0.9))
    theirs = AveragedModel(made.model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)  # type: ignore[no-untyped-call]
    theirs.update_parameters(made.model)  # its first call copies
    made.begin(stream.experiences[0].train)
    for (_, batch), _ in zip(stream.experiences[0].steps(), range(STEPS), strict=False):
        made.observe(batch)
        theirs.update_parameters(made.model)
        for name, mean in made.parts[0].network().state_dict().items():
            if mean.is_floating_point():
                torch.testing.assert_close(mean, theirs.module.state_dict()[name], rtol=0, atol=0)


def test_without_decay_the_average_is_the_model() -> None:
    made, stream = learner(EMA(decay=0.0))
    steps(made, stream)
    for name, mean in made.parts[0].network().state_dict().items():
        assert torch.equal(mean, made.model.state_dict()[name])


def test_training_does_not_notice_and_the_average_answers_in_evaluation_mode() -> None:
    torch.manual_seed(0)
    plain, stream = learner()
    steps(plain, stream)
    torch.manual_seed(0)
    made, _ = learner(EMA(decay=0.9))
    steps(made, stream)
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, made.model.state_dict()[name])
    average = made.parts[0].network()
    x = torch.randn(5, 1, 8, 8)
    assert not any(m.training for m in average.modules())
    assert made.model.training
    assert torch.equal(made.predict(x), average(x))
    assert torch.equal(made.predict(x), made.predict(x))


def test_the_classes_that_the_head_opens_are_open_in_the_average() -> None:
    made, stream = learner(EMA(), head="masked")
    made.begin(stream.experiences[0].train)
    scores = made.predict(torch.zeros(1, 1, 8, 8))
    assert scores.isfinite()[0].tolist() == [c < 2 for c in range(10)]


def test_a_head_that_was_fitted_to_the_trained_network_is_refused() -> None:
    for other in (NearestMean(), ICaRL()):
        with pytest.raises(CompositionError):
            learner(EMA(), other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay": 1.0}, r"decay must be in \[0, 1\); got 1.0"),
        ({"decay": -0.1}, r"decay must be in \[0, 1\)"),
        ({"decay": float("nan")}, "decay must be"),
        ({"weights": "cubic"}, "weights must be 'exponential', 'uniform', 'linear' or 'quadratic'; got 'cubic'"),
    ],
)
def test_wrong_options_get_a_sentence(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        EMA(**options)  # type: ignore[arg-type]
