"""DER and DER++ against their equations, and the name with two pluses."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import clframe
from clframe.errors import OptionError
from clframe.models import build
from clframe.registry import split
from clframe.scenarios import Stream, class_incremental, task_incremental
from clframe.strategies import Learner, Part, Replay, View
from clframe.strategies.der import DER, distances


def trained(*parts: Part, stream: Stream | None = None, head: str = "single", experiences: int = 2) -> tuple[Learner, Stream]:
    stream = (stream or class_incremental("digits", class_order="sorted")).walked(batch_size=10)
    model = build("mlp", (1, 8, 8), 10, options={"hidden": (16,)}, head=head, num_tasks=stream.num_tasks)
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), *parts)
    for experience in stream.experiences[:experiences]:
        made.begin(experience.train)
        for _, batch in experience.steps():
            made.observe(batch)
        made.end(experience.train)
    made.begin(stream.experiences[experiences].train)
    return made, stream


def view_of(made: Learner, stream: Stream, k: int = 2) -> View:
    union, groups, _ = made._union(next(stream.experiences[k].steps())[1])
    features = made.model.features(union.x)
    return View(made.model, union, groups, features, made.model.head(features, union.task))


def test_the_loss_is_that_of_the_paper() -> None:
    part = DER(size=60, alpha=0.7, beta=0.4, batch_size=8)
    made, stream = trained(part)
    view = view_of(made, stream)
    terms = made._terms(view)
    new, logits, y = view.new, view.logits, view.batch.y
    drawn = view.batch.index[view.recalled]
    first, second = slice(10, 18), slice(18, 26)
    place = {i: slot for slot, i in enumerate(part.memory.index.tolist())}
    stored = part.memory.extra["logits"][[place[i] for i in drawn[:8].tolist()]]
    expected = {
        "ce": functional.cross_entropy(logits[new], y[new]),
        "der/logits": 0.7 * functional.mse_loss(logits[first], stored),
        "der/replay": 0.4 * functional.cross_entropy(logits[second], y[second]),
    }
    assert len(view.batch) == 26 and set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-5)
    mine, theirs = (
        torch.autograd.grad(sum(t.values()), list(made.model.parameters()), retain_graph=True) for t in (terms, expected)
    )
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_the_two_draws_are_independent_and_der_makes_only_the_first() -> None:
    for beta, rows in ((0.0, 10), (0.5, 20)):
        made, stream = trained(DER(size=60, beta=beta))
        view = view_of(made, stream)
        drawn = view.batch.index[view.recalled].tolist()
        assert len(drawn) == rows
        assert set(drawn[:10]) != set(drawn[10:])
    assert set(made._terms(view)) == {"ce", "der/logits", "der/replay"}


def test_stored_logits_are_those_of_the_update_before_its_step() -> None:
    part = DER(size=1000)
    made, stream = trained(part, experiences=0)
    answered = {}
    for _, batch in stream.experiences[0].steps():
        with torch.no_grad():
            answered |= dict(zip(batch.index.tolist(), made.model(batch.x), strict=True))
        made.observe(batch)
    held = part.memory.index[: len(part.memory)].tolist()
    assert set(held) == set(answered)
    torch.testing.assert_close(part.memory.extra["logits"][: len(held)], torch.stack([answered[i] for i in held]))


def test_a_full_memory_keeps_ids_and_logits_together_and_counts_the_bytes_of_both() -> None:
    part = DER(size=20)
    made, stream = trained(part)
    before = part.memory.index.tolist()
    view = view_of(made, stream)
    for _ in range(8):
        part.absorb(view)
    fresh = [slot for slot, i in enumerate(part.memory.index.tolist()) if i != before[slot]]
    row = {i: k for k, i in enumerate(view.batch.index[view.new].tolist())}
    assert fresh
    for slot in fresh:
        assert torch.equal(part.memory.extra["logits"][slot], view.logits[row[int(part.memory.index[slot])]])
    assert part.state_bytes() >= 20 * (64 + 8 + 8 + 4 * 10)


def test_distances_are_means_of_squares_over_the_classes_scored_by_both() -> None:
    answer, stored = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    torch.testing.assert_close(distances(answer, stored).mean(), functional.mse_loss(answer, stored))
    stored[0, 1:] = answer[1, 0] = -torch.inf
    answer.requires_grad_()
    found = distances(answer, stored)
    assert found[0].item() == pytest.approx((answer[0, 0] - stored[0, 0]).item() ** 2)
    assert found[1].item() == pytest.approx((answer[1, 1:] - stored[1, 1:]).square().mean().item())
    (gradient,) = torch.autograd.grad(found.sum(), answer)
    assert gradient.isfinite().all() and not gradient[0, 1:].any() and gradient[1, 0] == 0


@pytest.mark.parametrize("head", ["masked", "multi"])
def test_heads_that_score_some_classes_only_give_finite_terms(head: str) -> None:
    stream = task_incremental("digits", class_order="sorted") if head == "multi" else None
    made, stream = trained(DER(size=60, beta=0.5), stream=stream, head=head)
    terms = made.observe(next(stream.experiences[2].steps())[1])
    assert set(terms) == {"ce", "der/logits", "der/replay"}
    assert all(value.isfinite() and value > 0 for value in terms.values())
    assert all(p.isfinite().all() for p in made.model.parameters())


def test_it_leaves_the_loss_of_a_replay_beside_it_as_it_is() -> None:
    made, stream = trained(Replay(size=50), DER(size=60))
    view = view_of(made, stream)
    rows = [*range(10), *range(view.groups["er"].start, view.groups["er"].stop)]
    expected = functional.cross_entropy(view.logits[rows], view.batch.y[rows])
    assert made._terms(view)["ce"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_name_with_two_pluses_is_read_as_one_name() -> None:
    assert split("der++", "+") == ["der++"]
    assert split("der+++lwf", "+") == ["der++", "lwf"]
    assert split("lwf+der++(beta=0.2)", "+") == ["lwf", "der++(beta=0.2)"]
    terms = clframe.run("split-digits", "der+++lwf", evaluate="boundaries").terms
    assert set(terms.term) == {"ce", "der/logits", "der/replay", "lwf/kd"}
    with pytest.raises(OptionError, match="Did you mean 'der\\+\\+'"):
        clframe.run("split-digits", "der++lwf")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": -0.1}, "alpha must be zero or positive; got -0.1"),
        ({"alpha": float("nan")}, "alpha must be zero or positive; got nan"),
        ({"beta": -1.0}, "beta must be zero or positive; got -1.0"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"size": 0}, "size must be a positive integer"),
    ],
)
def test_bad_options_are_refused_at_construction(options: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        DER(**options)  # type: ignore[arg-type]


def test_a_memory_smaller_than_the_number_of_classes_is_refused() -> None:
    with pytest.raises(OptionError, match="size must be at least the number of classes, 10"):
        clframe.run("split-digits", "der(size=9)")
