"""MIR against its definition, written out with a copy of the network that really takes the step."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import clframe
from clframe.errors import OptionError
from clframe.models import build
from clframe.scenarios import Stream, class_incremental
from clframe.strategies import Learner
from clframe.strategies.mir import MIR
from clframe.types import Batch

LR = 0.1


def trained(part: MIR, model: str | nn.Module = "mlp") -> tuple[Learner, Stream]:
    stream = class_incremental("digits", class_order="sorted").walked(batch_size=10)
    network = build(model, (1, 8, 8), 10, options={"hidden": (16,)} if model == "mlp" else None)
    made = Learner(network, torch.optim.SGD(network.parameters(), lr=LR, momentum=0.9), part)
    for experience in stream.experiences[:2]:
        made.begin(experience.train)
        for _, batch in experience.steps():
            made.observe(batch)
        made.end(experience.train)
    made.begin(stream.experiences[2].train)
    return made, stream


def next_batch(stream: Stream) -> Batch:
    return next(stream.experiences[2].steps())[1]


def losses(network: nn.Module, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        return functional.cross_entropy(network(batch.x), batch.y, reduction="none")


def test_rise_is_that_of_a_real_step_of_plain_sgd() -> None:
    part = MIR(size=100)
    made, stream = trained(part)
    batch, pool = next_batch(stream), stream.batch(part.memory.index[:40])
    twin = copy.deepcopy(made.model)
    step = torch.optim.SGD(twin.parameters(), lr=LR)
    functional.cross_entropy(twin(batch.x), batch.y).backward()
    step.step()
    torch.testing.assert_close(part.rise(batch, pool), losses(twin, pool) - losses(made.model, pool))


def test_the_most_interfered_candidates_are_recalled() -> None:
    part = MIR(size=100, candidates=100, batch_size=7)  # candidates are the whole memory: no chance is involved
    made, stream = trained(part)
    batch = next_batch(stream)
    rise = part.rise(batch, stream.batch(part.memory.index))
    recalled = part.recall(batch)
    assert recalled is not None
    assert set(recalled.index.tolist()) == set(part.memory.index[rise.topk(7).indices].tolist())
    terms = made.observe(batch)
    assert terms["mir/rise"].item() == pytest.approx(rise.topk(7).values.mean().item(), rel=1e-5)
    assert terms["mir/candidates"].item() == pytest.approx(rise.mean().item(), rel=1e-5)


def test_to_first_order_the_rise_is_the_inner_product_of_gradients() -> None:
    part = MIR(size=100)
    made, stream = trained(part)
    made.model.double()
    made.optimizer.param_groups[0]["lr"] = 1e-6
    batch, pool = (Batch(b.x.double(), b.y, b.index) for b in (next_batch(stream), stream.batch(part.memory.index[:5])))
    parameters = list(made.model.parameters())

    def gradient(some: Batch) -> torch.Tensor:
        loss = functional.cross_entropy(made.model(some.x), some.y)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])

    rows = [slice(i, i + 1) for i in range(5)]
    each = [gradient(Batch(pool.x[r], pool.y[r], pool.index[r])) for r in rows]
    expected = torch.stack([-g @ gradient(batch) for g in each])
    torch.testing.assert_close(part.rise(batch, pool) / 1e-6, expected, rtol=1e-3, atol=1e-4)


def test_looking_ahead_leaves_no_trace() -> None:
    layers = [nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5)]
    part = MIR(size=100)
    made, stream = trained(part, nn.Sequential(*layers))
    batch = next_batch(stream)
    weights, rng = copy.deepcopy(made.model.state_dict()), torch.get_rng_state()
    gradients = [p.grad.clone() for p in made.model.parameters() if p.grad is not None]
    first = part.rise(batch, stream.batch(part.memory.index[:30]))
    assert torch.equal(first, part.rise(batch, stream.batch(part.memory.index[:30])))
    assert torch.equal(rng, torch.get_rng_state())
    assert all(torch.equal(value, weights[name]) for name, value in made.model.state_dict().items())
    assert all(torch.equal(g, p.grad) for g, p in zip(gradients, made.model.parameters(), strict=True) if p.grad is not None)
    assert made.model.training


def test_as_many_candidates_as_are_recalled_is_er() -> None:
    options = {"evaluate": "boundaries", "model": "mlp(hidden=[16])"}
    mine = clframe.run("split-digits", MIR(size=50, batch_size=10, candidates=10), **options)  # type: ignore[arg-type]
    part = clframe.strategies.Replay(size=50, batch_size=10)
    part.name = "mir"  # so that it draws the same numbers
    theirs = clframe.run("split-digits", part, **options)  # type: ignore[arg-type]
    assert mine.rows.correct.tolist() == theirs.rows.correct.tolist()
    assert mine.budget.forwards == theirs.budget.forwards


def test_forward_and_backward_passes_are_counted() -> None:
    part = MIR(size=100, candidates=40)
    made, stream = trained(part)
    forwards, backwards = part.forwards, part.backwards
    made.observe(next_batch(stream))
    assert (part.forwards - forwards, part.backwards - backwards) == (10 + 2 * 40, 10)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"candidates": 0}, "candidates must be at least the number of samples to recall, 1; got 0"),
        ({"batch_size": 64}, "candidates must be at least the number of samples to recall, 64; got 50"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"memory": "reservior"}, "Did you mean 'reservoir'"),
    ],
)
def test_bad_options_are_refused_at_construction(options: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        MIR(**options)  # type: ignore[arg-type]


def test_what_the_stream_decides_is_refused_before_anything_is_learned() -> None:
    with pytest.raises(OptionError, match="candidates must be at least the number of samples to recall, 60; got 50"):
        clframe.run("split-digits", "mir", batch_size=60)
    with pytest.raises(OptionError, match="size must be at least the number of classes, 10"):
        clframe.run("split-digits", "mir(size=9)")
