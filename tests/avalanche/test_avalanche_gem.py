"""GEM and A-GEM beside Avalanche's plugins: the same weights, batches and memory, the weights compared after every update.

Both keep whole experiences here, so that the order in which Avalanche draws its memory cannot matter. Everything is in float64,
but for Avalanche's projected gradient, which it casts to float32.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clframe.models import Network, build
from clframe.scenarios import class_incremental
from clframe.strategies import Learner
from clframe.strategies.agem import AGEM
from clframe.strategies.gem import GEM, multipliers
from clframe.strategies.gradients import add_flat
from clframe.types import Batch

avalanche = pytest.importorskip("avalanche")
pytest.importorskip("quadprog")

pytestmark = pytest.mark.filterwarnings("ignore")

EXPERIENCES, BATCH, UPDATES, LR = 4, 16, 8, 0.05
KEPT = BATCH * UPDATES
ALL = EXPERIENCES * KEPT


class World:
    """The first batches of each experience of a stream of digits, in float64, and the same as an Avalanche benchmark."""

    def __init__(self) -> None:
        from avalanche.benchmarks import tensors_benchmark

        stream = class_incremental("digits", class_order="sorted").walked(batch_size=BATCH)
        self.experiences = stream.experiences[:EXPERIENCES]
        self.batches = [[_double(b) for _, b in e.steps()][:UPDATES] for e in self.experiences]
        tensors = [(torch.cat([b.x for b in batches]), torch.cat([b.y for b in batches])) for batches in self.batches]
        self.benchmark = tensors_benchmark(train_tensors=tensors, test_tensors=tensors, task_labels=[0] * EXPERIENCES)

    def ours(self, network: Network, part: Any) -> tuple[list[Tensor], int]:
        """The weights after every update, and how many updates were projected."""
        learner, weights, projected = Learner(network, torch.optim.SGD(network.parameters(), lr=LR, momentum=0.9), part), [], 0
        for k, (experience, batches) in enumerate(zip(self.experiences, self.batches, strict=True)):
            learner.begin(experience.train)
            fetch = experience.train.fetch
            part._fetch = lambda index, fetch=fetch: _double(fetch(index))
            part.episodes.kept = [torch.cat([b.index for b in past]) for past in self.batches[:k]]
            for batch in batches:
                terms = learner.observe(batch)
                projected += int(terms.get(f"{part.name}/change", 0.0) > 0)
                weights.append(_weights(network))
            learner.end(experience.train)
        return weights, projected

    def theirs(self, model: nn.Module, plugin: Any) -> list[Tensor]:
        """The weights after every update."""
        from avalanche.training.plugins import EvaluationPlugin
        from avalanche.training.supervised import Naive

        after = AfterUpdate()
        strategy = Naive(
            model=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9),
            train_mb_size=BATCH,
            plugins=[plugin, after],
            evaluator=EvaluationPlugin(loggers=[]),
        )
        for experience in self.benchmark.train_stream:
            strategy.train(experience, shuffle=False)
        return after.weights


class AfterUpdate:
    """A plugin that keeps the weights."""

    def __init__(self) -> None:
        self.weights: list[Tensor] = []

    def after_update(self, strategy: Any, **_: Any) -> None:
        self.weights.append(_weights(strategy.model))


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def _double(batch: Batch) -> Batch:
    return Batch(batch.x.double(), batch.y, batch.index)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture
def pair() -> tuple[Network, Network]:
    network = build("mlp", (1, 8, 8), 10, options={"hidden": (24,)}).double()
    return network, copy.deepcopy(network)


def assert_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs) == EXPERIENCES * UPDATES
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_gem_is_step_equal_with_the_ridge_of_the_published_codes(
    world: World, pair: tuple[Network, Network], strength: float
) -> None:
    from avalanche.training.plugins import GEMPlugin

    ours, projected = world.ours(pair[0], GEM(size=ALL, strength=strength, ridge=1e-3))
    assert projected > UPDATES
    assert_same(ours, world.theirs(pair[1], GEMPlugin(patterns_per_experience=KEPT, memory_strength=strength)))


def test_agem_is_step_equal_where_the_whole_memory_is_drawn(world: World, pair: tuple[Network, Network]) -> None:
    from avalanche.training.plugins import AGEMPlugin

    class WholeMemory(AGEMPlugin):
        """Draws as many samples as the memory holds."""

        def update_memory(self, dataset: Any, num_workers: int = 0, **_: Any) -> None:
            self.sample_size = KEPT * (len(self.buffers) + 1)
            super().update_memory(dataset, num_workers=num_workers)

    ours, projected = world.ours(pair[0], AGEM(size=ALL, batch_size=ALL))
    assert projected > UPDATES
    assert_same(ours, world.theirs(pair[1], WholeMemory(patterns_per_experience=KEPT, sample_size=KEPT)))


@pytest.mark.parametrize("strength", [0.0, 0.1, 1.0])
def test_given_the_same_old_gradients_the_projected_gradient_is_theirs(strength: float) -> None:
    from avalanche.training.plugins import GEMPlugin

    draw = torch.Generator().manual_seed(0)
    for count in range(1, 15):
        old, new = (torch.randn(n, 200, generator=draw, dtype=torch.float64) for n in (count, 1))
        new = 2.0 * new[0] - old.sum(0)
        plugin = GEMPlugin(1, strength)
        plugin.G = old
        parameter = nn.Parameter(torch.zeros_like(new))
        parameter.grad = new.clone()
        v = multipliers((old @ old.T).numpy(), (old @ new).numpy(), strength=strength, ridge=1e-3)
        add_flat([parameter], torch.from_numpy(v) @ old)
        np.testing.assert_allclose(parameter.grad, plugin.solve_quadprog(new), rtol=1e-5, atol=1e-5)


def test_their_ridge_leaves_small_constraints_violated_and_none_does_not() -> None:
    """Gradients of norm 0.01, as where the old experiences are well learned: 1e-3 outweighs their squared norms."""
    from avalanche.training.plugins import GEMPlugin

    old, new = torch.tensor([[0.01, 0.0]]).double(), torch.tensor([-0.01, 0.02]).double()
    plugin = GEMPlugin(1, 0.0)
    plugin.G = old
    theirs = plugin.solve_quadprog(new)
    ours = new + torch.from_numpy(multipliers((old @ old.T).numpy(), (old @ new).numpy())) @ old
    assert theirs[0].item() < -0.009
    assert ours.tolist() == pytest.approx([0.0, 0.02], abs=1e-9)


def test_their_memory_pass_moves_running_statistics_and_ours_does_not(world: World) -> None:
    from avalanche.training.plugins import GEMPlugin

    def network() -> Network:
        return build("clframe.testing.worlds:mlp", (1, 8, 8), 10, options={"touchy": True}).double()

    def passes(model: nn.Module) -> int:
        return int(next(b for name, b in model.named_buffers() if name.endswith("num_batches_tracked")))

    mine, other = network(), network()
    world.ours(mine, GEM(size=ALL))
    world.theirs(other, GEMPlugin(patterns_per_experience=KEPT, memory_strength=0.5))
    assert passes(mine) == EXPERIENCES * UPDATES
    assert passes(other) > passes(mine)
