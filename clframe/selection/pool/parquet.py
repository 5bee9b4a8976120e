"""Embeddings and columns in Parquet files, read by row groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clframe.errors import DataError, unknown_name
from clframe.selection.pool.vectors import Floats, Rows


@final
class Parquet:
    """A column of lists of numbers, all of one length, in one or more Parquet files.

    Args:
        paths: the files, in the order of their rows.
        column: of the embeddings.

    Raises:
        DataError: no such file or a damaged one; no such column; values that are not lists of numbers of one length.
    """

    def __init__(self, paths: Sequence[Path], column: str) -> None:
        self._paths, self.column = [str(p) for p in paths], column
        self._groups: list[tuple[int, int, int]] = []  # file, row group, rows
        for i, path in enumerate(self._paths):
            _check_column(path, column)
            meta = opened(path).metadata
            self._groups += [(i, g, meta.row_group(g).num_rows) for g in range(meta.num_row_groups)]
        self._starts = np.cumsum([0, *(rows for *_, rows in self._groups)])
        if not self._starts[-1]:
            raise DataError(f"{self._paths[0]} must have rows; got none. Name another file.")
        self._kept: tuple[int, Floats] | None = None
        self._d = self._group(0).shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return int(self._starts[-1]), self._d

    def read(self, start: int, stop: int) -> Floats:
        """Rows start to stop - 1, in order."""
        parts = []
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        for g in range(first, len(self._groups)):
            begin = int(self._starts[g])
            if begin >= stop:
                break
            parts.append(self._group(g)[max(0, start - begin) : stop - begin])
        return np.concatenate(parts) if parts else np.empty((0, self.shape[1]), dtype=np.float32)

    def take(self, rows: Rows) -> Floats:
        """Any rows, in the order asked for; each row group is read once."""
        out = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        group = np.searchsorted(self._starts, rows, side="right") - 1
        for g in np.unique(group).tolist():
            here = group == g
            out[here] = self._group(g)[rows[here] - int(self._starts[g])]
        return out

    def describe(self) -> dict[str, Any]:
        """The files, the column and the shape."""
        names = [Path(p).name for p in self._paths]
        return {"source": names if len(names) > 1 else names[0], "column": self.column, "shape": list(self.shape)}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    def _group(self, g: int) -> Floats:
        """The embeddings of one row group; the last one is kept."""
        if self._kept is None or self._kept[0] != g:
            i, group, rows = self._groups[g]
            path = self._paths[i]
            column = opened(path).read_row_group(group, columns=[self.column]).column(0).combine_chunks()
            values = _matrix(column, rows, f"{path}, column {self.column!r}")
            if g and values.shape[1] != self._d:
                raise DataError(f"{path}: all embeddings must have {self._d} numbers; got {values.shape[1]}. Embed them anew.")
            self._kept = g, values
        return self._kept[1]


def _matrix(column: pa.Array, rows: int, where: str) -> Floats:
    if column.null_count:
        row = int(np.flatnonzero(np.asarray(column.is_null()))[0])
        raise DataError(f"{where} must have an embedding in every row; got none in row {row} of a row group. Leave such rows out.")
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type)):
        raise DataError(f"{where} must hold lists of numbers; got {column.type}. Name the column of the embeddings.")
    flat = column.flatten()
    lengths = np.diff(np.asarray(column.offsets)) if hasattr(column, "offsets") else np.full(rows, len(flat) // max(1, rows))
    if len(np.unique(lengths)) != 1 or flat.null_count:
        found = ", ".join(str(v) for v in np.unique(lengths)[:3])
        raise DataError(f"{where} must hold lists of one length, without gaps; got lengths {found}. Embed all rows with one model.")
    return np.ascontiguousarray(flat.to_numpy(zero_copy_only=False).reshape(rows, -1), dtype=np.float32)


def parquet_column(paths: Sequence[Path], name: str) -> Any:
    """One column of plain values from all files (n,).

    Raises:
        DataError: no such column, or a value that is missing.
    """
    parts = []
    for path in paths:
        _check_column(str(path), name)
        column = opened(str(path)).read(columns=[name]).column(0)
        if column.null_count:
            row = int(np.flatnonzero(np.asarray(column.combine_chunks().is_null()))[0])
            raise DataError(f"{path}, column {name!r} must have a value in every row; got none in row {row}. Leave such rows out.")
        parts.append(column.to_numpy())
    values = np.concatenate(parts)
    return values.astype(np.str_) if values.dtype.kind == "O" else values


def opened(path: str) -> pq.ParquetFile:
    """A Parquet file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(
            f"{path} must be a readable Parquet file; got {str(error).splitlines()[0].rstrip('.')}. Write it anew."
        ) from error


def _check_column(path: str, name: str) -> None:
    names = opened(path).schema_arrow.names
    if name not in names:
        error = unknown_name("column", name, names)
        raise DataError(f"{path}: {error}")
