"""Thinned streams for the studies: the first training images of each class of a named data set."""

from __future__ import annotations

from clframe.data import Dataset, of_classes
from clframe.scenarios import Stream, class_incremental
from papers.methods.settings import first


def thinned(
    data: Dataset,
    train: int = 300,
    test: int = 100,
    classes: str = "",
    experiences: int = 5,
    validation: float = 0.0,
    seed: int = 0,
    name: str = "thinned",
) -> Stream:
    """All classes, or a range of them such as "0-49", told apart all at once; `train` and `test` images of each class."""
    some = of_classes(data, classes) if classes else data
    few = Dataset(some.name, first(some.train, train), first(some.test, test))
    return class_incremental(few, experiences=experiences, validation=validation, seed=seed, name=name)
