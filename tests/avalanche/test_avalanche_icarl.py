"""iCaRL beside Avalanche's: its mini-batches are followed one by one, from the same weights.

Avalanche trains on new samples and exemplars mixed, and takes the mean over all ten outputs where ours is a sum over the classes
met. So ours is given Avalanche's mini-batches as they are, counts the classes not yet met as new, and has a tenth of its learning
rate. Then the losses, the weights, the exemplars and the answers must agree.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clframe.models import Head, Network
from clframe.scenarios import Stream, class_incremental
from clframe.strategies import Learner
from clframe.strategies.icarl import ICaRL
from clframe.types import Batch

avalanche = pytest.importorskip("avalanche")

pytestmark = pytest.mark.filterwarnings("ignore")

EXPERIENCES, BATCH, LR, WIDTH = 3, 16, 0.5, 96
KEPT = 12  # 6, 3 and 2 exemplars of a class: few enough that herding picks none twice, which Avalanche counts twice


def backbone() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU())


class Written:
    """Every mini-batch of Avalanche's training, its loss, the weights after it; exemplars and answers after each experience."""

    def __init__(self, x_test: Tensor) -> None:
        self.x_test = x_test
        self.steps: list[list[tuple[Tensor, Tensor, float, list[Tensor]]]] = []
        self.exemplars: list[dict[int, Tensor]] = []
        self.answers: list[Tensor] = []

    def plugin(self) -> Any:
        from avalanche.training.plugins import SupervisedPlugin

        class Writes(SupervisedPlugin):
            def before_training_exp(here, strategy: Any, **kwargs: Any) -> None:
                self.steps.append([])

            def after_training_iteration(here, strategy: Any, **kwargs: Any) -> None:
                weights = [p.detach().clone() for p in strategy.model.parameters()]
                self.steps[-1].append((strategy.mb_x.clone(), strategy.mb_y.clone(), strategy.loss.item(), weights))

        return Writes()


def theirs(stream: Stream) -> Written:
    from avalanche.benchmarks import nc_benchmark
    from avalanche.benchmarks.utils import _make_taskaware_tensor_classification_dataset as tensors
    from avalanche.training.plugins import EvaluationPlugin
    from avalanche.training.supervised.icarl import ICaRL as Theirs

    train, test = (s.fetch(torch.arange(len(s))).flatten(1) for s in (stream.data.train, stream.data.test))
    y_train, y_test = (torch.from_numpy(s.y) for s in (stream.data.train, stream.data.test))
    benchmark = nc_benchmark(
        tensors(train, y_train), tensors(test, y_test), n_experiences=5, task_labels=False, fixed_class_order=list(range(10))
    )
    features, classifier = backbone(), nn.Linear(WIDTH, 10)
    written = Written(test)
    strategy = Theirs(
        feature_extractor=features,
        classifier=classifier,
        optimizer=torch.optim.SGD([*features.parameters(), *classifier.parameters()], lr=LR),
        memory_size=KEPT,
        buffer_transform=None,
        fixed_memory=True,
        train_mb_size=BATCH,
        eval_mb_size=200,
        plugins=[written.plugin()],
        evaluator=EvaluationPlugin(loggers=[]),
    )
    plugin = next(p for p in strategy.plugins if hasattr(p, "x_memory"))
    for experience in benchmark.train_stream[:EXPERIENCES]:
        strategy.train(experience)
        written.exemplars.append({y[0]: x.clone() for x, y in zip(plugin.x_memory, plugin.y_memory, strict=True)})
        strategy.model.eval()
        with torch.no_grad():
            written.answers.append(strategy.model.eval_classifier(features(test)))
    return written


def test_losses_weights_exemplars_and_answers_are_avalanches() -> None:
    stream = class_incremental("digits", class_order="sorted").walked(batch_size=BATCH)
    written = theirs(stream)
    features, linear = backbone(), nn.Linear(WIDTH, 10)
    head = Head(WIDTH, 10)
    head.load_state_dict({**head.state_dict(), **linear.state_dict()})
    network, part = Network(nn.Sequential(nn.Flatten(), *features), head), ICaRL(size=KEPT)
    ours = Learner(network, torch.optim.SGD(network.parameters(), lr=LR / 10), part)
    ours._recalling.clear()
    for k, experience in enumerate(stream.experiences[:EXPERIENCES]):
        ours.begin(experience.train)
        part._current = ~part.known
        for x, y, loss, weights in written.steps[k]:
            found = ours.observe(Batch(x, y, torch.full((len(y),), int(experience.train.sample(1, torch.Generator())[0]))))
            assert found["icarl/criterion"].item() / 10 == pytest.approx(loss, rel=1e-4)
            for mine, other in zip(network.parameters(), weights, strict=True):
                torch.testing.assert_close(mine.detach(), other, rtol=1e-3, atol=1e-4)
        assert experience.train.classes is not None
        part._current = torch.zeros(10, dtype=torch.bool)
        part._current[list(experience.train.classes)] = True
        ours.end(experience.train)
        state = part.memory.state_dict()
        for label, ids in zip(state["labels"], state["ranked"], strict=True):
            mine = stream.data.train.fetch(torch.tensor(ids)).flatten(1)
            assert _rows(mine) == _rows(written.exemplars[k][label])
        met = 2 * k + 2
        scores = ours.predict(written.x_test)[:, :met].detach()
        torch.testing.assert_close(scores, -written.answers[k][:, :met].square(), rtol=1e-3, atol=1e-4)
        assert np.array_equal(scores.argmax(1), written.answers[k][:, :met].argmax(1))


def _rows(x: Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in x.tolist()}
