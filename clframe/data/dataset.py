"""A named data set is a training source and a test source; views and the stratified split between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clframe.data.hashing import fingerprint
from clframe.errors import DataError, bad_option
from clframe.seeding import rng
from clframe.types import Ids, Source


@dataclass(frozen=True)
class Dataset:
    """Training and test samples of the same kind.

    Args:
        name: a short name for messages and reports.
        train: the training source.
        test: the test source, with the same input shape and class names.
        allow_missing: accept a class without training or without test samples, as in a stream of drifting data.

    Raises:
        DataError: shapes or class names differ, a label is out of range, a class has no training or no test sample.

    Example:
        >>> from clframe.data import load
        >>> digits = load("digits")
        >>> digits.num_classes, digits.train.input_shape, len(digits.train), len(digits.test)
        (10, (1, 8, 8), 1438, 359)
    """

    name: str
    train: Source
    test: Source
    allow_missing: bool = False

    def __post_init__(self) -> None:
        for what in ("input_shape", "class_names"):
            here, there = getattr(self.train, what), getattr(self.test, what)
            if here != there:
                raise DataError(
                    f"{self.name}: {what} must be the same in train and test; got {here} and {there}. Prepare both parts alike."
                )
        for part, source in (("train", self.train), ("test", self.test)):
            self._check_labels(part, source.y)

    def _check_labels(self, part: str, y: Ids) -> None:
        if len(y) == 0:
            raise DataError(f"{self.name}: the {part} part must hold at least one sample; got 0. Check the file and its split.")
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= self.num_classes:
            raise DataError(
                f"{self.name}: labels must be in 0..{self.num_classes - 1}; got {low if low < 0 else high} in the {part} part. "
                "Correct the labels or give all class_names."
            )
        count = np.bincount(y, minlength=self.num_classes)
        if not self.allow_missing and (count == 0).any():
            names = [self.train.class_names[int(c)] for c in np.flatnonzero(count == 0)]
            shown = ", ".join(repr(n) for n in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            raise DataError(
                f"{self.name}: every class must have a sample in train and in test; {shown} got none in {part}. "
                "Add samples, leave the class out, or give allow_missing=True."
            )

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.train.class_names)

    def to(self, device: torch.device) -> Dataset:
        """The same data set, delivering on `device`."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    def fingerprint(self) -> str:
        """A hash of both parts."""
        return fingerprint(self.train.fingerprint(), self.test.fingerprint())


@final
class Subset:
    """A view of some samples of a source; nothing is copied but the labels.

    Args:
        source: where the samples are.
        ids: which ones (M,), in the order in which the view numbers them 0..M-1.
        classes: the classes that are left, in the order in which the view numbers them 0..C-1; all as they are by default.

    Example:
        >>> from clframe.data import load
        >>> view = Subset(load("digits").train, np.array([5, 7]))
        >>> len(view), tuple(view.fetch(torch.tensor([1])).shape)
        (2, (1, 1, 8, 8))
    """

    def __init__(self, source: Source, ids: Ids, classes: Sequence[int] | None = None) -> None:
        self.source = source
        self.ids = np.asarray(ids, dtype=np.int64)
        self.name = source.name
        self.y: Ids = source.y[self.ids]
        self.class_names = source.class_names
        self.classes = None if classes is None else tuple(classes)
        if self.classes is not None:
            numbers = np.full(len(source.class_names), -1, dtype=np.int64)
            numbers[list(self.classes)] = np.arange(len(self.classes))
            self.y, self.class_names = numbers[self.y], tuple(source.class_names[c] for c in self.classes)
        self.task: Ids | None = None if source.task is None else source.task[self.ids]
        self.weight: npt.NDArray[np.float32] | None = None if source.weight is None else source.weight[self.ids]
        self.input_shape = source.input_shape
        columns: Mapping[str, npt.NDArray[Any]] = getattr(source, "columns", {})
        self.columns = {name: values[self.ids] for name, values in columns.items()}
        self._ids = torch.from_numpy(self.ids.copy())

    def __len__(self) -> int:
        return len(self.ids)

    def fetch(self, index: Tensor) -> Tensor:
        """Inputs (B, *input_shape) of the view's ids (B,)."""
        return self.source.fetch(self._ids.index_select(0, index.cpu()))

    def to(self, device: torch.device) -> Subset:
        """The same view, delivering on `device`."""
        moved = self.source.to(device)
        return self if moved is self.source else Subset(moved, self.ids, self.classes)

    def fingerprint(self) -> str:
        """A hash of the source's fingerprint and the ids."""
        return fingerprint("subset", self.source.fingerprint(), self.ids, *(() if self.classes is None else (self.classes,)))


