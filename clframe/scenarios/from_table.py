"""Streams from data that says itself which experience a row belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clframe.data import Dataset
from clframe.data import column as column_of
from clframe.errors import DataError, bad_option
from clframe.scenarios.build import dataset, held_out
from clframe.scenarios.stream import Stream
from clframe.types import Ids, Reveals


def from_table(
    data: Dataset | str,
    *,
    column: str = "experience",
    order: Sequence[int | str] | None = None,
    reveal_task: bool = False,
    validation: float = 0.0,
    seed: int = 0,
    name: str = "table",
) -> Stream:
    """One experience for each value of a column; the test rows of an experience are those with the same value.

    Args:
        data: a data set with the column, as `load("rows.csv", experience="day")` makes it, or the name of one.
        column: name of the column; "task" is the data's task label.
        order: the values in the order in which they come; by default ascending.
        reveal_task: tell the learner the number of the experience in training and in the test.
        validation: share of each experience's training samples held out, stratified by class.
        seed: root of the validation split and of the order of samples.
        name: name in reports.

    Raises:
        OptionError: an order that does not name every value once.
        DataError: no such column, or a value without training or without test rows.

    Example:
        >>> from clframe.data import from_arrays
        >>> x, y, day = np.random.rand(20, 3), np.arange(20) % 2, np.arange(20) // 10
        >>> data = from_arrays(x, y, x, y, columns={"day": day}, columns_test={"day": day})
        >>> [len(ids) for ids in from_table(data, column="day").segments]
        [10, 10]
    """
    data = dataset(data)
    train, test = _groups(data, "train", column), _groups(data, "test", column)
    for value in sorted(train.keys() ^ test.keys(), key=str):
        part = "test" if value in train else "training"
        raise DataError(
            f"{data.name}: an experience must have training and test rows; got {value!r} in column {column!r} without "
            f"a {part} row. Add rows, or leave the value out."
        )
    values = list(train) if order is None else [_plain(v) for v in order]
    if sorted(values, key=str) != sorted(train, key=str):
        rule = f"each value of column {column!r} once, {len(train)} in all"
        raise bad_option("order", rule, values, f"The values are {list(train)[:20]}.")
    segments, tests = [train[v] for v in values], [test[v] for v in values]
    segments, held = held_out(segments, data.train.y, validation, seed)
    reveals = Reveals(task_train=reveal_task, task_test=reveal_task)
    return Stream(name, data, segments, tests, reveals, tasks=range(len(values)), validation=held, seed=seed)


def _groups(data: Dataset, part: str, name: str) -> dict[int | str, Ids]:
    """Ids of each value of the column, values ascending."""
    source = data.train if part == "train" else data.test
    values: npt.NDArray[np.generic]
    values = source.task if name == "task" and source.task is not None else column_of(source, name)
    found, code = np.unique(values, return_inverse=True)
    by_value = np.argsort(code, kind="stable").astype(np.int64)
    ends = np.cumsum(np.bincount(code, minlength=len(found)))
    return dict(zip(map(_plain, found), np.split(by_value, ends[:-1]), strict=True))


def _plain(value: object) -> int | str:
    """A value as a plain integer where it is one, else as text."""
    item = value.item() if isinstance(value, np.generic) else value
    return item if isinstance(item, int) else str(item)
