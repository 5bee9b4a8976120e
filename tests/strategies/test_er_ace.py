"""ER-ACE against its equation."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import clframe
from clframe.errors import CompositionError, OptionError
from clframe.models import build
from clframe.scenarios import Stream, class_incremental
from clframe.strategies import Learner, Part, View
from clframe.strategies.er_ace import ERACE
from clframe.strategies.loss import weighted_mean


def trained(*parts: Part, experiences: int = 2, **options: object) -> tuple[Learner, Stream]:
    stream = class_incremental("digits", class_order="sorted").walked(batch_size=10)
    model = build("mlp", (1, 8, 8), 10, options={"hidden": (16,)})
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), *parts, **options)  # type: ignore[arg-type]
    for experience in stream.experiences[:experiences]:
        made.begin(experience.train)
        for _, batch in experience.steps():
            made.observe(batch)
        made.end(experience.train)
    made.begin(stream.experiences[experiences].train)
    return made, stream


def view_of(made: Learner, stream: Stream, k: int) -> View:
    union, groups, _ = made._union(next(stream.experiences[k].steps())[1])
    features = made.model.features(union.x)
    return View(made.model, union, groups, features, made.model.head(features, union.task))


@pytest.mark.parametrize("batch_size", [None, 7, 25])
def test_the_loss_is_the_sum_of_the_two_means(batch_size: int | None) -> None:
    part = ERACE(size=50, batch_size=batch_size)
    made, stream = trained(part)
    view = view_of(made, stream, 2)
    (term,) = made._terms(view).values()
    y, new, old = view.batch.y, view.new, view.groups["er-ace"]
    present = sorted(set(y[new].tolist()))
    assert present == [4, 5] and set(y[old].tolist()) <= {0, 1, 2, 3}
    seen = [0, 1, 2, 3, 4, 5]
    expected = functional.cross_entropy(view.logits[new][:, present], y[new] - 4)
    expected = expected + functional.cross_entropy(view.logits[old][:, seen], y[old])
    assert term.item() == pytest.approx(expected.item(), rel=1e-5)


def test_new_samples_move_no_score_of_an_absent_class_and_nobody_moves_those_to_come() -> None:
    made, stream = trained(ERACE(size=50))
    view = view_of(made, stream, 2)
    logits = view.logits.detach().requires_grad_()
    view.logits = logits
    part = made.parts[0]
    assert isinstance(part, ERACE)
    weighted_mean(part.criterion(view), view.batch.weight).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    new, old = logits.grad[view.new], logits.grad[view.recalled]
    assert not new[:, [0, 1, 2, 3, 6, 7, 8, 9]].any() and new[:, [4, 5]].all()
    assert not old[:, 6:].any() and old[:, :6].all()


def test_the_classes_of_the_batch_in_hand_have_been_seen() -> None:
    part = ERACE(size=50)
    made, stream = trained(part)
    assert part.seen.nonzero().flatten().tolist() == [0, 1, 2, 3]
    made.observe(next(stream.experiences[2].steps())[1])
    assert part.seen.nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_a_batch_of_one_class_teaches_nothing_while_there_is_nothing_to_recall() -> None:
    made, stream = trained(ERACE(size=50), experiences=0)
    batch = stream.batch(torch.from_numpy((stream.data.train.y == 1).nonzero()[0][:10]))
    before = [p.clone() for p in made.model.parameters()]
    assert made.observe(batch)["er-ace/criterion"].item() == 0
    assert all(torch.equal(a, b) for a, b in zip(before, made.model.parameters(), strict=True))


def test_plasticity_is_the_gradient_of_the_mean_over_the_new_samples() -> None:
    made, stream = trained(ERACE(size=50), decompose=True)
    view = view_of(made, stream, 2)
    plastic = made._plasticity(view)
    each = functional.cross_entropy(view.logits[view.new][:, [4, 5]], view.batch.y[view.new] - 4)
    for mine, expected in zip(plastic, torch.autograd.grad(each, list(made.model.parameters())), strict=True):
        torch.testing.assert_close(mine, expected)


def test_it_composes_with_replay_but_not_with_another_criterion() -> None:
    terms = clframe.run("split-digits", "er-ace(size=50)+lwf", evaluate="boundaries").terms
    assert set(terms.term) == {"er-ace/criterion", "lwf/kd"}
    other = ERACE(size=50)
    other.name = "other"
    with pytest.raises(CompositionError, match="at most one part may replace the loss of each sample"):
        clframe.run("split-digits", [ERACE(size=50), other])


def test_bad_options_are_refused() -> None:
    with pytest.raises(OptionError, match="batch_size must be a positive integer"):
        ERACE(batch_size=0)
    with pytest.raises(OptionError, match="size must be at least the number of classes, 10"):
        clframe.run("split-digits", "er-ace(size=5)")
