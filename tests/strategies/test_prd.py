"""PRD: exact values of its losses, and which parameters each of them moves."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from clframe.errors import CompositionError, OptionError
from clframe.models import build
from clframe.scenarios import Stream, class_incremental, permuted, task_incremental
from clframe.strategies import STRATEGIES, Learner, Part, Replay, View
from clframe.strategies.prd import PRD, contrast, relation
from clframe.types import Batch

PHI = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
MOVED = torch.tensor([[1.0, 0.5], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
UNIT = torch.eye(2, dtype=torch.float64)


def learner(*parts: Part, stream: Stream | None = None, head: str = "single") -> tuple[Learner, Stream]:
    stream = (stream or class_incremental("digits", class_order="sorted")).walked(batch_size=10)
    multi = stream.reveals.task_test
    model = build(
        "mlp", (1, 8, 8), 10, options={"hidden": (16,)}, head="multi" if multi else head,
        num_tasks=stream.num_tasks, rows=10 if multi else None,
    )  # fmt: skip
    return Learner(model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), *parts), stream


def small(**options: object) -> PRD:
    return PRD(hidden=16, width=8, **options)  # type: ignore[arg-type]


def train(made: Learner, stream: Stream, experiences: int) -> None:
    for experience in stream.experiences[:experiences]:
        made.begin(experience.train)
        for _, batch in experience.steps():
            made.observe(batch)
        made.end(experience.train)


def view_of(made: Learner, batch: Batch) -> View:
    union, groups, _ = made._union(batch)
    features = made.model.features(union.x)
    return View(made.model, union, groups, features, made.model.head(features, union.task))


def test_golden_values_of_the_relation() -> None:
    assert relation(MOVED, UNIT, PHI, UNIT, 1.0, "prototypes").item() == pytest.approx(0.0087815287, abs=1e-10)
    assert relation(MOVED, UNIT, PHI, UNIT, 1.0, "samples").item() == pytest.approx(0.0085890939, abs=1e-10)


@pytest.mark.parametrize("axis", ["samples", "prototypes"])
def test_the_relation_vanishes_where_nothing_moved_and_ignores_the_scale_of_prototypes(axis: str) -> None:
    draw = torch.Generator().manual_seed(0)
    phi, p = (torch.randn(n, 4, generator=draw, dtype=torch.float64) for n in (7, 3))
    old_phi, old_p = (torch.randn(n, 4, generator=draw, dtype=torch.float64) for n in (7, 3))
    assert relation(phi, p, phi, p, 0.5, axis).item() == pytest.approx(0, abs=1e-15)
    value = relation(phi, p, old_phi, old_p, 0.5, axis)
    assert value > 0
    torch.testing.assert_close(relation(phi, 3 * p, old_phi, 0.2 * old_p, 0.5, axis), value)
    if axis == "samples":
        torch.testing.assert_close(relation(3 * phi, p, 0.2 * old_phi, old_p, 0.5, axis), value)


def test_golden_value_of_the_prototypes_term_and_no_gradient_to_the_features() -> None:
    part = PRD(prototype_strength=1.0)
    part.prototypes = torch.nn.Embedding.from_pretrained(UNIT, freeze=False)
    part._current = {0, 1}
    phi = PHI.clone().requires_grad_()
    batch = Batch(torch.zeros(3, 1), torch.tensor([0, 1, 0]), torch.arange(3))
    view = View(None, batch, {"new": slice(0, 3), "prd": slice(3, 3)}, phi, phi)  # type: ignore[arg-type]
    value = part.penalty(view)["prototypes"]
    assert value.item() == pytest.approx(0.0976310729, abs=1e-10)
    gradients = torch.autograd.grad(value, [phi, part.prototypes.weight], allow_unused=True)
    assert gradients[0] is None
    assert gradients[1].abs().max() > 0


def test_the_contrast_of_one_pair_among_orthogonal_rows_has_a_closed_form() -> None:
    z = torch.eye(6, dtype=torch.float64)[[0, 0, 1, 2, 3]]
    found = contrast(z, torch.tensor([0, 0, 1, 2, 3]), 0.1)
    expected = -math.log(math.exp(10) / (math.exp(10) + 3))
    assert found.tolist() == pytest.approx([expected, expected, 0, 0, 0], abs=1e-12)
    assert contrast(z[:2], torch.tensor([4, 4]), 0.1).tolist() == pytest.approx([0, 0])
    assert contrast(z[:1], torch.tensor([4]), 0.1).tolist() == [0]


def test_the_contrast_is_that_of_khosla_et_al() -> None:
    draw = torch.Generator().manual_seed(0)
    z = functional.normalize(torch.randn(8, 5, generator=draw, dtype=torch.float64))
    y = torch.tensor([0, 0, 1, 1, 1, 2, 2, 0])
    found = contrast(z, y, 0.2)
    for i in range(8):
        others = [j for j in range(8) if j != i]
        total = sum(math.exp(z[i] @ z[j] / 0.2) for j in others)
        positive = [j for j in others if y[j] == y[i]]
        expected = -sum(math.log(math.exp(z[i] @ z[j] / 0.2) / total) for j in positive) / len(positive)
        assert found[i].item() == pytest.approx(expected, rel=1e-9)


def test_the_criterion_is_scaled_by_the_temperature_and_takes_two_views() -> None:
    part = small(temperature=0.2)
    made, stream = learner(part)
    made.begin(stream.experiences[0].train)
    _, batch = next(stream.experiences[0].steps())
    view = view_of(made, batch)
    assert view.groups == {"new": slice(0, 10), "prd": slice(10, 20)}
    assert torch.equal(view.batch.y[:10], view.batch.y[10:])
    assert not torch.equal(view.batch.x[:10], view.batch.x[10:])
    z = functional.normalize(part.projection(view.features))
    torch.testing.assert_close(part.criterion(view), 0.2 / 0.07 * contrast(z, view.batch.y, 0.2))
    assert not torch.equal(part.recall(batch).x, part.recall(batch).x), "every view is drawn anew"


def test_what_is_no_image_is_doubled() -> None:
    part = small()
    learner(part)
    batch = Batch(torch.randn(4, 64), torch.arange(4), torch.arange(4))
    assert torch.equal(part.recall(batch).x, batch.x)


def test_old_prototypes_move_by_the_relation_and_only_by_it() -> None:
    part, still = small(), small(strength=0.0)
    made, stream = learner(part)
    other, _ = learner(still)
    for one in (made, other):
        train(one, stream, 1)
    before = part.prototypes.weight.detach().clone()
    assert torch.equal(before, still.prototypes.weight), "the first experience has no relation"
    for one in (made, other):
        one.begin(stream.experiences[1].train)
        for _, batch in stream.experiences[1].steps():
            terms = one.observe(batch)
        assert sorted(terms) == ["prd/criterion", "prd/prototypes", "prd/relation"]
    moved = (part.prototypes.weight - before).abs().amax(1) > 0
    assert moved.tolist() == [c < 4 for c in range(10)]
    assert ((still.prototypes.weight - before).abs().amax(1) > 0).tolist() == [c in (2, 3) for c in range(10)]


@pytest.mark.parametrize("axis", ["samples", "prototypes"])
def test_the_penalty_sums_over_earlier_experiences(axis: str) -> None:
    part = small(relation_axis=axis, strength=3.0, relation_temperature=0.5)
    made, stream = learner(part)
    train(made, stream, 2)
    assert part.met == [[0, 1], [2, 3]]
    made.begin(stream.experiences[2].train)
    steps = stream.experiences[2].steps()
    made.observe(next(steps)[1])
    view = view_of(made, next(steps)[1])
    old = part.teacher.features(view.batch.x)
    expected = sum(
        3.0 * relation(view.features, part.prototypes.weight[s], old, part.old_prototypes[s], 0.5, axis) for s in part.met
    )
    torch.testing.assert_close(part.penalty(view)["relation"], expected)


def test_the_answer_is_the_largest_cosine_and_ignores_the_scale_of_prototypes() -> None:
    part = small()
    made, stream = learner(part)
    train(made, stream, 2)
    x = stream.data.test.fetch(torch.arange(30))
    scores = made.predict(x)
    expected = functional.cosine_similarity(made.model.features(x)[:, None], part.prototypes.weight[None], dim=2)
    torch.testing.assert_close(scores, expected)
    with torch.no_grad():
        part.prototypes.weight.mul_(torch.arange(1.0, 11.0)[:, None])
    torch.testing.assert_close(made.predict(x), scores)


def test_the_projection_steps_with_the_models_learning_rate_and_prototypes_with_their_own() -> None:
    part = small(prototype_lr=0.5)
    made, stream = learner(part)
    made.begin(stream.experiences[0].train)
    _, batch = next(stream.experiences[0].steps())
    made.optimizer.param_groups[0]["lr"] = 0.03
    before = [p.detach().clone() for p in (part.projection[0].weight, part.prototypes.weight)]
    taken: list[torch.Tensor] = []
    real = part.steps.step
    part.steps.step = lambda: (taken.extend([part.projection[0].weight.grad.clone(), part.prototypes.weight.grad.clone()]), real())  # type: ignore[method-assign,union-attr,func-returns-value]
    made.observe(batch)
    torch.testing.assert_close(part.projection[0].weight, before[0] - 0.03 * taken[0])
    torch.testing.assert_close(part.prototypes.weight, before[1] - 0.5 * taken[1])
    assert part.prototypes.weight.grad is None
    assert made.model.head.weight.grad is None, "the linear head is not trained"


def test_nothing_is_drawn_from_torchs_generator_and_seeds_reach_the_parameters() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    model = build("mlp", (1, 8, 8), 10, options={"hidden": (16,)})
    made = [Learner(model, torch.optim.SGD(model.parameters(), lr=0.1), small(), seed=s) for s in (0, 0, 1)]
    assert torch.equal(before, torch.get_rng_state())
    first, again, other = (m.parts[0].projection[0].weight for m in made)  # type: ignore[attr-defined]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.abs().max() <= 16**-0.5
    torch.testing.assert_close(made[0].parts[0].prototypes.weight.norm(dim=1), torch.ones(10))  # type: ignore[attr-defined]


def test_it_goes_with_replay_separate_heads_and_classes_that_come_again() -> None:
    domains = permuted("digits", experiences=2, samples_per_experience=100)
    for stream in (None, task_incremental("digits", class_order="sorted"), domains):
        part = small()
        made, walked = learner(part, Replay(size=40), stream=stream)
        train(made, walked, 2)
        modules = (made.model, part.projection, part.prototypes)
        assert all(p.isfinite().all() for module in modules for p in module.parameters())
    assert part.met == [list(range(10))]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": -1.0}, "strength must be zero or positive; got -1.0"),
        ({"prototype_strength": -1.0}, "prototype_strength must be zero or positive"),
        ({"prototype_lr": -0.1}, "prototype_lr must be zero or positive"),
        ({"temperature": 0.0}, "temperature must be positive; got 0.0"),
        ({"relation_temperature": -1.0}, "relation_temperature must be positive"),
        ({"relation_axis": "rows"}, "relation_axis must be 'samples' or 'prototypes'; got 'rows'"),
        ({"hidden": 0}, "hidden must be a positive integer; got 0"),
        ({"crop": -1}, "crop must be zero or positive; got -1"),
    ],
)
def test_wrong_options_get_a_sentence(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        PRD(**options)  # type: ignore[arg-type]


def test_a_model_without_a_head_gets_a_sentence() -> None:
    model = build("clframe.testing.worlds:mlp", (1, 8, 8), 10, head="none")
    with pytest.raises(OptionError, match="head must be other than 'none'"):
        Learner(model, torch.optim.SGD(model.parameters(), lr=0.1), PRD())


@pytest.mark.parametrize("other", ["ewc", "lwf", "der", "mas", "mir", "gem", "agem"])
def test_what_reads_the_untrained_head_is_refused(other: str) -> None:
    with pytest.raises(CompositionError, match=f"'{other}' makes use of the network's head, which must be trained; 'prd' trains"):
        learner(small(), STRATEGIES.load(other)())
    made, _ = learner(small())
    assert made.heads == ()


class NeedsThePast(Part):
    name = "needs-the-past"
    partners = frozenset({"recall"})

    def absorb(self, view: View) -> None:
        assert view


def test_the_second_view_is_nothing_of_the_past() -> None:
    with pytest.raises(CompositionError, match="needs another part that recalls samples"):
        learner(small(), NeedsThePast())
    made, stream = learner(Replay(size=20), small())
    train(made, stream, 1)
    made.begin(stream.experiences[1].train)
    _, batch = next(stream.experiences[1].steps())
    union, groups, views = made._union(batch)
    assert groups == {
        "new": slice(0, len(batch)),
        "prd": slice(len(batch), 2 * len(batch)),
        "er": slice(2 * len(batch), len(union)),
    }
    assert View(made.model, union, groups, union.x, union.x, views).recalled == groups["er"]
