"""Data sets in one `.npz` file: x_train, y_train, x_test, y_test, and class_names where known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clframe.data.arrays import from_arrays
from clframe.data.dataset import Dataset
from clframe.data.faults import reason
from clframe.data.samples import Array
from clframe.errors import DataError

KEYS = ("x_train", "y_train", "x_test", "y_test")


def from_npz(path: str | Path, *, name: str | None = None, standardise: bool | None = None, allow_missing: bool = False) -> Dataset:
    """A data set from an `.npz` file.

    Besides the four arrays, the file may hold class_names, task_train, task_test, weight_train, experience_train and
    experience_test.

    Args:
        path: the file, as `numpy.savez` writes it.
        name: a short name; by default the file's.
        standardise: to mean 0 and deviation 1 by the training part; None means uint8 yes, floats no.
        allow_missing: accept classes without training or test samples.

    Raises:
        DataError: no such file, a damaged one, a key that is missing, and whatever `from_arrays` refuses.
    """
    path = Path(path)
    arrays = _read(path)
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise DataError(f"{path}: the file must hold {', '.join(KEYS)}; got {found}. Add {', '.join(missing)}, with numpy.savez.")
    names = arrays.get("class_names")
    return from_arrays(
        *(arrays[key] for key in KEYS),
        name=name or path.stem,
        class_names=None if names is None else [str(n) for n in names],
        task=arrays.get("task_train"),
        task_test=arrays.get("task_test"),
        weight=arrays.get("weight_train"),
        columns=_experience(arrays, "train"),
        columns_test=_experience(arrays, "test"),
        standardise=standardise,
        allow_missing=allow_missing,
    )


def _experience(arrays: dict[str, Array], part: str) -> dict[str, object] | None:
    key = f"experience_{part}"
    return {"experience": arrays[key]} if key in arrays else None


def _read(path: Path) -> dict[str, Array]:
    """All arrays of the file."""
    if not path.is_file():
        raise DataError(f"{path}: must be an .npz file; got nothing at this path. Check the path.")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except Exception as error:
        raise DataError(
            f"{path}: must be a readable .npz file without pickles; got {reason(error)}. Write it with numpy.savez."
        ) from error
