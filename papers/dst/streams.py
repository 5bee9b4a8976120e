"""Thinned task-incremental streams: the first images of each class, as many as two cores carry."""

from __future__ import annotations

from clframe.data import Dataset
from clframe.scenarios import Stream, task_incremental
from papers.methods.settings import first


def thinned(data: Dataset, train: int = 100, test: int = 50, experiences: int = 10, seed: int = 0, name: str = "thinned") -> Stream:
    """All classes in disjoint tasks, told in training and test; `train` and `test` images of each class."""
    few = Dataset(data.name, first(data.train, train), first(data.test, test))
    return task_incremental(few, experiences=experiences, seed=seed, name=name)
