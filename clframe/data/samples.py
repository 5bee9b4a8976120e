"""What is known of samples beside their inputs: labels, tasks, weights, further columns; checked once, here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from clframe.errors import DataError
from clframe.types import Ids

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Samples:
    """Labels and companions of N samples.

    Attributes:
        y: labels (N,), int64, in 0..C-1.
        class_names: one name per class.
        task: task label (N,), int64, or None.
        weight: sample weight (N,), float32, finite and not negative, or None.
        columns: further arrays (N,) by name, such as "experience".
    """

    y: Ids
    class_names: tuple[str, ...]
    task: Ids | None = None
    weight: npt.NDArray[np.float32] | None = None
    columns: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.y)

    def take(self, ids: Ids) -> Samples:
        """The samples with these ids, in this order."""
        return Samples(
            y=self.y[ids],
            class_names=self.class_names,
            task=None if self.task is None else self.task[ids],
            weight=None if self.weight is None else self.weight[ids],
            columns={name: column[ids] for name, column in self.columns.items()},
        )

    def parts(self) -> tuple[object, ...]:
        """Everything as plain pieces, to be hashed."""
        further = [piece for name in sorted(self.columns) for piece in (name, self.columns[name])]
        return (self.y, self.class_names, self.task, self.weight, *further)


def as_array(values: object) -> Array:
    """Whatever holds numbers or strings (torch, numpy, pandas, lists) as numpy."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DataError("arrays must have rows of one length; got rows of several. Pad or cut them first.") from error


def make_samples(
    size: int,
    y: object,
    *,
    class_names: Sequence[str] | None = None,
    task: object = None,
    weight: object = None,
    columns: Mapping[str, object] | None = None,
    name: str = "arrays",
) -> Samples:
    """Check the labels and companions of `size` samples and put them into their types.

    Raises:
        DataError: no samples; a length that is not `size`; a label, task or weight that breaks its rule.

    Example:
        >>> make_samples(3, ["cat", "ant", "cat"]).y
        array([1, 0, 1])
    """
    if size == 0:
        raise DataError(f"{name} must hold at least one sample; got 0. Check the file, the split and any filter before it.")
    (labels,), names = encode_labels([y], class_names, name=name)
    _check_length(name, "y", len(labels), size)
    tasks = None if task is None else _tasks(name, as_array(task), size)
    weights = None if weight is None else _weights(name, as_array(weight), size)
    further = {key: as_array(column) for key, column in (columns or {}).items()}
    for key, column in further.items():
        _check_length(name, f"column {key!r}", len(column), size)
    return Samples(labels, names, tasks, weights, further)


def encode_labels(
    parts: Sequence[object], class_names: Sequence[str] | None = None, *, name: str = "arrays", what: str = "label"
) -> tuple[tuple[Ids, ...], tuple[str, ...]]:
    """Map the labels of all parts to 0..C-1 in sorted order; integers that are 0..C-1 already stay as they are.

    With `class_names`, integers must lie in 0..len(class_names)-1 and strings must be among the names.

    Raises:
        DataError: a label that is missing, not an integer or string, or outside `class_names`.

    Example:
        >>> encode_labels([[10, 30, 20], [10]])
        ((array([0, 2, 1]), array([0])), ('10', '20', '30'))
        >>> encode_labels([["b", "a"]])
        ((array([1, 0]),), ('a', 'b'))
    """
    raw = [_plain_labels(as_array(part), name, what) for part in parts]
    if len({labels.dtype.kind for labels in raw}) > 1:
        raise DataError(f"{name}: {what}s must be of one kind in every part; got integers and strings. Convert one of them.")
    if class_names is not None:
        names = tuple(str(n) for n in class_names)
        return tuple(_against_names(labels, names, name, what) for labels in raw), names
    values = np.unique(np.concatenate(raw))
    if values.dtype.kind == "i" and np.array_equal(values, np.arange(len(values))):
        coded = [labels.astype(np.int64) for labels in raw]
    else:
        coded = [np.searchsorted(values, labels).astype(np.int64) for labels in raw]
    return tuple(coded), tuple(str(v) for v in values)


def _plain_labels(labels: Array, name: str, what: str) -> Array:
    """Labels (N,) or (N, 1) as an int64 or a string array."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"{name}: there must be one {what} per sample, shape (N,); got shape {labels.shape}. Use arg-max for one-hot."
        )
    if labels.dtype.kind in "iub":
        return labels.astype(np.int64)
    if labels.dtype.kind == "f":
        wrong = ~(np.isfinite(labels) & (labels == np.round(labels)))
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"{name}: a {what} must be an integer or a string; got {float(labels[row])} in row {row}. "
                "Turn the values into classes first."
            )
        return labels.astype(np.int64)
    for row, value in enumerate(labels):
        if not isinstance(value, str | int | np.integer) or (isinstance(value, str) and not value.strip()):
            raise DataError(f"{name}: a {what} must be an integer or a string; got {value!r} in row {row}. Fill or drop it.")
    integers = all(isinstance(value, int | np.integer) for value in labels)
    return labels.astype(np.int64) if integers else labels.astype(np.str_)


def _against_names(labels: Array, names: tuple[str, ...], name: str, what: str) -> Ids:
    """Integer labels checked against the names' range; string labels looked up among the names."""
    if labels.dtype.kind == "i":
        coded = labels
        wrong = (labels < 0) | (labels >= len(names))
    else:
        place = {n: i for i, n in enumerate(names)}
        coded = np.array([place.get(str(label), -1) for label in labels], dtype=np.int64)
        wrong = coded < 0
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{name}: a {what} must be in 0..{len(names) - 1} or one of the {len(names)} class_names; "
            f"got {labels[row].item()!r} in row {row}. Correct the {what} or give all class_names."
        )
    return coded.astype(np.int64)


def _check_length(name: str, what: str, found: int, size: int) -> None:
    if found != size:
        raise DataError(f"{name}: x and {what} must have the same length; got {size} and {found}. Give one entry per sample.")


def _tasks(name: str, task: Array, size: int) -> Ids:
    _check_length(name, "task", len(task), size)
    if task.dtype.kind not in "iu" or task.ndim != 1 or int(task.min()) < 0:
        raise DataError(f"{name}: task must hold integers from 0, shape (N,); got {task.dtype} {task.shape}. Number the tasks.")
    return task.astype(np.int64)


def _weights(name: str, weight: Array, size: int) -> npt.NDArray[np.float32]:
    _check_length(name, "weight", len(weight), size)
    if weight.dtype.kind not in "iufb" or weight.ndim != 1:
        raise DataError(f"{name}: weight must hold numbers, shape (N,); got {weight.dtype} {weight.shape}. Give one per sample.")
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{name}: a weight must be finite and at least 0; got {weight[row].item()} in row {row}. Correct it.")
    return weight.astype(np.float32)
