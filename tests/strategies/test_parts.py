"""Each method against its equation, in closed form or written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

import clframe
from clframe.errors import OptionError
from clframe.models import build
from clframe.scenarios import Stream, class_incremental, task_incremental
from clframe.strategies import EWC, Learner, LwF, Part, Replay, View
from clframe.strategies.loss import classification_loss, union
from clframe.types import Batch


def learner(*parts: Part, stream: Stream | None = None, **options: object) -> tuple[Learner, Stream]:
    stream = (stream or class_incremental("digits", class_order="sorted")).walked(batch_size=10)
    multi = stream.reveals.task_test
    model = build(
        "mlp", (1, 8, 8), 10, options={"hidden": (16,)}, head="multi" if multi else "single",
        num_tasks=stream.num_tasks, rows=10 if multi else None,
    )  # fmt: skip
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), *parts, **options)  # type: ignore[arg-type]
    return made, stream


def train(made: Learner, stream: Stream, experiences: int) -> None:
    for experience in stream.experiences[:experiences]:
        made.begin(experience.train)
        for _, batch in experience.steps():
            made.observe(batch)
        made.end(experience.train)


def view_of(made: Learner, batch: Batch) -> View:
    features = made.model.features(batch.x)
    return View(made.model, batch, {"new": slice(0, len(batch))}, features, made.model.head(features, batch.task))


def test_a_learner_without_parts_is_plain_sgd() -> None:
    made, stream = learner()
    mine, _ = learner()
    optimizer = torch.optim.SGD(mine.model.parameters(), lr=0.05)
    made.begin(stream.experiences[0].train)
    for _, batch in stream.experiences[0].steps():
        terms = made.observe(batch)
        loss = functional.cross_entropy(mine.model(batch.x), batch.y)
        assert terms["ce"].item() == loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(made.model.parameters(), mine.model.parameters(), strict=True))


def test_new_share_weighs_the_two_means() -> None:
    made, stream = learner(Replay(size=50, batch_size=7, new_share=0.3))
    train(made, stream, 1)
    made.begin(stream.experiences[1].train)
    _, batch = next(stream.experiences[1].steps())
    joined, groups, _ = made._union(batch)
    logits = made.model(joined.x)
    new, old = logits[groups["new"]], logits[groups["er"]]
    expected = 0.3 * functional.cross_entropy(new, joined.y[groups["new"]]) + 0.7 * functional.cross_entropy(
        old, joined.y[groups["er"]]
    )
    assert len(old) == 7
    assert classification_loss(logits, joined.y, joined.weight).item() == pytest.approx(expected.item(), rel=1e-5)


def test_recalled_samples_are_of_the_past_and_the_memory_never_exceeds_its_size() -> None:
    made, stream = learner(Replay(size=30))
    train(made, stream, 3)
    memory = made.parts[0].memory  # type: ignore[attr-defined]
    assert len(memory) == 30
    assert memory.seen == sum(len(s) for s in stream.segments[:3])
    assert set(stream.data.train.y[memory.index.numpy()]) == {0, 1, 2, 3, 4, 5}
    assert made.parts[0].state_bytes() >= 30 * (64 + 8)


def test_lwf_is_the_divergence_over_old_classes_only() -> None:
    part = LwF(strength=3.0, temperature=2.0)
    made, stream = learner(part)
    train(made, stream, 2)
    made.begin(stream.experiences[2].train)
    _, batch = next(stream.experiences[2].steps())
    made.observe(batch)
    view = view_of(made, batch)
    taught = part.teacher(batch.x)[:, :4] / 2
    answered = view.logits[:, :4] / 2
    p, q = taught.softmax(1), answered.softmax(1)
    expected = 3.0 * (p * (p.log() - q.log())).sum(1).mean()
    assert part.penalty(view)["kd"].item() == pytest.approx(expected.item(), rel=1e-4)
    part.squared = True
    assert part.penalty(view)["kd"].item() == pytest.approx(4 * expected.item(), rel=1e-4)


def test_lwf_and_ewc_do_not_pull_on_the_first_update_of_an_experience() -> None:
    made, stream = learner(LwF(), EWC(samples=8))
    train(made, stream, 1)
    made.begin(stream.experiences[1].train)
    _, batch = next(stream.experiences[1].steps())
    view = view_of(made, batch)
    for part in made.parts:
        (value,) = part.penalty(view).values()
        gradients = torch.autograd.grad(value, list(made.model.parameters()), retain_graph=True, allow_unused=True)
        assert value.item() == pytest.approx(0, abs=1e-6)
        assert all(g is None or g.abs().max() < 1e-6 for g in gradients)


def test_lwf_with_separate_heads_asks_the_heads_of_earlier_tasks() -> None:
    part = LwF()
    made, stream = learner(part, stream=task_incremental("digits", class_order="sorted"))
    train(made, stream, 2)
    assert part.questions == [[0, 0, 1], [1, 2, 3]]
    made.begin(stream.experiences[2].train)
    _, batch = next(stream.experiences[2].steps())
    made.observe(batch)
    assert math.isfinite(part.penalty(view_of(made, batch))["kd"].item())
    assert part.penalty(view_of(made, batch))["kd"].item() > 0


def test_the_fisher_information_of_a_linear_model_has_a_closed_form() -> None:
    """For softmax regression d log p(y|x) / dW = (e_y - p) x^T, so F = mean (e_y - p)^2 (x^2)^T."""
    part = EWC(samples=10_000)
    stream = class_incremental("digits", class_order="sorted").walked(batch_size=10)
    model = build("mlp", (1, 8, 8), 10, options={"hidden": ()})
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), part)
    train(made, stream, 1)
    batch = stream.batch(torch.from_numpy(stream.segments[0]))
    with torch.no_grad():
        residual = functional.one_hot(batch.y, 10) - made.model(batch.x).softmax(1)
        weight = residual.square().T @ batch.x.flatten(1).square() / len(batch)
    found = {tuple(i.shape): i for i in part.information}
    torch.testing.assert_close(found[(10, 64)], weight, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(found[(10,)], residual.square().mean(0), rtol=1e-3, atol=1e-7)


def test_online_ewc_adds_decayed_information_and_moves_the_anchor() -> None:
    part = EWC(strength=5.0, decay=0.5, samples=32)
    made, stream = learner(part)
    train(made, stream, 1)
    first = [i.clone() for i in part.information]
    fresh: list[list[torch.Tensor]] = []
    compute = part._fisher
    part._fisher = lambda t: fresh.append(compute(t)) or fresh[-1]  # type: ignore[method-assign,func-returns-value]
    made.begin(stream.experiences[1].train)
    for _, batch in stream.experiences[1].steps():
        made.observe(batch)
    with torch.no_grad():
        moved = [p - a for p, a in zip(made.model.parameters(), part.anchor, strict=True)]
    expected = 2.5 * sum((i * m.square()).sum() for i, m in zip(first, moved, strict=True))
    assert part.penalty(view_of(made, batch))["quadratic"].item() == pytest.approx(float(expected), rel=1e-4)
    made.end(stream.experiences[1].train)
    for now, old, new in zip(part.information, first, fresh[0], strict=True):
        torch.testing.assert_close(now, 0.5 * old + new)
    assert all(torch.equal(a, p) for a, p in zip(part.anchor, made.model.parameters(), strict=True))


def test_sampled_fisher_draws_labels_from_the_model() -> None:
    made, stream = learner(EWC(samples=64, fisher="sampled"))
    train(made, stream, 1)
    empirical, _ = learner(EWC(samples=64))
    train(empirical, stream, 1)
    one, two = (m.parts[0].information for m in (made, empirical))  # type: ignore[attr-defined]
    assert any(not torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_the_gradient_splits_into_plasticity_and_stability_without_changing_training() -> None:
    plain, stream = learner(Replay(size=50), LwF())
    split, _ = learner(Replay(size=50), LwF(), decompose=True)
    for made in (plain, split):
        train(made, stream, 2)
    assert all(torch.equal(a, b) for a, b in zip(plain.model.parameters(), split.model.parameters(), strict=True))
    alone, _ = learner(decompose=True)
    alone.begin(stream.experiences[0].train)
    _, batch = next(stream.experiences[0].steps())
    terms = alone.observe(batch)
    assert terms["grad/stability"].item() < 1e-6 * terms["grad/plasticity"].item()


def test_at_the_switch_the_plasticity_gradient_is_unopposed() -> None:
    result = clframe.run("split-digits", "er(size=200)", grad_decomposition=True, evaluate="boundaries", epochs=5)
    table = result.terms.pivot(index="n", columns="term", values="value")
    first = [end + 1 for end in result.curves.ends[:-1]]
    ratio = table.loc[first, "grad/stability"] / table.loc[first, "grad/plasticity"]
    assert (ratio < 0.2).all()


def test_a_union_fills_in_weights_and_needs_all_tasks() -> None:
    def some(n: int, weight: torch.Tensor | None, task: torch.Tensor | None) -> Batch:
        return Batch(torch.zeros(n, 2), torch.zeros(n, dtype=torch.int64), torch.arange(n), weight, task)

    joined = union([some(2, None, torch.tensor([0, 0])), some(1, torch.tensor([3.0]), None)])
    assert joined.weight is not None
    assert joined.weight.tolist() == [1.0, 1.0, 3.0]
    assert joined.task is None
    assert joined.index.tolist() == [0, 1, 0]


def test_sample_weights_of_the_data_reach_the_loss() -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32), np.arange(40) % 2
    data = clframe.data.from_arrays(x, y, weight=np.where(y == 0, 1.0, 0.0))
    result = clframe.run(class_incremental(data, experiences=1), "finetune", epochs=30, lr=0.5, evaluate="boundaries")
    recall = result.classes[result.classes.n == result.updates[-1]].set_index("label")
    assert recall.correct[0] == recall.total[0]
    assert recall.correct[1] == 0


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("er(size=0)", "size must be a positive integer; got 0"),
        ("er(memory=rong)", "memory must be a known name; got 'rong'"),
        ("er(sise=3)", "Did you mean 'size'"),
        ("er(new_share=1.5)", r"new_share must be a share in \(0, 1\)"),
        ("lwf(temperature=0)", "temperature must be positive; got 0"),
        ("ewc(decay=2)", r"decay must be in \[0, 1\]; got 2"),
        ("ewc(fisher=exact)", "fisher must be 'empirical' or 'sampled'; got 'exact'"),
        ("ewcc", "Did you mean 'ewc'"),
        ("er(size=abc)", "size must be int; got 'abc'"),
        ("lwf(strength=abc)", "strength must be float; got 'abc'"),
        ("er(size=3", "closing bracket"),
        ("finetune(x=1)", "takes no options"),
        ("", "a name such as 'er'"),
    ],
)
def test_what_is_written_wrong_gets_a_sentence(written: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        clframe.run("split-digits", written)
