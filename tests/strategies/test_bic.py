"""BiC against its equations; the correction against a brute-force minimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from clframe.errors import OptionError
from clframe.models import build
from clframe.scenarios import Stream, class_incremental, task_incremental
from clframe.strategies import Learner, View
from clframe.strategies.bic import BiC, distillation, fit_correction
from clframe.types import Batch


def learner(part: BiC, stream: Stream | None = None, head: str = "single") -> tuple[Learner, Stream]:
    stream = (stream or class_incremental("digits", class_order="sorted")).walked(batch_size=10)
    multi = stream.reveals.task_test
    model = build(
        "mlp", (1, 8, 8), 10, options={"hidden": (16,)}, head="multi" if multi else head,
        num_tasks=stream.num_tasks, rows=10 if multi else None,
    )  # fmt: skip
    return Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), part), stream


def train(made: Learner, stream: Stream, experiences: int) -> None:
    for experience in stream.experiences[:experiences]:
        made.begin(experience.train)
        for _, batch in experience.steps():
            made.observe(batch)
        made.end(experience.train)


def view_of(made: Learner, batch: Batch) -> View:
    features = made.model.features(batch.x)
    return View(made.model, batch, {"new": slice(0, len(batch))}, features, made.model.head(features, batch.task))


def objective(logits: torch.Tensor, y: torch.Tensor, new: int, alpha: float, beta: float, ridge: float) -> float:
    scores = logits.clone()
    scores[:, new:] = alpha * scores[:, new:] + beta
    return float(functional.cross_entropy(scores, y) + ridge / 2 * ((alpha - 1) ** 2 + beta**2))


@pytest.mark.parametrize("ridge", [1e-4, 0.01, 1.0])
def test_the_correction_is_the_minimum_found_by_brute_force(ridge: float) -> None:
    draw = torch.Generator().manual_seed(3)
    y = torch.arange(120) % 6
    logits = torch.randn(120, 6, generator=draw, dtype=torch.float64) + 2.0 * functional.one_hot(y, 6)
    logits[:, 4:] = 1.7 * logits[:, 4:] + 2.5  # the bias: new classes score too high
    alpha, beta = fit_correction(logits, y, list(range(6)), [4, 5], ridge)
    found = objective(logits, y, 4, alpha, beta, ridge)
    centre, width = np.array([0.5, -1.0]), 4.0
    for _ in range(12):  # a grid of 21 x 21, ever finer around its best point
        points = [(a, b) for a in np.linspace(-1, 1, 21) * width + centre[0] for b in np.linspace(-1, 1, 21) * width + centre[1]]
        values = [objective(logits, y, 4, a, b, ridge) for a, b in points]
        centre, width = np.array(points[int(np.argmin(values))]), width / 3
    assert (alpha, beta) == pytest.approx(tuple(centre), abs=1e-4)
    assert found <= min(values) + 1e-12
    assert beta < 0


def test_the_gradient_vanishes_at_the_correction_and_calibrated_scores_are_left_alone() -> None:
    draw = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(20_000, 4, generator=draw, dtype=torch.float64)
    y = torch.multinomial(logits.softmax(1), 1, generator=draw)[:, 0]
    alpha, beta = fit_correction(logits, y, [0, 1, 2, 3], [2, 3], 1e-6)
    assert (alpha, beta) == pytest.approx((1.0, 0.0), abs=0.06)
    at = torch.tensor([alpha, beta], dtype=torch.float64, requires_grad=True)
    scores = torch.cat([logits[:, :2], at[0] * logits[:, 2:] + at[1]], 1)
    (gradient,) = torch.autograd.grad(functional.cross_entropy(scores, y), at)
    assert gradient.abs().max() < 1e-6


def test_a_known_bias_is_taken_back() -> None:
    draw = torch.Generator().manual_seed(2)
    logits = 2 * torch.randn(20_000, 4, generator=draw, dtype=torch.float64)
    y = torch.multinomial(logits.softmax(1), 1, generator=draw)[:, 0]
    logits[:, 2:] = (logits[:, 2:] + 3.0) / 0.5
    alpha, beta = fit_correction(logits, y, [0, 1, 2, 3], [2, 3], 1e-6)
    assert (alpha, beta) == pytest.approx((0.5, -3.0), abs=0.1)


def test_distillation_is_the_cross_entropy_between_softened_answers() -> None:
    draw = torch.Generator().manual_seed(0)
    scores, taught = (torch.randn(5, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    p, q = (taught / 2).exp(), (scores / 2).exp()
    expected = -((p / p.sum(1, keepdim=True)) * (q / q.sum(1, keepdim=True)).log()).sum(1)
    torch.testing.assert_close(distillation(scores, taught, 2.0), expected)
    ruled_out = torch.full((1, 3), -torch.inf)
    assert distillation(ruled_out, ruled_out, 0.1).tolist() == [0.0]


def test_stage_one_weighs_both_losses_by_the_share_of_old_classes() -> None:
    part = BiC(size=60, temperature=3.0)
    made, stream = learner(part)
    train(made, stream, 2)
    assert part.corrected == [2, 3]
    made.begin(stream.experiences[2].train)
    steps = stream.experiences[2].steps()
    made.observe(next(steps)[1])
    joined, _, _ = made._union(next(steps)[1])
    joined = Batch(joined.x, joined.y, torch.full_like(joined.index, -1))  # none of them is held out
    view = view_of(made, joined)
    with torch.no_grad():
        taught = part.teacher(joined.x)
        taught[:, 2:4] = part.alpha * taught[:, 2:4] + part.beta
    p = (taught[:, :4] / 3).softmax(1)
    kd = -(p * (view.logits[:, :4] / 3).log_softmax(1)).sum(1)
    ce = functional.cross_entropy(view.logits, joined.y, reduction="none")
    torch.testing.assert_close(part.criterion(view), 2 / 6 * ce + 4 / 6 * kd)
    part.strength = 0.25
    torch.testing.assert_close(part.criterion(view), 0.75 * ce + 0.25 * kd)


def test_held_out_samples_are_balanced_never_stored_and_change_no_weight() -> None:
    part = BiC(size=100, held_out=0.2)
    made, stream = learner(part)
    y = stream.data.train.y
    for k, experience in enumerate(stream.experiences[:3]):
        made.begin(experience.train)
        quota = 20 // (2 * k + 2)
        held = y[part.held.numpy()]
        assert np.bincount(held, minlength=10).tolist() == [quota if c < 2 * k + 2 else 0 for c in range(10)]
        assert held.tolist() == part.held_y.tolist()
        for _, batch in experience.steps():
            made.observe(batch)
        made.end(experience.train)
        assert not set(part.held.tolist()) & set(part.memory.index[: part.memory.filled].tolist())
        assert len(part.memory) + len(part.held) <= 100
    made.begin(stream.experiences[3].train)
    _, batch = next(stream.experiences[3].steps())
    out = torch.arange(10) < 4
    part.held = torch.cat([part.held, batch.index[out]])
    rest = Batch(batch.x[~out], batch.y[~out], batch.index[~out])
    made._recalling.clear()
    loss = made._terms(view_of(made, batch))["bic/criterion"]
    alone = made._terms(view_of(made, rest))["bic/criterion"]
    torch.testing.assert_close(loss, alone)
    weighted = Batch(batch.x, batch.y, batch.index, torch.arange(1.0, 11.0))
    loss = made._terms(view_of(made, weighted))["bic/criterion"]
    alone = made._terms(view_of(made, Batch(rest.x, rest.y, rest.index, torch.arange(5.0, 11.0))))["bic/criterion"]
    torch.testing.assert_close(loss, alone)
    part.held = batch.index
    assert made.observe(batch)["bic/criterion"].item() == 0
    assert all(p.isfinite().all() and not p.grad.any() for p in made.model.parameters() if p.grad is not None)


def test_rare_classes_keep_more_than_half_of_their_samples() -> None:
    part = BiC(size=1000, held_out=0.5)
    made, stream = learner(part)
    made.begin(stream.experiences[0].train)
    held, all_of_them = (np.bincount(stream.data.train.y[i], minlength=2) for i in (part.held.numpy(), stream.segments[0]))
    assert (held == all_of_them // 2).all()


def test_corrected_scores_answer_between_experiences_only() -> None:
    part = BiC(size=80)
    made, stream = learner(part)
    x = stream.data.test.fetch(torch.arange(20))
    train(made, stream, 1)
    assert (part.alpha, part.beta, part.corrected) == (1.0, 0.0, [])
    train(made, stream, 2)
    assert (part.alpha, part.beta) != (1.0, 0.0)
    linear = made.predict_heads(x)["linear"]
    answer = made.predict(x)
    corrected = [c in part.corrected for c in range(10)]
    assert torch.equal(answer[:, ~torch.tensor(corrected)], linear[:, ~torch.tensor(corrected)])
    torch.testing.assert_close(answer[:, corrected], part.alpha * linear[:, corrected] + part.beta)
    made.begin(stream.experiences[2].train)
    assert torch.equal(made.predict(x), linear)


def test_the_correction_moves_answers_back_to_old_classes() -> None:
    made, stream = learner(BiC(size=400, held_out=0.5, batch_size=1))
    train(made, stream, 2)
    y = torch.from_numpy(stream.data.test.y)
    met = y < 4
    heads = made.predict_heads(stream.data.test.fetch(torch.arange(len(y))[met]))
    linear, corrected = ((heads[name].argmax(1) == y[met]).float() for name in ("linear", ""))
    assert corrected[y[met] < 2].mean() > linear[y[met] < 2].mean()
    assert corrected.mean() > linear.mean()


def test_separate_heads_and_masked_ones_are_learned() -> None:
    for stream, head in ((task_incremental("digits", class_order="sorted"), "multi"), (None, "masked")):
        made, walked = learner(BiC(size=40), stream, head)
        train(made, walked, 3)
        assert all(p.isfinite().all() for p in made.model.parameters())
        assert not made.predict(walked.data.test.fetch(torch.arange(9)), torch.zeros(9, dtype=torch.int64)).isnan().any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be a positive integer; got 0"),
        ({"size": 19}, "size must be at least twice the number of classes, 10"),
        ({"batch_size": 0}, "batch_size must be a positive integer or None; got 0"),
        ({"held_out": 0.0}, r"held_out must be a share in \(0, 1\); got 0.0"),
        ({"temperature": 0.0}, "temperature must be positive; got 0.0"),
        ({"strength": -0.5}, r"strength must be in \[0, 1\] or None; got -0.5"),
        ({"ridge": 0.0}, "ridge must be positive, so that the correction is bounded; got 0.0"),
        ({"ridge": -1.0}, "ridge must be positive"),
        ({"memory": "herdin"}, "Did you mean 'herding'"),
    ],
)
def test_wrong_options_get_a_sentence(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        learner(BiC(**options))  # type: ignore[arg-type]
