"""Arrays too large for memory: `.npy` files, of which only the rows asked for are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from clframe.data.arrays import channels_first, check_finite
from clframe.data.dataset import Dataset
from clframe.data.faults import reason
from clframe.data.hashing import spaced
from clframe.data.lazy import SAMPLED_ROWS, lazy_dataset
from clframe.data.samples import Array, encode_labels, make_samples
from clframe.errors import DataError, bad_option
from clframe.types import Ids


@final
class MemmapRows:
    """Rows of a `.npy` file, opened when first read and again in another process.

    Args:
        path: the file, as `numpy.save` or `numpy.lib.format.open_memmap` writes it.

    Raises:
        DataError: no such file, a damaged one, no rows, not numbers, or a value that is not finite in 1,000 spaced rows.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: Array | None = None
        file = self._open()
        if file.ndim < 2 or len(file) == 0 or file.dtype.kind not in "iufb":
            raise DataError(
                f"{path}: the array must hold numbers of shape (N, ...), N > 0; got {file.dtype} {file.shape}. "
                "Save one row per sample."
            )
        self.shape = (len(file), *channels_first(file[:1]).shape[1:])
        if file.dtype.kind == "f":
            for row in spaced(len(file), SAMPLED_ROWS):
                check_finite(file[row : row + 1], f"{path}, row {row}")

    def _open(self) -> Array:
        if self._file is None:
            try:
                self._file = np.load(self.path, mmap_mode="r", allow_pickle=False)
            except Exception as error:
                raise DataError(
                    f"{self.path}: must be a readable .npy file; got {reason(error)}. Write it with numpy.save."
                ) from error
        return self._file

    def read(self, ids: Ids) -> Array:
        """The rows with these ids, read in the order of the file."""
        order = np.argsort(ids, kind="stable")
        rows = np.asarray(self._open()[ids[order]])
        rows = channels_first(rows if rows.dtype == np.uint8 else rows.astype(np.float32))
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return rows[back]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}


def from_memmap(
    x: str | Path,
    y: object,
    x_test: str | Path | None = None,
    y_test: object = None,
    *,
    name: str | None = None,
    class_names: Sequence[str] | None = None,
    task: object = None,
    task_test: object = None,
    weight: object = None,
    columns: Mapping[str, object] | None = None,
    columns_test: Mapping[str, object] | None = None,
    standardise: bool | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    allow_missing: bool = False,
) -> Dataset:
    """A data set whose inputs stay in `.npy` files.

    Args:
        x: file of the training inputs (N, ...): uint8 images or numbers, as `TensorSource` takes them.
        y: training labels (N,), or the `.npy` file that holds them.
        x_test: file of the test inputs; without it a stratified `test_fraction` is set apart as a view.
        y_test: test labels, or their file.
        name: a short name; by default the file's.

    The other arguments are those of `from_arrays`; mean and standard deviation come from 5,000 evenly spaced training rows.

    Raises:
        DataError: a file that is missing or damaged, and whatever `from_arrays` refuses.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/x.npy", np.eye(10, dtype=np.float32))
        ...     data = from_memmap(f"{folder}/x.npy", [0, 1] * 5)
        >>> len(data.train), data.train.input_shape
        (8, (10,))
    """
    if (x_test is None) != (y_test is None):
        raise bad_option("x_test", "given together with y_test", x_test, "Give both or none.")
    name = name or Path(x).stem
    tests = () if x_test is None else (x_test,)
    labels = [_labels(y)] + ([] if y_test is None else [_labels(y_test)])
    coded, names = encode_labels(labels, class_names, name=name)
    rows = [MemmapRows(path) for path in (x, *tests)]
    companions = [(task, weight, columns), (task_test, None, columns_test)]
    parts = []
    for part, own, (tasks, weights, further) in zip(rows, coded, companions, strict=False):
        size = part.shape[0]
        parts.append((part, make_samples(size, own, class_names=names, task=tasks, weight=weights, columns=further, name=name)))
    return lazy_dataset(
        name,
        parts,
        standardise=standardise,
        mean=mean,
        std=std,
        test_fraction=test_fraction,
        seed=seed,
        allow_missing=allow_missing,
    )


def _labels(y: object) -> object:
    if not isinstance(y, str | Path):
        return y
    try:
        return np.load(y, allow_pickle=False)
    except Exception as error:
        raise DataError(f"{y}: must be a readable .npy file of labels; got {reason(error)}. Write it with numpy.save.") from error
