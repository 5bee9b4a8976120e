"""GDumb: the memory, the schedule, and training from scratch written out by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import clframe
from clframe.errors import CompositionError, OptionError
from clframe.models import build
from clframe.scenarios import Stream, class_incremental
from clframe.seeding import generator
from clframe.strategies import Setup
from clframe.strategies.gdumb import GDumb, rate

QUICK = {"size": 40, "epochs": 4}


def made(model: str | nn.Module = "mlp", head: str = "single", **options: object) -> tuple[GDumb, Stream]:
    stream = class_incremental("digits", class_order="sorted").walked(batch_size=10)
    network = build(model, (1, 8, 8), 10, options={"hidden": (16,)} if model == "mlp" else None, head=head)
    setup = Setup(network, lambda p: torch.optim.SGD(p, lr=0.1), seed=3)
    return GDumb(setup, **{**QUICK, **options}), stream  # type: ignore[arg-type]


def learn(strategy: GDumb, stream: Stream, *experiences: int) -> None:
    for experience in (stream.experiences[k] for k in experiences):
        strategy.begin(experience.train)
        for _, batch in experience.steps():
            strategy.observe(batch)
        strategy.end(experience.train)


def weights(strategy: GDumb) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in strategy.model.parameters()])


def test_the_rates_are_those_of_the_published_schedule() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=1, T_mult=2, eta_min=0.0005)
    optimizer.step()
    assert rate(0, 0.05, 0.0005) == pytest.approx(0.005)
    assert rate(1, 0.05, 0.0005) == pytest.approx(0.05)
    for epoch in range(2, 256):
        schedule.step()
        assert rate(epoch, 0.05, 0.0005) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


def test_training_is_sgd_from_the_first_weights_on_the_memory_alone() -> None:
    strategy, stream = made(lr=0.2, min_lr=0.01, momentum=0.8, weight_decay=1e-3, clip=0.5)
    mine = copy.deepcopy(strategy.model)
    learn(strategy, stream, 0, 1)
    ids, theirs = strategy.memory.index[: len(strategy.memory)], generator(3, "strategy", "gdumb")
    theirs.set_state(strategy.generator.get_state())
    strategy.end(stream.experiences[1].train)  # once more, from the same weights on the same memory, in another order

    optimizer = torch.optim.SGD(mine.parameters(), lr=1.0, momentum=0.8, weight_decay=1e-3)
    assert len(ids) == 40
    for epoch in range(4):
        optimizer.param_groups[0]["lr"] = [0.02, 0.2, 0.2, 0.105][epoch]
        shuffled = ids[torch.randperm(40, generator=theirs)]
        for some in (shuffled[:14], shuffled[14:27], shuffled[27:]):
            batch = stream.batch(some)
            optimizer.zero_grad()
            functional.cross_entropy(mine(batch.x), batch.y).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(mine.parameters(), 0.5)
            optimizer.step()
    torch.testing.assert_close(weights(strategy), torch.cat([p.detach().flatten() for p in mine.parameters()]))


def test_the_model_changes_only_when_an_experience_ends() -> None:
    strategy, stream = made()
    before = weights(strategy)
    strategy.begin(stream.experiences[0].train)
    for _, batch in stream.experiences[0].steps():
        terms = strategy.observe(batch)
    assert torch.equal(before, weights(strategy))
    assert terms["gdumb/filled"].item() == 40
    strategy.end(stream.experiences[0].train)
    assert not torch.equal(before, weights(strategy))


def test_what_is_learned_depends_on_the_memory_and_not_on_the_model_before() -> None:
    (strategy, stream), (other, _) = made(), made()
    learn(strategy, stream, 0)
    learn(other, stream, 0)
    with torch.no_grad():
        for p in other.model.parameters():
            p.add_(1.0)
    for one in (strategy, other):
        learn(one, stream, 1)
    assert torch.equal(weights(strategy), weights(other))


def test_running_statistics_start_anew_and_the_table_of_the_head_stays() -> None:
    layers = [nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2)]
    strategy, stream = made(nn.Sequential(*layers), head="masked")
    learn(strategy, stream, 0, 1)
    tracked = [b for name, b in strategy.model.named_buffers() if name.endswith("num_batches_tracked")]
    assert tracked[0].item() == 4 * 3
    strategy.model.eval()
    scores = strategy.predict(torch.zeros(2, 1, 8, 8))
    assert scores.isfinite()[0].nonzero().flatten().tolist() == [0, 1, 2, 3]


def test_the_memory_is_balanced_and_holds_no_sample_twice() -> None:
    strategy, stream = made(size=600)
    stream = stream.walked(batch_size=10, epochs=3)
    for k in range(3):
        learn(strategy, stream, k)
        held = strategy.memory.index[: len(strategy.memory)].tolist()
        assert len(held) == len(set(held)) == min(600, sum(len(s) for s in stream.segments[: k + 1]))
    counts = np.bincount(stream.data.train.y[held], minlength=6)
    assert counts.max() - counts.min() <= 1


def test_it_learns_and_counts_what_it_used() -> None:
    result = clframe.run("split-digits", "gdumb(size=100,epochs=16)", evaluate="boundaries", model="mlp(hidden=[32])")
    last = result.rows[result.rows.n == result.rows.n.max()]
    assert last.correct.sum() / last.total.sum() > 0.8
    assert result.budget.forwards == result.budget.backwards == 5 * 16 * 100
    assert result.budget.state_bytes["gdumb"] >= 100 * 64
    assert result.budget.optimizer_bytes == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 9}, "size must be at least the number of classes, 10"),
        ({"epochs": 0}, "epochs must be a positive integer"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"min_lr": 0.1}, "min_lr must be in \\[0, lr\\], with lr=0.05; got 0.1"),
        ({"momentum": 1.0}, "momentum must be in \\[0, 1\\)"),
        ({"weight_decay": -1.0}, "weight_decay must be zero or positive"),
        ({"clip": 0.0}, "clip must be positive"),
    ],
)
def test_bad_options_are_refused_at_construction(options: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        made(**options)


def test_it_needs_boundaries_and_stands_alone() -> None:
    with pytest.raises(CompositionError, match="needs 'boundaries'"):
        clframe.run("gaussian-digits", "gdumb(epochs=1)")
    with pytest.raises(CompositionError, match="only parts compose; 'gdumb' is a whole strategy"):
        clframe.run("split-digits", "gdumb+lwf")
