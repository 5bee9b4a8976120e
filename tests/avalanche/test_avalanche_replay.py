"""Replay beside Avalanche's: its updates are followed one by one, from the same weights, on the same new and recalled samples.

Avalanche trains on a short stream; in the last experience everything that goes through its network is written down. Then ours is
given the same new batches and its memory hands out the same samples. Everything is in float64. GDumb, whose memory is filled by
another rule, is compared by its accuracies over seeds.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clframe.models import Network, build
from clframe.scenarios import class_incremental
from clframe.strategies import Learner, Replay, Setup
from clframe.strategies.der import DER
from clframe.strategies.er_ace import ERACE
from clframe.strategies.gdumb import GDumb
from clframe.strategies.mir import MIR
from clframe.types import Batch

avalanche = pytest.importorskip("avalanche")

pytestmark = pytest.mark.filterwarnings("ignore")

EXPERIENCES, LAST, BATCH, UPDATES, LR, SIZE = 3, 2, 10, 12, 0.05, 60


class World:
    """The first batches of each experience of a stream of digits, and the same samples as an Avalanche benchmark."""

    def __init__(self) -> None:
        from avalanche.benchmarks import tensors_benchmark

        self.stream = class_incremental("digits", class_order="sorted").walked(batch_size=BATCH)
        self.experiences = self.stream.experiences[:EXPERIENCES]
        self.ids = [torch.cat([b.index for _, b in e.steps()])[: BATCH * UPDATES] for e in self.experiences]
        batches = [self.batch(ids) for ids in self.ids]
        tensors = [(b.x, b.y) for b in batches]
        self.benchmark = tensors_benchmark(train_tensors=tensors, test_tensors=tensors, task_labels=[0] * EXPERIENCES)
        self.id_of = {x.numpy().tobytes(): int(i) for b in batches for x, i in zip(b.x, b.index, strict=True)}

    def batch(self, index: Tensor) -> Batch:
        found = self.stream.batch(index)
        return Batch(found.x.double(), found.y, found.index)

    def ids_in(self, x: Tensor) -> Tensor:
        return torch.tensor([self.id_of[row.numpy().tobytes()] for row in x])

    def tests(self) -> tuple[Tensor, Tensor]:
        """All test inputs and labels of the experiences."""
        ids = np.concatenate([e.test for e in self.experiences])
        source = self.experiences[0].test_source
        return source.fetch(torch.from_numpy(ids)).double(), torch.from_numpy(source.y[ids])


@dataclass
class Update:
    """One update of Avalanche's: the weights before it, the inputs of every forward pass, and its loss."""

    weights: dict[str, Tensor]
    inputs: list[Tensor] = field(default_factory=list)
    loss: float = float("nan")


class Recorder:
    """A plugin that writes down the updates of the last experience, and what `look` says when it begins."""

    def __init__(self, model: nn.Module, look: Any = lambda strategy: None) -> None:
        self.updates: list[Update] = []
        self.look, self.seen, self.on = look, None, False
        model.register_forward_pre_hook(lambda module, args: self.updates[-1].inputs.append(args[0].clone()) if self.on else None)

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        self.on = strategy.experience.current_experience == LAST
        self.seen = self.look(strategy)

    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        if self.on:
            self.updates.append(Update(copy.deepcopy(strategy.model.state_dict())))

    def after_backward(self, strategy: Any, **_: Any) -> None:
        if self.on:
            self.updates[-1].loss = strategy.loss.item()

    def __deepcopy__(self, memo: object) -> Recorder:
        return self


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def network(seed: int = 0) -> Network:
    return build("mlp", (1, 8, 8), 6, options={"hidden": (16,)}, seed=seed).double()


@contextmanager
def in_double(seed: int = 0) -> Iterator[None]:
    """Avalanche makes tensors of the default type, and draws from the global generators."""
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_rng_state(state)


