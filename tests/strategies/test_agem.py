"""A-GEM: hand-made gradients, GEM with one constraint, and a reference that leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import clframe
from clframe.errors import OptionError
from clframe.models import build
from clframe.scenarios import Stream, class_incremental, task_incremental
from clframe.strategies import Learner, Part, View
from clframe.strategies.agem import AGEM
from clframe.strategies.gem import GEM, Episodes
from clframe.strategies.gradients import CHUNK, add, flat, held, inner, mean_gradient, take_out
from clframe.types import Batch


def learner(part: Part, *, multi: bool = False, touchy: bool = False) -> tuple[Learner, Stream]:
    stream = (task_incremental if multi else class_incremental)("digits", class_order="sorted").walked(batch_size=20)
    network = build(
        "clframe.testing.worlds:mlp", (1, 8, 8), 10, options={"touchy": touchy}, head="multi" if multi else "single",
        num_tasks=stream.num_tasks, rows=10 if multi else None,
    )  # fmt: skip
    return Learner(network, torch.optim.SGD(network.parameters(), lr=0.05), part), stream


def train(made: Learner, stream: Stream, experiences: int) -> list[dict[str, float]]:
    terms = []
    for experience in stream.experiences[:experiences]:
        made.begin(experience.train)
        terms += [{k: v.item() for k, v in made.observe(batch).items()} for _, batch in experience.steps()]
        made.end(experience.train)
    return terms


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_violating_gradient_ends_orthogonal_to_the_reference_and_another_stays_bit_equal(scale: float) -> None:
    draw = torch.Generator().manual_seed(0)
    for _ in range(20):
        parameters = [nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in ((3, 4), (5,), ())]
        gradient = [torch.randn(p.shape, generator=draw, dtype=torch.float64) for p in parameters]
        reference = [scale * torch.randn(p.shape, generator=draw, dtype=torch.float64) for p in parameters]
        for p, g in zip(parameters, gradient, strict=True):
            p.grad = g.clone()
        log = take_out(parameters, reference)
        g, r, found = flat(gradient), flat(reference), flat(held(parameters))
        if g @ r < 0:
            torch.testing.assert_close(found, g - (g @ r) / (r @ r) * r)
            assert abs(inner(held(parameters), reference)) <= 1e-12 * r.norm() * g.norm()
            assert log["projected"] == 1
            assert log["change"].item() == pytest.approx((found - g).norm().item())
        else:
            assert torch.equal(found, g)
            assert log["projected"] == 0
            assert log["change"] == 0
        assert log["reference"].item() == pytest.approx(r.norm().item())


def test_the_step_of_an_update_is_the_projected_one() -> None:
    """Plain SGD: the weights move by -lr times the gradient that the equation gives."""
    part = AGEM(size=20, batch_size=20)
    made, stream = learner(part)
    train(made, stream, 1)
    made.begin(stream.experiences[1].train)
    batch = stream.experiences[0].train.fetch(part.episodes.kept[0])
    parameters, projected = list(made.model.parameters()), 0
    for _, new in stream.experiences[1].steps():
        g, r = (flat(torch.autograd.grad(nn.functional.cross_entropy(made.model(b.x), b.y), parameters)) for b in (new, batch))
        expected = g - (g @ r) / (r @ r) * r if g @ r < 0 else g
        before = flat([p.detach().clone() for p in parameters])
        terms = made.observe(new)
        torch.testing.assert_close(before - flat([p.detach() for p in parameters]), 0.05 * expected, rtol=1e-3, atol=2e-6)
        assert terms["agem/projected"] == float(g @ r < 0)
        projected += int(g @ r < 0)
    assert projected > 0


def test_it_is_gem_with_one_constraint_and_no_strength() -> None:
    average, exact = AGEM(size=400, batch_size=400), GEM(size=400, patterns="random", strength=0.0)
    weights = []
    for part in (average, exact):
        made, stream = learner(part)
        made.model.double()
        kept = torch.from_numpy(stream.segments[0])
        for k in range(2):
            experience = stream.experiences[k]
            made.begin(experience.train)
            fetch = experience.train.fetch
            part._fetch = lambda index, fetch=fetch: _double(fetch(index))  # type: ignore[misc,attr-defined]
            for _, batch in experience.steps():
                made.observe(_double(batch))
            if k == 0:
                made.end(experience.train)
                part.episodes.kept = [kept]  # type: ignore[attr-defined]
        weights.append(flat([p.detach() for p in made.model.parameters()]))
    torch.testing.assert_close(*weights, rtol=1e-7, atol=1e-9)


def _double(batch: Batch) -> Batch:
    return Batch(batch.x.double(), batch.y, batch.index, batch.weight, batch.task)


@pytest.mark.parametrize("multi", [False, True])
def test_the_reference_leaves_buffers_modes_and_global_draws_alone(multi: bool) -> None:
    part = AGEM(size=40)
    made, stream = learner(part, multi=multi, touchy=True)
    train(made, stream, 1)
    made.begin(stream.experiences[1].train)
    _, batch = next(stream.experiences[1].steps())
    seen = []
    project = part.project

    def watch(view: View) -> None:
        before = {name: b.clone() for name, b in made.model.named_buffers()}, torch.get_rng_state()
        project(view)
        seen.append(
            all(torch.equal(before[0][name], b) for name, b in made.model.named_buffers())
            and torch.equal(before[1], torch.get_rng_state())
            and all(m.training for m in made.model.modules())
        )

    part.project = watch  # type: ignore[method-assign]
    made.observe(batch)
    assert seen == [True]
    assert part.forwards == part.backwards == 20


def test_nothing_is_projected_in_the_first_experience_and_terms_are_logged_after_it() -> None:
    result = clframe.run("split-digits", "agem(size=50)", model="clframe.testing.worlds:mlp", evaluate="boundaries", epochs=2)
    table = result.terms.pivot(index="n", columns="term", values="value")
    first = table.index <= result.curves.ends[0]
    assert table[first]["agem/projected"].isna().all()
    later = table[~first]
    assert set(later["agem/projected"]) == {0.0, 1.0}
    assert ((later["agem/projected"] == 0) == (later["agem/change"] == 0)).all()
    assert (later["agem/reference"] > 0).all()


@pytest.mark.parametrize("count", [1, 5, 90, 1000])
def test_a_draw_is_of_different_samples_of_all_the_past(count: int) -> None:
    episodes = Episodes(100)
    for k in range(4):
        episodes.add(torch.arange(1000 * k, 1000 * k + 200))
    draw = torch.Generator().manual_seed(0)
    totals = np.zeros(4)
    for _ in range(50):
        ids = episodes.draw(count, draw).tolist()
        assert len(set(ids)) == len(ids) == min(count, 100)
        totals += np.bincount([i // 1000 for i in ids], minlength=4)
    assert (totals > 0).all()
    assert np.abs(totals / totals.sum() - 0.25).max() < 0.25


def test_a_large_memory_goes_through_the_network_in_pieces_with_the_same_mean() -> None:
    model = build("mlp", (4,), 3, options={"hidden": (5,)}).double()
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(50, 4, generator=draw, dtype=torch.float64), torch.randint(3, (50,), generator=draw)
    for weight in (None, torch.rand(50, generator=draw, dtype=torch.float64), torch.zeros(50, dtype=torch.float64)):
        whole = Batch(x, y, torch.arange(50), weight)
        pieces = [Batch(x[i], y[i], i, None if weight is None else weight[i]) for i in torch.arange(50).split([7, 20, 1, 22])]
        parameters = list(model.parameters())
        one, many = (flat(mean_gradient(model, parameters, b)) for b in ([whole], pieces))
        torch.testing.assert_close(one, many)
    assert CHUNK > 1


def test_parameters_without_a_gradient_count_as_zero_and_get_one_only_when_it_changes() -> None:
    used, unused = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    used.grad = torch.tensor([1.0, 1.0])
    reference = [torch.tensor([0.0, 2.0]), torch.tensor([2.0, 0.0])]
    assert inner(held([used, unused]), reference).item() == 2.0
    take_out([used, unused], reference)
    assert unused.grad is None
    add([used, unused], reference, -1.0)
    assert unused.grad is not None and unused.grad.tolist() == [-2.0, 0.0]


def test_what_is_wrong_gets_a_sentence() -> None:
    with pytest.raises(OptionError, match="size must be a positive integer; got 0"):
        AGEM(size=0)
    with pytest.raises(OptionError, match="batch_size must be a positive integer or None; got 0"):
        AGEM(batch_size=0)
