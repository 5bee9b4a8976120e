"""Gradient projection on top of replay, against its formula written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import clframe
from clframe.errors import CompositionError, OptionError
from clframe.models import build
from clframe.scenarios import Stream, class_incremental, task_incremental
from clframe.strategies import Learner, Part, Replay, View
from clframe.strategies.gradient_projection import GradientProjection, er_agem, recalled_of
from clframe.strategies.gradients import flat, held
from clframe.types import Batch


def learner(*parts: Part, multi: bool = False, touchy: bool = True) -> tuple[Learner, Stream]:
    stream = (task_incremental if multi else class_incremental)("digits", class_order="sorted").walked(batch_size=20)
    network = build(
        "clframe.testing.worlds:mlp", (1, 8, 8), 10, options={"touchy": touchy}, head="multi" if multi else "single",
        num_tasks=stream.num_tasks, rows=10 if multi else None,
    )  # fmt: skip
    return Learner(network, torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9), *parts), stream


def train(made: Learner, stream: Stream, start: int, stop: int) -> list[dict[str, Tensor]]:
    terms = []
    for experience in stream.experiences[start:stop]:
        made.begin(experience.train)
        terms += [made.observe(batch) for _, batch in experience.steps()]
        made.end(experience.train)
    return terms


@pytest.mark.parametrize("multi", [False, True])
def test_the_gradient_is_that_of_the_formula_on_the_same_recalled_samples(multi: bool) -> None:
    part = GradientProjection()
    made, stream = learner(Replay(size=60, batch_size=10, new_share=0.99), part, multi=multi)
    torch.manual_seed(0)
    project, projected = part.project, []

    def watch(view: View) -> None:
        g, model = flat(held(part._parameters)), made.model
        buffers = {name: b.clone() for name, b in model.named_buffers()}
        rows = view.groups.get("er")
        if rows is not None:
            batch = view.batch
            model.eval()
            loss = nn.functional.cross_entropy(
                model(batch.x[rows], None if batch.task is None else batch.task[rows]), batch.y[rows]
            )
            model.train()
            r = flat(torch.autograd.grad(loss, part._parameters, allow_unused=True, materialize_grads=True))
        project(view)
        found = flat(held(part._parameters))
        if rows is None or part._first:
            assert torch.equal(found, g)
            assert not part._log
        elif g @ r < 0:
            torch.testing.assert_close(found, g - (g @ r) / (r @ r + 1e-7) * r, rtol=1e-4, atol=1e-6)
            left = (g @ r) * 1e-7 / (r @ r + 1e-7)
            assert abs(found @ r - left) <= 1e-5 * g.norm() * r.norm()
            projected.append(True)
        else:
            assert torch.equal(found, g)
        assert all(torch.equal(buffers[name], b) for name, b in model.named_buffers())

    part.project = watch  # type: ignore[method-assign]
    train(made, stream, 0, 3)
    assert projected
    assert part.forwards == part.backwards > 0


def test_in_the_first_experience_it_is_plain_replay_and_after_it_is_not() -> None:
    with_it, stream = learner(Replay(size=60, new_share=0.9), GradientProjection(), touchy=False)
    without, _ = learner(Replay(size=60, new_share=0.9), touchy=False)
    for start, equal in ((0, True), (1, False)):
        for made in (with_it, without):
            train(made, stream, start, start + 1)
        pairs = zip(with_it.model.parameters(), without.model.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs) == equal


def test_where_nothing_recalls_it_is_refused_before_training() -> None:
    with pytest.raises(CompositionError, match="needs another part that recalls samples"):
        learner(GradientProjection())


def test_two_projections_are_refused() -> None:
    from clframe.strategies.agem import AGEM

    with pytest.raises(CompositionError, match="rewrite the gradient"):
        learner(Replay(), GradientProjection(), AGEM())


def some(weight: list[float] | None) -> View:
    made = None if weight is None else torch.tensor(weight)
    batch = Batch(torch.arange(8.0).reshape(4, 2), torch.arange(4), torch.arange(4), made)
    return View(None, batch, {"new": slice(0, 1), "er": slice(1, 4)}, batch.x, batch.x)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("weight", "expected"),
    [(None, None), ([1.0, 2.0, 0.0, 1.0], [2.0, 0.0, 1.0]), ([1.0, 0.0, 0.0, 0.0], None)],
)
def test_recalled_samples_count_as_in_the_loss_and_equally_where_none_does(
    weight: list[float] | None, expected: list[float] | None
) -> None:
    found = recalled_of(some(weight))
    assert found.y.tolist() == [1, 2, 3]
    assert (None if found.weight is None else found.weight.tolist()) == expected


@pytest.mark.parametrize("fill", ["experience", "step"])
def test_er_agem_weighs_every_experience_the_same(fill: str) -> None:
    parts = er_agem(size=60, batch_size=7, fill=fill).parts  # type: ignore[arg-type]
    assert [type(p) for p in parts] == [Replay, GradientProjection]
    made, stream = learner(*parts, touchy=False)
    for k, experience in enumerate(stream.experiences[:4]):
        made.begin(experience.train)
        for _, batch in experience.steps():
            union, groups, _ = made._union(batch)
            if k == 0:
                assert union is batch
            else:
                assert union.weight is not None
                new, old = (union.weight[groups[name]].sum().item() for name in ("new", "er"))
                assert new / (new + old) == pytest.approx(1 / (k + 1), rel=1e-5)
                assert groups["er"].stop - groups["er"].start == 7
            terms = made.observe(batch)
            assert ("gradient-projection/projected" in terms) == (k > 0)
        made.end(experience.train)


def test_er_agem_runs_from_words_and_logs_its_terms() -> None:
    result = clframe.run("split-digits", "er-agem(size=60)", model="clframe.testing.worlds:mlp", evaluate="boundaries", epochs=2)
    names = {f"gradient-projection/{term}" for term in ("projected", "change", "reference")}
    assert set(result.terms.term) == {"ce", *names}
    assert set(result.terms[result.terms.term == "gradient-projection/projected"].value) == {0.0, 1.0}
    assert er_agem(size=90).parts[0].describe()["options"] == {
        "size": 90, "memory": "reservoir", "batch_size": None, "new_share": "1/k", "fill": "experience",
    }  # fmt: skip
    with pytest.raises(OptionError, match="size must be"):
        clframe.run("split-digits", "er-agem(size=0)")