def train(world: World, make: Any, model: nn.Module, plugins: list[Any], *, lr: float = LR, seed: int = 0, **options: Any) -> Any:
    """Avalanche's strategy, trained on all experiences."""
    from avalanche.training.plugins import EvaluationPlugin

    with in_double(seed):
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9 if "train_epochs" in options else 0.0)
        options = {"train_mb_size": BATCH, **options}
        strategy = make(model=model, optimizer=optimizer, plugins=plugins, evaluator=EvaluationPlugin(loggers=[]), **options)
        for experience in world.benchmark.train_stream:
            strategy.train(experience)
    return strategy


def beginning(world: World, part: Any, update: Update, lr: float = LR) -> Learner:
    """Our learner at the beginning of the last experience, with a memory of the others that takes in nothing more."""
    model = network()
    model.load_state_dict(update.weights)
    learner = Learner(model, torch.optim.SGD(model.parameters(), lr=lr), part)
    learner.begin(world.experiences[LAST].train)
    part._fetch = world.batch
    past = torch.cat(world.ids[:LAST])
    part.memory.update(past, world.batch(past).y)
    part.memory.update = lambda index, y: torch.full_like(index, -1)
    return learner


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def stored(update: Update) -> Tensor:
    return torch.cat([value.flatten() for name, value in update.weights.items() if "table" not in name])


def split(world: World, x: Tensor) -> tuple[Batch, Tensor]:
    """The new samples of Avalanche's joined batch, and the ids of the others."""
    ids = world.ids_in(x)
    new = torch.isin(ids, world.ids[LAST])
    return world.batch(ids[new]), ids[~new]


def test_er(world: World) -> None:
    from avalanche.training.plugins import ReplayPlugin
    from avalanche.training.supervised import Naive

    model = network()
    recorder = Recorder(model)
    train(world, Naive, model, [ReplayPlugin(SIZE, batch_size=BATCH, batch_size_mem=BATCH), recorder])
    part = Replay(size=SIZE)
    learner = beginning(world, part, recorder.updates[0])
    assert len(recorder.updates) == UPDATES
    for update in recorder.updates:
        batch, recalled = split(world, update.inputs[0])
        assert len(batch) == len(recalled) == BATCH
        part._drawn = lambda count, recalled=recalled: world.batch(recalled)  # type: ignore[method-assign]
        torch.testing.assert_close(weights(learner.model), stored(update), rtol=0, atol=1e-12)
        assert learner.observe(batch)["ce"].item() == pytest.approx(update.loss, rel=1e-9)
    torch.testing.assert_close(weights(learner.model), weights(model), rtol=0, atol=1e-12)


def test_er_ace_whose_loss_is_half_of_ours(world: World) -> None:
    from avalanche.training.supervised import ER_ACE

    model = network()
    recorder = Recorder(model)
    train(world, ER_ACE, model, [recorder], mem_size=SIZE, batch_size_mem=BATCH)
    part = ERACE(size=SIZE)
    learner = beginning(world, part, recorder.updates[0], lr=LR / 2)
    part.seen[:] = True  # Avalanche's recalled samples compete with all outputs
    old = 0
    for update in recorder.updates:
        batch, recalled = world.batch(world.ids_in(update.inputs[0])), world.ids_in(update.inputs[1])
        old += int(torch.isin(recalled, torch.cat(world.ids[:LAST])).sum())
        part._drawn = lambda count, recalled=recalled: world.batch(recalled)  # type: ignore[method-assign]
        torch.testing.assert_close(weights(learner.model), stored(update), rtol=0, atol=1e-12)
        assert learner.observe(batch)["er-ace/criterion"].item() == pytest.approx(2 * update.loss, rel=1e-9)
    assert old > 0
    torch.testing.assert_close(weights(learner.model), weights(model), rtol=0, atol=1e-12)


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_der_and_der_plus_plus_with_one_draw_for_both_terms(world: World, beta: float) -> None:
    from avalanche.training.supervised.der import DER as Theirs

    def buffer(strategy: Any) -> list[tuple[Tensor, Tensor]]:
        return [(row[0], row[3]) for row in strategy.storage_policy.buffer]

    model = network()
    recorder = Recorder(model, buffer)
    train(world, Theirs, model, [recorder], mem_size=SIZE, batch_size_mem=8, alpha=0.3, beta=beta)
    assert recorder.seen is not None and len(recorder.seen) == SIZE
    part = DER(size=SIZE, alpha=0.3, beta=beta)
    learner = beginning(world, part, recorder.updates[0])
    x, logits = (torch.stack(column) for column in zip(*recorder.seen, strict=True))
    held = world.ids_in(x)
    part.memory.index[:] = held
    part.memory.extra["logits"] = logits
    slot_of = {i: slot for slot, i in enumerate(held.tolist())}
    for update in recorder.updates:
        batch, recalled = split(world, update.inputs[0])
        assert len(recalled) == 8
        slots = torch.tensor([slot_of[i] for i in recalled.tolist()])
        part.memory.slots = lambda count, slots=slots: slots  # type: ignore[method-assign]
        terms = learner.observe(batch)
        assert sum(value.item() for value in terms.values()) == pytest.approx(update.loss, rel=1e-9)
        assert terms["der/logits"] > 0 and ("der/replay" in terms) == (beta > 0)
    torch.testing.assert_close(weights(learner.model), weights(model), rtol=0, atol=1e-12)


