"""An experience as Avalanche gets it, from the training side that a clframe strategy gets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from clframe.bridges.avalanche.experiences import BridgedBatch, BridgedExperience, ClassOrder, classes_of, labelled, targets_of
from clframe.bridges.avalanche.saving import Window
from clframe.errors import CompositionError
from clframe.eval.probe import CACHE_BYTES
from clframe.types import Batch, Train

BLOCK = 1024


class TrainSamples(Dataset[tuple[Tensor, int]]):
    """Samples of one experience as (input, label): held while it is trained, afterwards fetched by their ids.

    So what an Avalanche memory keeps of a past experience are ids, as in clframe's own memories.

    Args:
        index: ids in the source.
        y: their labels.
        x: their inputs, on the CPU; None where they would take more than 1 GiB.
        window: where inputs are fetched from.
        number: of the experience; its hash, because Avalanche keeps data sets in the order of a set, which would else be that of
            their places in memory.
    """

    def __init__(self, index: Tensor, y: Tensor, x: Tensor | None, window: Window, number: int) -> None:
        self.index, self.y, self.x, self.window, self.number = index, y, x, window, number
        self.targets: list[int] = y.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return (self.window.fetch(int(self.index[i])).cpu() if self.x is None else self.x[i]), self.targets[i]

    def __hash__(self) -> int:
        return self.number

    def __getstate__(self) -> dict[str, Any]:
        return {"index": self.index, "y": self.y, "window": self.window, "number": self.number}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["index"], state["y"], None, state["window"], state["number"])  # type: ignore[misc]


def experience_of(train: Train, number: int, seen: list[tuple[int, ...]], window: Window) -> tuple[BridgedExperience, TrainSamples]:
    """The experience, and the leaf of its data set, whose inputs are dropped when it is over.

    Args:
        train: the training side.
        number: experiences before it.
        seen: classes of each of those.
        window: where its samples are fetched from later.
    """
    index, y, x = [], [], []
    held = 0
    for batch in train.batches(BLOCK):
        _refuse_weights(batch)
        index.append(batch.index)
        y.append(batch.y.cpu())
        held += 4 * len(batch) * math.prod(batch.x.shape[1:])
        if held <= CACHE_BYTES:
            x.append(batch.x.cpu())
    leaf = TrainSamples(torch.cat(index), torch.cat(y), torch.cat(x) if held <= CACHE_BYTES else None, window, number)
    classes = classes_of(np.asarray(leaf.targets))
    task = 0 if train.task is None else train.task
    data = labelled(leaf, targets_of(leaf.targets), task)
    return BridgedExperience(data, number, classes, task, ClassOrder.of([*seen, classes], train.num_classes)), leaf


def batch_as_experience(batch: Batch, number: int, window: Window) -> tuple[BridgedBatch, TrainSamples]:
    """One batch as an experience of an online stream, and the leaf of its data set."""
    _refuse_weights(batch)
    leaf = TrainSamples(batch.index, batch.y, batch.x.cpu(), window, number)
    task = 0 if batch.task is None else int(batch.task[0])
    data = labelled(leaf, targets_of(leaf.targets), task)
    return BridgedBatch(data, number, classes_of(np.asarray(leaf.targets)), task), leaf


def _refuse_weights(batch: Batch) -> None:
    if batch.weight is not None:
        raise CompositionError(
            "an Avalanche strategy knows no weights of samples; this scenario has some. Take a scenario without weights, or one of "
            "clframe's own strategies."
        )
