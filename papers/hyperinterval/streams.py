"""The streams of the study, in words; pixels stay in [0, 1], as in the paper, so that black pixels widen no bound."""

from __future__ import annotations

from clframe.data import Dataset
from clframe.scenarios import Stream, task_incremental
from papers.methods.settings import first

TOLD = "reveals={'task_train':True,'task_test':True,'boundaries':True,'classes':True}"


def split(experiences: int = 5, validation: float = 0.0) -> str:
    """Split MNIST, two digits a task, tasks told."""
    return f"task-incremental(data=mnist,standardise=False,experiences={experiences}{_held(validation)})"


def permuted(experiences: int = 10, told: bool = False, validation: float = 0.0) -> str:
    """Permuted MNIST: ten classes in each task; one network for all of them, or told."""
    return f"permuted(data=mnist,standardise=False,experiences={experiences}{_held(validation)}{',' + TOLD if told else ''})"


def cifar(train: int, test: int, validation: float = 0.0) -> str:
    """Split CIFAR-100, ten tasks of ten classes, told; the first images of each class."""
    return f"papers.hyperinterval.streams:thinned(data=cifar100,train={train},test={test}{_held(validation)})"


def thinned(
    data: Dataset,
    train: int = 200,
    test: int = 50,
    experiences: int = 10,
    validation: float = 0.0,
    seed: int = 0,
    name: str = "thinned",
) -> Stream:
    """All classes in disjoint tasks, told in training and test; `train` and `test` images of each class."""
    few = Dataset(data.name, first(data.train, train), first(data.test, test))
    return task_incremental(few, experiences=experiences, validation=validation, seed=seed, name=name)


def _held(validation: float) -> str:
    return f",validation={validation}" if validation else ""
