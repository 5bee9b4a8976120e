"""Thinned streams for the study: the first training images of each class of a named data set."""

from __future__ import annotations

from clframe.data import Dataset
from clframe.scenarios import Stream, class_incremental
from papers.methods.settings import first


def thinned(
    data: Dataset, train: int = 300, test: int = 100, validation: float = 0.0, seed: int = 0, name: str = "thinned"
) -> Stream:
    """Five pairs of classes, told apart all at once; `train` and `test` images of each class."""
    return class_incremental(
        Dataset(data.name, first(data.train, train), first(data.test, test)), validation=validation, seed=seed, name=name
    )