def of_classes(data: Dataset, classes: Sequence[int] | str) -> Dataset:
    """The part of a data set that is of some classes, numbered anew from 0 in the order given.

    Args:
        data: the data set.
        classes: numbers, or a range of them in words, such as "0-4".

    Raises:
        OptionError: fewer than two classes, one twice, or one that there is not.

    Example:
        >>> from clframe.data import load
        >>> half = of_classes(load("digits"), "5-9")
        >>> half.num_classes, half.train.class_names
        (5, ('5', '6', '7', '8', '9'))
    """
    chosen = classes
    if isinstance(classes, str):
        low, dash, high = classes.partition("-")
        if not (dash and low.strip().isdigit() and high.strip().isdigit()):
            raise bad_option("classes", "a list of class numbers, or a range such as 0-4", classes, "Write classes=[0,1,2].")
        chosen = list(range(int(low), int(high) + 1))
    numbers = [int(c) for c in ([chosen] if isinstance(chosen, int) else chosen)]
    if len(numbers) < 2 or len(set(numbers)) < len(numbers) or not all(0 <= c < data.num_classes for c in numbers):
        rule = f"at least two different classes in 0..{data.num_classes - 1}"
        raise bad_option("classes", rule, classes, "Write classes=[0,1,2], or classes=0-4.")
    train, test = (Subset(source, np.flatnonzero(np.isin(source.y, numbers)), numbers) for source in (data.train, data.test))
    return replace(data, train=train, test=test)


def stratified_ids(groups: npt.NDArray[Any], fraction: float, seed: int) -> tuple[Ids, Ids]:
    """Ids (train, test), sorted: of each group of equal values, round(fraction * size) go to test.

    A group of two or more leaves at least one on either side; a group of one stays in train.

    Raises:
        OptionError: `fraction` is not between 0 and 1.

    Example:
        >>> stratified_ids(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 0.25, seed=0)[1] // 4
        array([0, 1])
    """
    if not 0 < fraction < 1:
        raise bad_option("test_fraction", "between 0 and 1", fraction, "Give test_fraction=0.2.")
    draw = rng(seed, "data", "test split")
    test = []
    for value in np.unique(groups):
        ids = np.flatnonzero(groups == value)
        size = 0 if len(ids) == 1 else min(len(ids) - 1, max(1, round(fraction * len(ids))))
        test.append(draw.permutation(ids)[:size])
    chosen = np.sort(np.concatenate(test)).astype(np.int64)
    return np.setdiff1d(np.arange(len(groups), dtype=np.int64), chosen), chosen


def split_test(source: Source, fraction: float = 0.2, seed: int = 0) -> tuple[Subset, Subset]:
    """Two views (train, test) of a source that has no test part of its own, stratified by class, task and experience.

    Example:
        >>> from clframe.data import load
        >>> train, test = split_test(load("digits").train, fraction=0.1)
        >>> len(train), len(test)
        (1295, 143)
    """
    train, test = stratified_ids(strata(source.y, source.task, getattr(source, "columns", {})), fraction, seed)
    return Subset(source, train), Subset(source, test)


def strata(y: Ids, task: Ids | None, columns: Mapping[str, npt.NDArray[Any]]) -> Ids:
    """One number for each combination of class, task and experience."""
    keys = [y] + ([task] if task is not None else []) + ([columns["experience"]] if "experience" in columns else [])
    combined = np.zeros(len(y), dtype=np.int64)
    for key in keys:
        values, code = np.unique(key, return_inverse=True)
        combined = combined * len(values) + code
    return combined


def column(source: Source, name: str) -> npt.NDArray[Any]:
    """A further column (N,) of a source, such as "experience".

    Raises:
        DataError: the source has no such column.
    """
    columns: Mapping[str, npt.NDArray[Any]] = getattr(source, "columns", {})
    if name not in columns:
        known = ", ".join(sorted(columns)) or "none"
        raise DataError(
            f"{source.name}: there must be a column {name!r}; got columns: {known}. Name it when loading the table, as in "
            f"experience={name!r}."
        )
    return columns[name]
