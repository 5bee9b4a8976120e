"""Regularisation and distillation beside Avalanche's: the same weights, batches and hyperparameters, the loss terms compared.

Everything is in float64, so that a term can be read off as a difference of two losses.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clframe.models import build
from clframe.models.network import Network
from clframe.scenarios import class_incremental
from clframe.strategies import EWC, MAS, SI, FeatureDistillation, Learner, LwF, Part, RWalk
from clframe.types import Batch

avalanche = pytest.importorskip("avalanche")

pytestmark = pytest.mark.filterwarnings("ignore")

EXPERIENCES, BATCH, LR, MOMENTUM = 3, 16, 0.05, 0.5


class World:
    """A short stream of digits, its batches cast to float64, and the same batches as an Avalanche benchmark."""

    def __init__(self) -> None:
        from avalanche.benchmarks import tensors_benchmark

        whole = class_incremental("digits", class_order="sorted").walked(batch_size=BATCH)
        self.trains = [_Double(e.train) for e in whole.experiences[:EXPERIENCES]]
        self.batches = [[_double(b) for _, b in e.steps()][:12] for e in whole.experiences[:EXPERIENCES]]
        tensors = [(torch.cat([b.x for b in batches]), torch.cat([b.y for b in batches])) for batches in self.batches]
        labels = [0] * EXPERIENCES
        self.benchmark = tensors_benchmark(train_tensors=tensors, test_tensors=tensors, task_labels=labels)
        for train, batches in zip(self.trains, self.batches, strict=True):
            train.restrict(np.concatenate([b.index.numpy() for b in batches]))

    def ours(self, network: Network, part: Part, experiences: int = EXPERIENCES) -> list[dict[str, float]]:
        """The terms of every update."""
        optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM)
        learner, terms = Learner(network, optimizer, part), []
        for train, batches in zip(self.trains[:experiences], self.batches, strict=False):
            learner.begin(train)
            for batch in batches:
                terms.append({name: value.item() for name, value in learner.observe(batch).items()})
            learner.end(train)
        return terms

    def theirs(self, model: nn.Module, *plugins: Any, experiences: int = EXPERIENCES) -> list[float]:
        """What the plugins added to the loss of every update."""
        from avalanche.training.plugins import EvaluationPlugin
        from avalanche.training.supervised import Naive

        before, after = Loss(), Loss()
        strategy = Naive(
            model=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM),
            train_mb_size=BATCH,
            plugins=[before, *plugins, after],
            evaluator=EvaluationPlugin(loggers=[]),
        )
        torch.set_default_dtype(torch.float64)  # for the plugins' own buffers
        try:
            for experience in self.benchmark.train_stream[:experiences]:
                strategy.train(experience, shuffle=False)
        finally:
            torch.set_default_dtype(torch.float32)
        return [b - a for a, b in zip(before.seen, after.seen, strict=True)]


class _Double:
    """The training side of an experience: only the samples that are trained, in float64."""

    def __init__(self, train: Any) -> None:
        self._train = train

    def restrict(self, ids: np.ndarray) -> None:
        self.ids = ids

    def sample(self, count: int, generator: torch.Generator) -> np.ndarray:
        return self.ids

    def batches(self, size: int, order: np.ndarray) -> Any:
        return map(_double, self._train.batches(size, order=order))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._train, name)


def _double(batch: Batch) -> Batch:
    return Batch(batch.x.double(), batch.y, batch.index)


class Loss:
    """A plugin: the loss as it stands when this plugin's turn comes."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def before_backward(self, strategy: Any, **_: Any) -> None:
        strategy.loss = strategy.loss.double()
        self.seen.append(strategy.loss.item())


class WithFeatures(nn.Module):
    """A network that keeps the features of its last forward, as Avalanche's plugin expects."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.features: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.features = self.network.features(x)
        return self.network.head(self.features)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture
def pair() -> tuple[Network, Network]:
    torch.manual_seed(0)
    network = build("mlp", (1, 8, 8), 10, options={"hidden": (24,)}).double()
    return network, copy.deepcopy(network)


def assert_same(ours: list[dict[str, float]], term: str, theirs: list[float], mine: nn.Module, other: nn.Module) -> None:
    """Term by term and, at the end, weight by weight."""
    found = [terms.get(term, 0.0) for terms in ours]
    assert max(found) > 1e-3, "nothing was compared"
    assert any(value > 0 for value in theirs)
    np.testing.assert_allclose(found, theirs, rtol=2e-5, atol=1e-8)
    for a, b in zip(mine.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("mode", "decay"), [("separate", 1.0), ("online", 0.7)])
def test_ewc_is_step_equal(world: World, pair: tuple[Network, Network], mode: Any, decay: float) -> None:
    """Their strength is half of ours, and their Fisher information is that of batches."""
    from avalanche.training.plugins import EWCPlugin

    mine, other = pair
    ours = world.ours(mine, EWC(strength=20.0, decay=decay, mode=mode, batch_size=BATCH))
    theirs = world.theirs(other, EWCPlugin(10.0, mode=mode, decay_factor=decay if mode == "online" else None))
    assert_same(ours, "ewc/quadratic", theirs, mine, other)


def test_their_si_does_nothing_on_a_cpu(world: World, pair: tuple[Network, Network]) -> None:
    """The weights that it keeps are views of the model's, so that nothing ever moves; when this fails, compare as shipped."""
    from avalanche.training.plugins import SynapticIntelligencePlugin

    assert set(world.theirs(pair[1], SynapticIntelligencePlugin(1e6))) == {0.0}


