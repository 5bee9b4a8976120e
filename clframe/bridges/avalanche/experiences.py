"""Experiences that carry what Avalanche's strategies, old and new, look for on them."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from avalanche.benchmarks import OnlineCLExperience
from avalanche.benchmarks.scenarios.dataset_scenario import DatasetExperience
from avalanche.benchmarks.utils.classification_dataset import TaskAwareSupervisedClassificationDataset
from avalanche.benchmarks.utils.data_attribute import DataAttribute, TaskLabels
from avalanche.benchmarks.utils.flat_data import ConstantSequence
from torch.utils.data import Dataset

from clframe.types import Ids


@dataclass
class ClassOrder:
    """What `ICaRL` and others read of `experience.benchmark`: new classes of each experience, and their order.

    Classes that have not come yet stand at the end, as one last experience, in the order of their numbers.

    Attributes:
        n_classes_per_exp: how many classes each experience brought that none before it had, and at the end how many are left.
        classes_order: those classes, in order of appearance.
    """

    n_classes_per_exp: list[int]
    classes_order: list[int]

    @classmethod
    def of(cls, seen: list[tuple[int, ...]], num_classes: int) -> ClassOrder:
        """Of the classes of each experience up to now, out of `num_classes`.

        Example:
            >>> ClassOrder.of([(3, 1), (1, 2)], 5)
            ClassOrder(n_classes_per_exp=[2, 1, 2], classes_order=[3, 1, 2, 0, 4])
        """
        order: list[int] = []
        counts = []
        for classes in [*seen, tuple(range(num_classes))]:
            fresh = [c for c in classes if c not in order]
            order += fresh
            counts.append(len(fresh))
        return cls(counts, order)


class BridgedExperience(DatasetExperience[Any]):  # type: ignore[misc]
    """An experience with everything that Avalanche's classic ones have.

    Its data set may be replaced, as `BiCPlugin` does; the experiences of Avalanche 0.6 refuse that.

    Attributes:
        classes_in_this_experience: its classes.
        task_labels, task_label: its task label; 0 where none is told.
        benchmark: the order of classes.
    """

    def __init__(self, data: Any, number: int, classes: tuple[int, ...], task: int, benchmark: Any) -> None:
        super().__init__(dataset=data, current_experience=number)
        self.classes_in_this_experience = list(classes)
        self.task_label, self.task_labels = task, [task]
        self.benchmark = benchmark
        self.origin_stream = SimpleNamespace(name="train", benchmark=benchmark)  # metrics ask for its name

    @property
    def dataset(self) -> Any:
        """The samples."""
        return self._dataset

    @dataset.setter
    def dataset(self, data: Any) -> None:
        self._dataset = data


class BridgedBatch(OnlineCLExperience[Any]):  # type: ignore[misc]
    """One batch as an experience of an online stream without boundaries."""

    def __init__(self, data: Any, number: int, classes: tuple[int, ...], task: int) -> None:
        super().__init__(dataset=data, origin_experience=None, is_first_subexp=number == 0)
        self.current_experience = number
        self.origin_stream = SimpleNamespace(name="train_online")
        self.classes_in_this_experience = list(classes)
        self.task_label, self.task_labels = task, [task]


def labelled(leaf: Dataset[Any], targets: DataAttribute[int], task: int, ids: Ids | None = None) -> Any:
    """Samples of a leaf (all, or these ids) as the kind of data set that every Avalanche strategy takes.

    Args:
        leaf: gives (input, label).
        targets: labels of the whole leaf.
        task: task label of the samples.
        ids: rows of the leaf.
    """
    attributes = [targets, TaskLabels(ConstantSequence(task, len(targets)))]
    indices = None if ids is None else ids.tolist()
    return TaskAwareSupervisedClassificationDataset([leaf], data_attributes=attributes, indices=indices)


def targets_of(labels: list[int]) -> DataAttribute[int]:
    """Labels as Avalanche keeps them."""
    return DataAttribute(labels, "targets")


def classes_of(y: Ids) -> tuple[int, ...]:
    """The classes that occur, ascending."""
    return tuple(np.unique(y).tolist())
