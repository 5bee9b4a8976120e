"""The same work in Avalanche, in the same process: an evaluation after every update. `bench_training.py` has training alone.

Avalanche gets its leanest set-up: accuracy per experience and no logger, evaluation batches of 256 (its default is the training
batch), no worker processes, foreach SGD.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from benchmarks.bench_iteration import learner_of
from benchmarks.measure import Advance, Row, alternate
from benchmarks.setting import LR, Setting, twin
from clframe.eval.evaluator import Evaluator
from clframe.eval.plan import Every
from clframe.eval.records import Records
from clframe.scenarios import Stream

BATCH = 10
LAST = 4
"""The experience in which both train, so that both measure all five."""


def rows(setting: Setting) -> Iterator[Row]:
    """Samples of both forms, in both of Avalanche's data sets."""
    if find_spec("avalanche") is None:
        yield Row("against Avalanche", "", "not installed: pip install 'clframe[avalanche]'")
        return
    with warnings.catch_warnings():
        warnings.showwarning = lambda *_, **__: None  # its own deprecations, which it shows whatever the filters say
        for samples, form, floor in ((tensors, "tensors", 3), (images, "images, ToTensor, Normalize", 7)):
            yield evaluated(setting, f"{form}, by nc_benchmark", samples, classic, floor)
            yield evaluated(setting, f"{form}, its fastest data set", samples, fastest, None)


Samples = Callable[[Setting, str, Tensor], Any]
Make = Callable[[Setting, Samples, list[Any], list[Any]], Any]


def tensors(setting: Setting, part: str, ids: Tensor) -> Any:
    """Normalised, flat tensors in memory."""
    source = getattr(setting.data, part)
    y = torch.from_numpy(np.ascontiguousarray(source.y))[ids]
    found: Any = TensorDataset(source.fetch(ids).flatten(1), y)
    found.targets = y.tolist()
    return found


class Images(Dataset[Any]):
    """PIL images, as torchvision's Fashion-MNIST gives them."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.targets = x, y.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        from PIL import Image

        return Image.fromarray(self.x[i]), self.targets[i]


def images(setting: Setting, part: str, ids: Tensor) -> Any:
    """uint8 images."""
    source = getattr(setting.data, part)
    stored = source.fetch(ids).sub(source._affine.shift).div(source._affine.scale).round().to(torch.uint8)
    return Images(stored[:, 0].numpy(), source.y[ids.numpy()])


def normalise(setting: Setting) -> Any:
    """The usual transforms of one image, with clframe's mean and deviation."""
    from torchvision import transforms

    affine: Any = setting.data.train._affine  # type: ignore[attr-defined]
    spread = 1 / (255 * float(affine.scale))
    steps = [transforms.ToTensor(), transforms.Normalize((-float(affine.shift) * spread,), (spread,)), torch.flatten]
    return transforms.Compose(steps)


def fastest(setting: Setting, samples: Samples, train: list[Any], test: list[Any]) -> Any:
    """Avalanche's benchmark from data sets of our own making, one an experience, without task labels."""
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils import TransformGroups, as_classification_dataset

    transform = normalise(setting) if samples is images else None
    groups = TransformGroups({"train": (transform, None), "eval": (transform, None)})
    parts = {
        part: [as_classification_dataset(samples(setting, part, torch.as_tensor(ids)), groups) for ids in experiences]
        for part, experiences in (("train", train), ("test", test))
    }
    return benchmark_from_datasets(**parts)


def classic(setting: Setting, samples: Samples, train: list[Any], test: list[Any]) -> Any:
    """The same by `nc_benchmark`, which SplitMNIST and the like are made with."""
    from avalanche.benchmarks import nc_benchmark

    transform = normalise(setting) if samples is images else None
    source = setting.data.test
    return nc_benchmark(
        samples(setting, "train", torch.as_tensor(np.concatenate(train))),
        samples(setting, "test", torch.as_tensor(np.concatenate(test))),
        n_experiences=len(test),
        task_labels=False,
        fixed_class_order=[c for ids in test for c in np.unique(source.y[ids]).tolist()],
        train_transform=transform,
        eval_transform=transform,
    )


def naive(model: torch.nn.Module, size: int, metrics: tuple[Any, ...] = (), **options: Any) -> Any:
    """Avalanche's plain strategy."""
    from avalanche.training.plugins import EvaluationPlugin
    from avalanche.training.supervised import Naive

    optimizer = torch.optim.SGD(model.parameters(), lr=LR, foreach=True)
    evaluator = EvaluationPlugin(*metrics, loggers=[], collect_all=False)
    return Naive(model=model, optimizer=optimizer, train_mb_size=size, eval_mb_size=256, evaluator=evaluator, **options)


def evaluated(setting: Setting, what: str, samples: Samples, make: Make, floor: float | None) -> Row:
    """One update and one evaluation of all test samples, again and again.

    Avalanche also evaluates before and after each call of `train`; its time is divided by its evaluations, not by its updates.
    """
    from avalanche.evaluation.metrics import accuracy_metrics

    updates = 2
    stream, network = setting.stream(BATCH, experiences=5), setting.network()
    made = make(setting, samples, [ids[: updates * BATCH] for ids in stream.segments], list(stream.tests))
    metrics = (accuracy_metrics(experience=True),)
    theirs = naive(twin(network), BATCH, metrics, eval_every=1, peval_mode="iteration")

    learner, evaluator = learner_of(network), Evaluator(stream, Every(1), subset=0)
    learner.begin(stream.experiences[LAST].train)
    same_accuracy(theirs.eval(made.test_stream), evaluator.everything(learner, 0, -1)[0])

    def avalanche(n: int) -> None:
        theirs.train(made.train_stream[LAST], eval_streams=[made.test_stream])

    ours = run(stream, learner, evaluator)
    pair = alternate(ours, avalanche, updates, 9 if setting.full else 3, their_size=updates + 2)
    return pair.at_least(f"update + evaluation of 10,000 samples; Avalanche on {what}", floor, "Avalanche")


def run(stream: Stream, learner: Any, evaluator: Evaluator) -> Advance:
    """The loop's body, evaluated at every update."""
    steps, records = stream.experiences[LAST].steps(), Records("benchmark", 0)

    def advance(n: int) -> None:
        for step, batch in islice(steps, n):
            records.train(step, learner.observe(batch))
            records.eval(evaluator(learner, step))

    return advance


def same_accuracy(theirs: dict[str, float], ours: list[Any]) -> None:
    """Stop unless both measured the same accuracy of every experience, with the same weights."""
    found = [value for name, value in sorted(theirs.items()) if name.startswith("Top1_Acc_Exp")]
    expected = [row.correct / row.total for row in ours if row.subset == "full"]
    if len(found) != len(expected) or max(abs(a - b) for a, b in zip(found, expected, strict=True)) > 1.01 / ours[0].total:
        raise RuntimeError(f"Avalanche and clframe must measure the same accuracies; got {found} and {expected}.")
