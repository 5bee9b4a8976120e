"""GEM: the quadratic program against its optimality conditions, the projection against hand-made gradients, the memory."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

import clframe
from clframe.errors import OptionError, RunError
from clframe.models import build
from clframe.scenarios import Stream, class_incremental, task_incremental
from clframe.strategies import Learner, View
from clframe.strategies.gem import GEM, Episodes, multipliers
from clframe.strategies.gradients import flat, held
from clframe.types import Batch

Rows = npt.NDArray[np.float64]
SMALL = "clframe.testing.worlds:mlp"


def learner(part: GEM, *, multi: bool = False, touchy: bool = False) -> tuple[Learner, Stream]:
    make = task_incremental if multi else class_incremental
    stream = make("digits", class_order="sorted").walked(batch_size=20)
    name: str | nn.Module = "clframe.testing.worlds:mlp" if touchy else "mlp"
    network = build(
        name, (1, 8, 8), 10, options={"touchy": True} if touchy else {"hidden": (16,)}, head="multi" if multi else "single",
        num_tasks=stream.num_tasks, rows=10 if multi else None,
    )  # fmt: skip
    return Learner(network, torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9), part), stream


def train(made: Learner, stream: Stream, experiences: int, updates: int | None = None) -> list[dict[str, Tensor]]:
    terms = []
    for experience in stream.experiences[:experiences]:
        made.begin(experience.train)
        for step, batch in experience.steps():
            if updates is None or step.since <= updates:
                terms.append(made.observe(batch))
        made.end(experience.train)
    return terms


def cone_projection(rows: Rows, g: Rows) -> Rows:
    """The nearest point of {x : rows x >= 0}, by trying every set of constraints that may hold with equality."""
    best = None
    for k in range(len(rows) + 1):
        for active in combinations(range(len(rows)), k):
            a = rows[list(active)]
            x = g - a.T @ np.linalg.lstsq(a @ a.T, a @ g, rcond=None)[0] if k else g
            if (rows @ x >= -1e-9).all() and (best is None or np.linalg.norm(x - g) < np.linalg.norm(best - g)):
                best = x
    assert best is not None
    return best


def view_of(batch: Batch | None = None) -> View:
    batch = batch or Batch(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    return View(None, batch, {"new": slice(0, len(batch))}, batch.x, batch.x)  # type: ignore[arg-type]


def by_hand(part: GEM, gradient: list[float], old: list[list[float]]) -> Tensor:
    """What GEM makes of a gradient, given the old ones."""
    parameter = nn.Parameter(torch.zeros(len(gradient), dtype=torch.float64))
    parameter.grad = torch.tensor(gradient, dtype=torch.float64)
    part._parameters = [parameter]
    part.episodes.add(torch.tensor([0]))
    part._old_gradients = lambda: torch.tensor(old, dtype=torch.float64)  # type: ignore[method-assign]
    part.project(view_of())
    return parameter.grad


@pytest.mark.parametrize("strength", [0.0, 0.5])
@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_the_quadratic_program_satisfies_its_optimality_conditions(strength: float, ridge: float) -> None:
    rng = np.random.default_rng(0)
    for scale in (1e-4, 1e-2, 1.0, 1e2, 1e4):
        for count in (1, 2, 5, 19):
            rows = rng.normal(size=(count, 40)) * scale * 10 ** rng.uniform(-1, 1, (count, 1))
            g = rng.normal(size=40) * scale
            v = multipliers(rows @ rows.T, rows @ g, strength=strength, ridge=ridge)
            gradient = rows @ (g + v @ rows) + ridge * v
            size = np.linalg.norm(rows, axis=1) * (np.linalg.norm(g) + np.linalg.norm(v @ rows)) + ridge * v
            assert (v >= strength).all()
            assert (gradient >= -1e-8 * size).all()
            assert (np.abs(gradient * (v - strength)) <= 1e-8 * size * (1 + v)).all()


def test_the_quadratic_program_agrees_with_quadprog() -> None:
    quadprog = pytest.importorskip("quadprog")
    rng = np.random.default_rng(1)
    for trial in range(100):
        count, strength, ridge = int(rng.integers(1, 12)), (0.0, 0.5)[trial % 2], (0.0, 1e-3)[trial // 2 % 2]
        rows, g = rng.normal(size=(count, 30)), rng.normal(size=30) * 5
        v = multipliers(rows @ rows.T, rows @ g, strength=strength, ridge=ridge)
        matrix = rows @ rows.T + ridge * np.eye(count)
        theirs = quadprog.solve_qp(matrix, -(rows @ g), np.eye(count), np.full(count, strength))[0]
        np.testing.assert_allclose(v, theirs, rtol=1e-6, atol=1e-8)


def test_without_strength_the_gradient_is_projected_onto_the_cone() -> None:
    rng = np.random.default_rng(2)
    for _ in range(30):
        rows, g = rng.normal(size=(int(rng.integers(1, 6)), 6)), rng.normal(size=6)
        found = g + multipliers(rows @ rows.T, rows @ g) @ rows
        np.testing.assert_allclose(found, cone_projection(rows, g), atol=1e-6)


def test_repeated_opposed_and_vanishing_old_gradients_are_no_obstacle() -> None:
    rows = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    g = np.array([-2.0, 3.0])
    np.testing.assert_allclose(g + multipliers(rows @ rows.T, rows @ g) @ rows, [0.0, 3.0], atol=1e-6)
    np.testing.assert_allclose(multipliers(np.zeros((1, 1)), np.zeros(1), strength=0.5), [0.5])


def test_gradients_that_are_not_finite_get_a_sentence() -> None:
    with pytest.raises(RunError, match="the gradients that GEM compares must be finite"):
        multipliers(np.array([[np.inf]]), np.array([-1.0]))


@pytest.mark.parametrize(
    ("gradient", "old", "expected"),
    [
        ([1.0, -2.0], [[0.0, 1.0]], [1.0, 0.0]),
        ([-1.0, -1.0], [[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]),
        ([-1.0, 3.0], [[1.0, 1.0], [1.0, 0.0]], [0.0, 3.0]),
        ([1.0, -1.0], [[-1.0, 0.0], [1.0, 2.0]], [0.0, 0.0]),
        ([0.0, -1.0], [[1.0, 1.0]], [0.5, -0.5]),
    ],
)
def test_hand_made_gradients_have_their_known_projections(
    gradient: list[float], old: list[list[float]], expected: list[float]
) -> None:
    part = GEM(strength=0.0)
    found = by_hand(part, gradient, old)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    assert part._log["violated"].item() == sum(np.dot(row, gradient) < 0 for row in old)
    assert part._log["change"].item() == pytest.approx(np.linalg.norm(np.subtract(expected, gradient)), abs=1e-8)
    assert part._log["reference"].item() == pytest.approx(np.mean([np.linalg.norm(row) for row in old]))


def test_the_strength_adds_that_much_of_every_old_gradient_and_the_ridge_binds_less() -> None:
    rows = [[0.0, 1.0], [1.0, 0.0]]
    assert by_hand(GEM(strength=0.5), [1.0, -0.2], rows).tolist() == pytest.approx([1.5, 0.3])
    assert by_hand(GEM(strength=0.0, ridge=1.0), [1.0, -2.0], [[0.0, 1.0]]).tolist() == pytest.approx([1.0, -1.0])


def test_no_violation_leaves_the_gradient_as_it_is_bit_for_bit() -> None:
    gradient = [0.1, -0.0, 1e-30]
    found = by_hand(GEM(strength=0.5), gradient, [[1.0, 0.0, 0.0], [0.0, 1.0, 5.0]])
    assert torch.equal(found.view(torch.int64), torch.tensor(gradient, dtype=torch.float64).view(torch.int64))


@pytest.mark.parametrize(("multi", "strength"), [(False, 0.0), (False, 0.5), (True, 0.0)])
def test_in_training_every_projected_gradient_satisfies_all_constraints(multi: bool, strength: float) -> None:
    part = GEM(size=90, strength=strength)
    made, stream = learner(part, multi=multi)
    made.model.double()
    project, checked = part.project, []

    def watch(view: View) -> None:
        project(view)
        if part._log and part._log["violated"] > 0:
            old, new = part._old_gradients(), flat(held(part._parameters))
            assert (old @ new >= -1e-6 * old.norm(dim=1) * new.norm()).all()
            checked.append(len(old))

    part.project = watch  # type: ignore[method-assign]
    for experience in stream.experiences[:4]:
        made.begin(experience.train)
        fetch = experience.train.fetch
        part._fetch = lambda index, fetch=fetch: doubled(fetch(index))  # type: ignore[misc]
        for step, batch in experience.steps():
            if step.since <= 8:
                made.observe(doubled(batch))
        made.end(experience.train)
    assert max(checked) == 3


def doubled(batch: Batch) -> Batch:
    return Batch(batch.x.double(), batch.y, batch.index, batch.weight, batch.task)


def test_the_old_gradients_are_those_of_each_experience_alone() -> None:
    part = GEM(size=40)
    made, stream = learner(part, multi=True)
    train(made, stream, 3)
    made.begin(stream.experiences[3].train)
    rows = part._old_gradients()
    for k, (row, ids) in enumerate(zip(rows, part.episodes.kept, strict=True)):
        batch = stream.experiences[3].train.fetch(ids)
        assert batch.task is not None and batch.task.tolist() == [k] * len(ids)
        loss = nn.functional.cross_entropy(made.model(batch.x, torch.full((len(ids),), k)), batch.y)
        torch.testing.assert_close(row, flat(torch.autograd.grad(loss, list(made.model.parameters()))))
    assert rows.abs().sum(1).min() > 0


def test_taking_the_old_gradients_leaves_gradients_buffers_and_modes_alone() -> None:
    part = GEM(size=40)
    made, stream = learner(part, touchy=True)
    train(made, stream, 1)
    made.begin(stream.experiences[1].train)
    for p in made.model.parameters():
        p.grad = torch.full_like(p, 3.0)
    buffers = {name: b.clone() for name, b in made.model.named_buffers()}
    draws = torch.get_rng_state()
    part._old_gradients()
    assert all((p.grad == 3.0).all() for p in made.model.parameters())
    assert all(torch.equal(buffers[name], b) for name, b in made.model.named_buffers())
    assert all(m.training for m in made.model.modules())
    assert torch.equal(draws, torch.get_rng_state())


def test_the_memory_holds_the_last_different_samples_in_equal_shares() -> None:
    part = GEM(size=30)
    made, stream = learner(part)
    stream = stream.walked(batch_size=20, epochs=2)
    seen: list[list[int]] = []
    for k in range(3):
        experience = stream.experiences[k]
        made.begin(experience.train)
        for _, batch in experience.steps():
            made.observe(batch)
        made.end(experience.train)
        last = [i for _, batch in stream.experiences[k].steps() for i in batch.index.tolist()]
        seen.append(list(dict.fromkeys(reversed(last))))
        share = 30 // (k + 1)
        assert [ids.tolist() for ids in part.episodes.kept] == [own[:share] for own in seen]
    assert part.state_bytes() >= 30 * (64 + 8)


def test_random_patterns_are_of_their_experience_and_an_experience_smaller_than_its_share_is_kept_whole() -> None:
    part = GEM(size=2000, patterns="random")
    made, stream = learner(part)
    train(made, stream, 1, updates=1)
    assert sorted(part.episodes.kept[0].tolist()) == sorted(stream.segments[0].tolist())
    few = GEM(size=10, patterns="random")
    made, stream = learner(few)
    train(made, stream, 5, updates=2)
    assert (len(few.episodes), len(few.episodes.kept)) == (10, 5)
    assert all(ids.tolist()[0] in stream.segments[k] for k, ids in enumerate(few.episodes.kept))


def test_shares_never_exceed_the_size_and_never_grow_back() -> None:
    for size in (1, 2, 7, 30):
        episodes = Episodes(size)
        before: list[int] = []
        for _ in range(12):
            episodes.add(torch.arange(100))
            shares = [len(ids) for ids in episodes.kept]
            assert sum(shares) == size
            assert max(shares) - min(shares) <= 1
            assert all(now <= then for now, then in zip(shares, before, strict=False))
            before = shares


def test_every_option_reaches_the_part_from_words_and_the_terms_are_logged() -> None:
    words = "gem(size=40,strength=0.3,patterns=random,ridge=0.001)"
    result = clframe.run("split-digits", words, model=SMALL, evaluate="boundaries")
    given = result.spec["resolved"]["strategy"]["parts"][0]["options"]
    assert given == {"size": 40, "strength": 0.3, "patterns": "random", "ridge": 0.001}
    names = set(result.terms.term)
    assert {"ce", "gem/violated", "gem/change", "gem/reference"} <= names
    table = result.terms.pivot(index="n", columns="term", values="value")
    past = table[table.index > result.curves.ends[0]]
    assert past["gem/violated"].max() >= 1
    assert ((past["gem/violated"] == 0) == (past["gem/change"] == 0)).all()
    assert table[table.index <= result.curves.ends[0]]["gem/violated"].isna().all()


def test_gem_remembers_where_plain_training_forgets() -> None:
    gem, plain = (
        clframe.run("split-digits", name, model=SMALL, evaluate="boundaries", epochs=2, lr=0.1).metrics.acc
        for name in ("gem(size=100)", "finetune")
    )
    assert gem > plain + 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be a positive integer; got 0"),
        ({"strength": -0.1}, "strength must be zero or positive; got -0.1"),
        ({"strength": float("nan")}, "strength must be zero or positive; got nan"),
        ({"patterns": "first"}, "patterns must be 'last' or 'random'; got 'first'"),
        ({"ridge": -1.0}, "ridge must be zero or positive; got -1.0"),
    ],
)
def test_what_is_wrong_gets_a_sentence(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        GEM(**options)  # type: ignore[arg-type]
