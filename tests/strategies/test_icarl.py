"""iCaRL against its equations, written out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from clframe.errors import OptionError
from clframe.models import build
from clframe.scenarios import Stream, class_incremental, permuted, task_incremental
from clframe.strategies import Learner, View
from clframe.strategies.icarl import ICaRL
from clframe.types import Batch


def learner(part: ICaRL, stream: Stream | None = None, head: str = "single") -> tuple[Learner, Stream]:
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


def bce(score: float, target: float) -> float:
    g = 1 / (1 + math.exp(-score))
    return -target * math.log(g) - (1 - target) * math.log(1 - g)


def test_the_loss_is_a_sum_of_binary_cross_entropies_with_the_old_answers_as_targets() -> None:
    part = ICaRL(size=40, strength=0.7)
    made, stream = learner(part)
    train(made, stream, 2)
    made.begin(stream.experiences[2].train)
    steps = stream.experiences[2].steps()
    made.observe(next(steps)[1])
    joined, groups, _ = made._union(next(steps)[1])
    assert groups["icarl"] == slice(10, 20)
    found = part.criterion(view_of(made, joined))
    with torch.no_grad():
        scores, taught = made.model(joined.x).double(), part.teacher(joined.x).double()
    assert not torch.equal(scores, taught)
    for i, y in enumerate(joined.y.tolist()):
        old = sum(0.7 * bce(scores[i, c].item(), taught[i, c].sigmoid().item()) for c in range(4))
        new = sum(bce(scores[i, c].item(), float(y == c)) for c in (4, 5))
        assert found[i].item() == pytest.approx(old + new, rel=1e-4)


def test_the_first_experience_is_learned_from_labels_over_its_own_classes() -> None:
    made, stream = learner(ICaRL())
    made.begin(stream.experiences[0].train)
    _, batch = next(stream.experiences[0].steps())
    expected = functional.binary_cross_entropy_with_logits(
        made.model(batch.x)[:, :2], functional.one_hot(batch.y, 2).float(), reduction="none"
    ).sum(1).mean()  # fmt: skip
    terms = made.observe(batch)
    assert list(terms) == ["icarl/criterion"]
    assert terms["icarl/criterion"].item() == pytest.approx(expected.item(), rel=1e-5)
    gradient = made.model.head.weight.grad
    assert isinstance(gradient, torch.Tensor)
    assert gradient[:2].abs().sum() > 0
    assert gradient[2:].abs().sum() == 0


def test_at_the_switch_old_classes_are_not_pushed() -> None:
    """d BCE(s, sigmoid(t)) / ds = sigmoid(s) - sigmoid(t) = 0 where s = t."""
    part = ICaRL(size=40)
    made, stream = learner(part)
    train(made, stream, 1)
    made.begin(stream.experiences[1].train)
    view = view_of(made, next(stream.experiences[1].steps())[1])
    (gradient,) = torch.autograd.grad(part.criterion(view).sum(), view.logits)
    assert gradient[:, :2].abs().max() < 1e-6
    assert gradient[:, 2:4].abs().max() > 1e-2
    assert gradient[:, 4:].abs().max() == 0


def test_exemplars_are_herded_and_the_first_ones_of_each_class_stay() -> None:
    part = ICaRL(size=42)
    made, stream = learner(part)
    train(made, stream, 1)
    first = part.memory.state_dict()["ranked"]
    source = stream.data.train
    for label, ids in enumerate(first):
        own = torch.from_numpy(stream.segments[0][source.y[stream.segments[0]] == label])
        with torch.no_grad():
            phi = functional.normalize(made.model.features(source.fetch(own))).double()
        mean, chosen = phi.mean(0), []
        for k in range(1, 22):
            total = phi[chosen].sum(0)
            distance = (mean - (phi + total) / k).norm(dim=1)
            distance[chosen] = torch.inf
            chosen.append(int(distance.argmin()))
        assert ids == own[chosen].tolist()
    made.begin(stream.experiences[1].train)
    made.end(stream.experiences[1].train)
    assert part.memory.state_dict()["ranked"][:2] == [ids[:10] for ids in first]


def test_the_answer_is_the_nearest_mean_of_unit_norm_features() -> None:
    part = ICaRL(size=60)
    made, stream = learner(part)
    assert made.heads == ("linear",)
    x = stream.data.test.fetch(torch.arange(50))
    assert made.predict(x).isneginf().all(), "nothing is remembered yet"
    train(made, stream, 2)
    with torch.no_grad():
        phi = functional.normalize(made.model.features(x))
        means = []
        for ids in part.memory.state_dict()["ranked"]:
            exemplars = functional.normalize(made.model.features(stream.data.train.fetch(torch.tensor(ids))))
            means.append(exemplars.mean(0) / exemplars.mean(0).norm())
        distance = torch.cdist(phi.double(), torch.stack(means).double())
    scores = made.predict(x)
    torch.testing.assert_close(scores[:, :4].double(), -distance.square(), rtol=1e-4, atol=1e-5)
    assert torch.equal(scores.argmax(1), distance.argmin(1))


def test_classes_of_the_experience_in_progress_have_means_of_their_newest_samples() -> None:
    part = ICaRL(size=60)
    made, stream = learner(part)
    train(made, stream, 1)
    made.begin(stream.experiences[1].train)
    seen: list[torch.Tensor] = []
    for _, batch in stream.experiences[1].steps():
        made.observe(batch)
        seen.append(batch.index)
    newest = torch.cat(seen)[-60:]
    assert len(part.recent) == 12, "6 a class: what each of 10 classes will keep of 60"
    assert set(part.recent.index.tolist()) <= set(newest.tolist())
    scores = made.predict(stream.data.test.fetch(torch.arange(5)))
    assert scores[0].isfinite().tolist() == [c < 4 for c in range(10)]
    made.end(stream.experiences[1].train)
    assert len(part.recent) == 0
    assert len(part.memory) == 60


@pytest.mark.parametrize("head", ["single", "masked", "cosine"])
def test_every_head_gives_finite_losses(head: str) -> None:
    made, stream = learner(ICaRL(size=40), head=head)
    train(made, stream, 2)
    assert all(p.isfinite().all() for p in made.model.parameters())


def test_separate_heads_and_classes_that_come_again_are_learned() -> None:
    part = ICaRL(size=40)
    made, stream = learner(part, task_incremental("digits", class_order="sorted"))
    train(made, stream, 3)
    x, y = stream.data.train.fetch(torch.from_numpy(stream.segments[2])), stream.data.train.y[stream.segments[2]]
    answer = made.predict(x, torch.full((len(x),), 2)).argmax(1).numpy()
    assert (answer == y).mean() > 0.9
    again = ICaRL(size=40)
    made, stream = learner(again, permuted("digits", experiences=2, samples_per_experience=200))
    train(made, stream, 1)
    made.begin(stream.experiences[1].train)
    view = view_of(made, next(stream.experiences[1].steps())[1])
    target = functional.one_hot(view.batch.y, 10).float()
    expected = functional.binary_cross_entropy_with_logits(view.logits, target, reduction="none").sum(1)
    torch.testing.assert_close(again.criterion(view), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be a positive integer; got 0"),
        ({"size": 9}, "size must be at least the number of classes, 10"),
        ({"batch_size": 0}, "batch_size must be a positive integer or None; got 0"),
        ({"strength": -1.0}, "strength must be zero or positive; got -1.0"),
    ],
)
def test_wrong_options_get_a_sentence(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        learner(ICaRL(**options))  # type: ignore[arg-type]
