"""A number for each row of a pool, in files of which only what is asked for is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from clframe.errors import RunError


@final
class InFiles:
    """One field of the records in some `.npy` files, one file after another; read by plain reads when it is indexed.

    Memory: what is asked for. `numpy.asarray` reads all of it.

    Args:
        files: records with this field, in the order of the rows.
        field: its name.
        step: rows in each file but the last.
        n: rows in all.
        owner: anything that holds the files for as long as this lives.

    Example:
        >>> from tempfile import mkdtemp
        >>> place = Path(mkdtemp())
        >>> for i in range(2):
        ...     np.save(place / f"{i}.npy", np.array([(2 * i, 0.5), (2 * i + 1, 1.5)], dtype=[("cell", "<i4"), ("far", "<f4")]))
        >>> cell = InFiles([place / "0.npy", place / "1.npy"], "cell", step=2, n=4)
        >>> len(cell), cell[1:3].tolist(), cell[np.array([3, 0])].tolist(), np.asarray(cell).tolist()
        (4, [1, 2], [3, 0], [0, 1, 2, 3])
    """

    def __init__(self, files: Sequence[Path], field: str, step: int, n: int, owner: object = None) -> None:
        self._files, self._field, self._step, self._n, self._owner = list(files), field, step, n, owner

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, which: slice | npt.NDArray[Any]) -> npt.NDArray[Any]:
        if isinstance(which, slice):
            start, stop, step = which.indices(self._n)
            assert step == 1
            parts = [self._part(i, start, stop) for i in range(start // self._step, -(-stop // self._step))]
            return np.concatenate(parts) if parts else self._part(0, 0, 0)
        file = which // self._step
        found = np.empty(len(which), dtype=self._part(0, 0, 0).dtype)
        for i in np.unique(file).tolist():
            here = file == i
            found[here] = self[i * self._step : (i + 1) * self._step][which[here] - i * self._step]
        return found

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("what is in files is copied when it is read")
        found = self[:]
        return found if dtype is None else found.astype(dtype)

    def _part(self, i: int, start: int, stop: int) -> npt.NDArray[Any]:
        """What file i has of rows start to stop - 1."""
        begin = i * self._step
        first = max(0, start - begin)
        count = max(0, min(stop - begin, self._step) - first)
        return records(self._files[i], first, count)[self._field].copy()


def records(path: Path, start: int, count: int) -> npt.NDArray[Any]:
    """Some records of a `.npy` file.

    Raises:
        RunError: they are not there.
    """
    try:
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            _, _, dtype = np.lib.format.read_array_header_1_0(file)
            file.seek(start * dtype.itemsize, 1)
            found = np.fromfile(file, dtype=dtype, count=count)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} must be a whole file; got {error}. Make the cells again.") from error
    if len(found) < count:
        raise RunError(f"{path} must have {start + count:,} rows; got {start + len(found):,}. Make the cells again.")
    return found
