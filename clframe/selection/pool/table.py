"""A pool in a `datasets.Dataset`: its Arrow table is read in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import numpy as np

from clframe.errors import DataError, unknown_name
from clframe.selection.pool.pool import Pool
from clframe.selection.pool.vectors import Floats, Rows

if TYPE_CHECKING:
    import datasets


def pool_of_dataset(
    dataset: datasets.Dataset, *, embedding: str = "embedding", ids: str | None = None, **columns: str | None
) -> Pool:
    """A pool of the rows of a `datasets.Dataset`.

    Args:
        dataset: map-style, with a column of embeddings; any transforms of it are left aside.
        embedding: that column: lists of numbers of one length.
        ids: column of the ids.
        columns: by what they are, their column: loss="loss", label="label".

    Raises:
        DataError: a missing column, or embeddings of several lengths.

    Example:
        >>> import datasets
        >>> made = datasets.Dataset.from_dict({"embedding": [[0.0, 1.0], [1.0, 1.0]], "fine_label": [4, 5]})
        >>> pool = pool_of_dataset(made, label="fine_label")
        >>> pool.n, pool.d, pool.column("label").tolist()
        (2, 2, [4, 5])
    """
    asked = {key: name for key, name in columns.items() if name is not None}
    for name in [embedding, *asked.values(), *([ids] if ids else [])]:
        if name not in dataset.column_names:
            raise DataError(str(unknown_name("column", name, dataset.column_names)))
    plain = dataset.with_format("numpy")
    taken = {key: np.asarray(plain.select_columns([name])[:][name]) for key, name in asked.items()}
    numbers = None if ids is None else np.asarray(plain.select_columns([ids])[:][ids])
    return Pool(ColumnOfDataset(dataset, embedding), numbers, taken, dataset.info.dataset_name or "dataset", asked)


@final
class ColumnOfDataset:
    """Embeddings in a column of a `datasets.Dataset`."""

    def __init__(self, dataset: datasets.Dataset, column: str) -> None:
        if not len(dataset):
            raise DataError("the data set must have rows; got none. Name another split.")
        self.column = column
        self._rows = dataset.select_columns([column]).with_format("numpy", dtype=np.float32)
        self._d = self._block(0, 1).shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return len(self._rows), self._d

    def read(self, start: int, stop: int) -> Floats:
        """Rows start to stop - 1, in order."""
        return self._block(start, stop)

    def take(self, rows: Rows) -> Floats:
        """Any rows, in the order asked for."""
        return self._as_matrix(self._rows[rows.tolist()][self.column]) if len(rows) else np.empty((0, self._d), dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        """The fingerprint of the data set, the column and the shape."""
        return {"source": f"datasets.Dataset {self._rows._fingerprint}", "column": self.column, "shape": list(self.shape)}

    def _block(self, start: int, stop: int) -> Floats:
        return self._as_matrix(self._rows[start:stop][self.column])

    def _as_matrix(self, values: Any) -> Floats:
        found = np.asarray(values)
        if found.dtype == object or found.ndim < 2 or found.dtype.kind not in "iufb":
            lengths = sorted({np.size(v) for v in found})[:3]
            rule = f"column {self.column!r} must hold lists of numbers of one length"
            raise DataError(f"{rule}; got lengths {lengths}. Embed all rows with one model.")
        return np.ascontiguousarray(found.reshape(len(found), -1), dtype=np.float32)