@pytest.fixture
def repaired_si(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Their plugin, keeping copies of the weights."""
    from avalanche.training.plugins import SynapticIntelligencePlugin as Plugin

    def extract(model: nn.Module, target: Any, excluded: Any) -> None:
        for name, p in Plugin.allowed_parameters(model, excluded):
            target[name].data = p.detach().clone().flatten()

    monkeypatch.setattr(Plugin, "extract_weights", staticmethod(extract))
    return Plugin


@pytest.mark.parametrize("gradient", ["total", "task"])
def test_si_is_step_equal_once_theirs_is_repaired(world: World, pair: Any, repaired_si: Any, gradient: Any) -> None:
    """Their penalty has a factor 1/2; what cuts Omega off above 0.001 and lets it be negative is replaced by our rule."""

    class Uncut(repaired_si):  # type: ignore[misc]
        def after_training_exp(self, strategy: Any, **_: Any) -> None:
            old = {k: v.data.clone() for k, v in self.ewc_data[1].items()}
            start = {k: v.data.clone() for k, v in self.ewc_data[0].items()}
            super().after_training_exp(strategy)
            for k, omega in self.ewc_data[1].items():
                moved = self.ewc_data[0][k].data - start[k]
                omega.data = (old[k] - self.syn_data["trajectory"][k].data / (moved.square() + self.eps)).clamp_min(0.0)

    mine, other = pair
    ours = world.ours(mine, SI(strength=0.5, xi=0.01, gradient=gradient))
    theirs = world.theirs(other, Uncut(1.0, eps=0.01))
    if gradient == "total":
        assert_same(ours, "si/quadratic", theirs, mine, other)
        return
    found = [terms.get("si/quadratic", 0.0) for terms in ours]  # they differ once a penalty has acted: from the third on
    np.testing.assert_allclose(found[:24], theirs[:24], rtol=2e-5, atol=1e-8)
    assert not np.allclose(found[25:], theirs[25:], rtol=1e-3)


def test_their_si_importance_is_ours_cut_off(world: World, pair: Any, repaired_si: Any) -> None:
    """After the first experience, where neither has a penalty."""
    mine, other = pair
    part, plugin = SI(xi=0.01), repaired_si(1.0, eps=0.01)
    world.ours(mine, part, experiences=1)
    world.theirs(other, plugin, experiences=1)
    theirs = torch.cat([v.data for v in plugin.ewc_data[1].values()])
    ours = torch.cat([omega.flatten() for omega in part.importance])
    torch.testing.assert_close(theirs.clamp_min(0.0), ours.clamp_max(0.001), rtol=1e-6, atol=1e-9)
    assert theirs.max().item() == pytest.approx(0.001)
    assert ours.max() > 0.1


def test_mas_is_step_equal(world: World, pair: tuple[Network, Network]) -> None:
    """With the importance of batches, as theirs."""
    from avalanche.training.plugins import MASPlugin

    mine, other = pair
    ours = world.ours(mine, MAS(strength=0.05, keep=0.5, batch_size=BATCH))
    theirs = world.theirs(other, MASPlugin(lambda_reg=0.05, alpha=0.5))
    assert_same(ours, "mas/quadratic", theirs, mine, other)


def test_rwalk_is_step_equal(world: World, pair: tuple[Network, Network]) -> None:
    """They run every batch a second time for the gradient that ours takes from the step."""
    from avalanche.training.plugins import RWalkPlugin

    mine, other = pair
    ours = world.ours(mine, RWalk(strength=0.5, alpha=0.9, interval=4, epsilon=torch.finfo(torch.float64).eps))
    theirs = world.theirs(other, RWalkPlugin(ewc_lambda=0.5, ewc_alpha=0.9, delta_t=4))
    assert_same(ours, "rwalk/quadratic", theirs, mine, other)


def test_lwf_is_step_equal(world: World, pair: tuple[Network, Network]) -> None:
    from avalanche.training.plugins import LwFPlugin

    mine, other = pair
    ours = world.ours(mine, LwF(strength=3.0, temperature=2.0))
    theirs = world.theirs(other, LwFPlugin(alpha=3.0, temperature=2.0))
    assert_same(ours, "lwf/kd", theirs, mine, other)


def test_feature_distillation_is_step_equal(world: World, pair: tuple[Network, Network]) -> None:
    """Normalised, as their mode "cosine"."""
    from avalanche.training.plugins.feature_distillation import FeatureDistillationPlugin

    mine, other = pair
    ours = world.ours(mine, FeatureDistillation(strength=5.0, normalised=True))
    theirs = world.theirs(WithFeatures(other), FeatureDistillationPlugin(alpha=5.0, mode="cosine"))
    assert_same(ours, "feature-distillation/features", theirs, mine, other)


def test_their_distance_of_features_does_not_run(world: World, pair: tuple[Network, Network]) -> None:
    """So ours, without normalisation, has nothing to be compared with; when this fails, compare."""
    from avalanche.training.plugins.feature_distillation import FeatureDistillationPlugin

    with pytest.raises(TypeError, match="dim"):
        world.theirs(WithFeatures(pair[0]), FeatureDistillationPlugin(mode="mse"))