def test_mir_recalls_the_same_of_the_same_candidates(world: World) -> None:
    from avalanche.training.plugins import MIRPlugin
    from avalanche.training.supervised import Naive

    model = network()
    recorder = Recorder(model)
    train(world, Naive, model, [MIRPlugin(batch_size_mem=BATCH, mem_size=SIZE, subsample=20), recorder])
    part = MIR(size=SIZE, candidates=20)
    learner = beginning(world, part, recorder.updates[0])
    chosen_some = 0
    for update in recorder.updates:
        learner.model.load_state_dict(update.weights)  # Avalanche's step is twice ours: it adds the two means
        new, pool, again, chosen = map(world.ids_in, update.inputs)
        assert torch.equal(pool, again)
        part.memory.draw = lambda count, pool=pool: pool  # type: ignore[method-assign]
        recalled = part.recall(world.batch(new))
        assert recalled is not None
        assert set(recalled.index.tolist()) == set(chosen.tolist())
        chosen_some += len(chosen) < len(pool)
        assert 2 * learner.observe(world.batch(new))["ce"].item() == pytest.approx(update.loss, rel=1e-9)
    assert chosen_some >= UPDATES // 2


def test_gdumb_is_as_accurate_over_seeds(world: World) -> None:
    from avalanche.training.plugins import GDumbPlugin
    from avalanche.training.supervised import Naive

    x, y = world.tests()
    found: dict[str, list[float]] = {"ours": [], "theirs": []}
    for seed in range(4):
        options = {"train_mb_size": 16, "train_epochs": 12, "seed": seed}
        theirs = train(world, Naive, network(seed), [GDumbPlugin(mem_size=SIZE)], lr=0.02, **options)
        setup = Setup(network(seed), lambda p: torch.optim.SGD(p, lr=0.1), seed)
        ours = GDumb(setup, size=SIZE, epochs=12, lr=0.02, min_lr=0.02)
        for experience, ids in zip(world.experiences, world.ids, strict=True):
            ours.begin(experience.train)
            for some in ids.split(BATCH):
                ours.observe(world.batch(some))
            ours.end(_Double(world))  # type: ignore[arg-type]
        for who, model in (("ours", ours.model), ("theirs", theirs.model)):
            with torch.no_grad():
                found[who].append((model(x).argmax(1) == y).double().mean().item())
    means, errors = (np.array([f(values) for values in found.values()]) for f in (np.mean, lambda v: np.std(v, ddof=1) / 2))
    assert means.min() > 0.75
    assert abs(means[0] - means[1]) <= 3 * np.hypot(*errors) + 0.005


class _Double:
    """The training side, in float64."""

    def __init__(self, world: World) -> None:
        self.fetch = world.batch
