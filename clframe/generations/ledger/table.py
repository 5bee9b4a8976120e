"""A table as the pool stores it: the same content, given in any form, is the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from clframe.errors import DataError, bad_option

TOKENS = "tokens"
"""Column of which the tokens are counted."""


def arrow_table(given: Any) -> pa.Table:
    """The table in its one form: columns by name, one chunk each, arrays (n, d) and (n, h, w) as lists of fixed size.

    Args:
        given: a pyarrow.Table, a pandas frame, or a mapping of arrays (n,), (n, d), (n, h, w), ... of numbers, text or bytes.

    Raises:
        OptionError: another thing.
        DataError: no rows or no columns; columns of different lengths; values that are missing; a type that is not stored.

    Example:
        >>> arrow_table({"y": [1, 2], "x": np.zeros((2, 3), dtype=np.float32)}).schema
        x: fixed_size_list<item: float>[3]
          child 0, item: float
        y: int64
    """
    columns = _columns(given)
    if not columns:
        raise DataError("the table must have columns; got none. Give at least one column.")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {n:,}" for name, n in lengths.items())
        raise DataError(f"the columns must be of one length; got {told}. Give one value for every row.")
    if not next(iter(lengths.values())):
        raise DataError("the table must have rows; got none. Append nothing where there is nothing.")
    return pa.table({name: _canonical(name, columns[name]) for name in sorted(columns)})


def encoded(table: pa.Table) -> pa.Buffer:
    """The bytes of the Parquet file: a function of the content and of the version of pyarrow, without a time."""
    packed = {name: _compression(table.schema.field(name).type) for name in table.column_names}
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, use_dictionary=False, write_statistics=False, compression=_by_leaf(table, packed))
    return sink.getvalue()


def arrays(table: pa.Table) -> dict[str, npt.NDArray[Any]]:
    """Columns as arrays that may be written to: (n,), (n, d), ...; text, bytes and lists of several lengths as objects.

    Example:
        >>> arrays(arrow_table({"x": np.ones((2, 2, 2)), "t": ["a", "b"]}))["x"].shape
        (2, 2, 2)
    """
    found = {name: array_of(table.column(name).combine_chunks()) for name in table.column_names}
    return {name: values if values.flags.writeable else values.copy() for name, values in found.items()}


def array_of(column: pa.Array) -> npt.NDArray[Any]:
    """One column as an array that may be read only."""
    rows, shape = len(column), []
    while pa.types.is_fixed_size_list(column.type):
        shape.append(column.type.list_size)
        column = column.flatten()
    values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False).reshape(rows, *shape)
    return values


def types(table: pa.Table) -> dict[str, str]:
    """The type of each column in words.

    Example:
        >>> types(arrow_table({"x": np.ones((2, 28, 28), dtype=np.uint8), "t": ["a", "b"]}))
        {'t': 'string', 'x': 'uint8[28,28]'}
    """
    return {field.name: _words(field.type) for field in table.schema}


def tokens_of(table: pa.Table) -> int | None:
    """Tokens by a column "tokens": the sum of its numbers, or how many its lists hold; None without it.

    Example:
        >>> tokens_of(arrow_table({"tokens": [3, 4]})), tokens_of(arrow_table({"tokens": [[5, 6], [7]]}))
        (7, 3)
    """
    if TOKENS not in table.column_names:
        return None
    column = table.column(TOKENS).combine_chunks()
    if pa.types.is_integer(column.type):
        return int(np.asarray(column).sum())
    nested = False
    while pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        column, nested = column.flatten(), True
    return len(column) if nested else None


def _columns(given: Any) -> dict[str, pa.Array]:
    if type(given).__module__.partition(".")[0] == "pandas" and hasattr(given, "iloc"):
        given = _converted("the frame", lambda: pa.Table.from_pandas(given, preserve_index=False))
    if isinstance(given, pa.Table):
        if len(set(given.column_names)) < len(given.column_names):
            raise DataError(f"the columns must have different names; got {', '.join(given.column_names)}. Rename one.")
        return {name: given.column(name).combine_chunks() for name in given.column_names}
    if isinstance(given, Mapping):
        return {str(name): _from_values(str(name), value) for name, value in given.items()}
    raise bad_option("table", "a pyarrow.Table, a pandas frame or a mapping of arrays", type(given).__name__, "Give {'x': x}.")


def _from_values(name: str, value: Any) -> pa.Array:
    if isinstance(value, pa.Array | pa.ChunkedArray):
        return value.combine_chunks() if isinstance(value, pa.ChunkedArray) else value
    if isinstance(value, list | tuple):
        return _converted(f"column {name!r}", lambda: pa.array(value))
    array = np.asarray(value)
    if array.ndim == 0:
        raise DataError(f"column {name!r} must have one value for every row; got {value!r}. Give an array.")
    if array.dtype.kind not in "biuf":
        return _converted(f"column {name!r}", lambda: pa.array(array.tolist() if array.dtype.kind == "O" else array))
    if not array.size:
        return pa.array(np.zeros(0, array.dtype)) if not len(array) else _refuse_width(name)
    found = _converted(f"column {name!r}", lambda: pa.array(array.astype(array.dtype.newbyteorder("="), copy=False).reshape(-1)))
    for size in array.shape[:0:-1]:
        found = pa.FixedSizeListArray.from_arrays(found, size)
    return found


def _converted(where: str, make: Any) -> Any:
    try:
        return make()
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        told = " ".join(str(error).split())[:160].rstrip(".")
        raise DataError(f"{where} must hold numbers, text or bytes, or arrays of numbers; got: {told}. Convert it.") from error


def _canonical(name: str, column: pa.Array) -> pa.Array:
    """One form for what Arrow can say in several."""
    kind = column.type
    if column.null_count:
        row = int(np.flatnonzero(np.asarray(column.is_null()))[0])
        raise DataError(f"column {name!r} must have a value in every row; got none in row {row}. Leave such rows out.")
    if pa.types.is_dictionary(kind):
        return _canonical(name, column.dictionary_decode())
    if pa.types.is_fixed_size_list(kind):
        return _fixed(name, column.flatten(), kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = np.diff(np.asarray(column.offsets))
        if (lengths == lengths[0]).all():
            return _fixed(name, column.flatten(), int(lengths[0]))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), _canonical(name, column.flatten()))
    if pa.types.is_timestamp(kind) and kind.unit == "s":  # Parquet has no seconds
        return column.cast(pa.timestamp("ms", kind.tz))
    for of_kind, stored in _ALIKE.items():
        if of_kind(kind):
            return column.cast(stored)
    if any(of_kind(kind) for of_kind in _STORED):
        return column
    raise DataError(f"column {name!r} must hold numbers, text, bytes or times, or lists of them; got {kind}. Convert it first.")


def _fixed(name: str, values: pa.Array, size: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(_canonical(name, values), size) if size else _refuse_width(name)


def _refuse_width(name: str) -> Any:
    raise DataError(f"column {name!r} must have values in its rows; got arrays without any. Leave the column out.")


_ALIKE = {
    pa.types.is_large_string: pa.string(),
    pa.types.is_string_view: pa.string(),
    pa.types.is_large_binary: pa.binary(),
    pa.types.is_binary_view: pa.binary(),
    pa.types.is_fixed_size_binary: pa.binary(),
    pa.types.is_date64: pa.timestamp("ms"),
}
_TYPES = pa.types
_STORED = (
    *(_TYPES.is_integer, _TYPES.is_floating, _TYPES.is_boolean),
    *(_TYPES.is_string, _TYPES.is_binary, _TYPES.is_timestamp, _TYPES.is_date, _TYPES.is_duration),
)


def _words(kind: pa.DataType) -> str:
    shape = []
    while pa.types.is_fixed_size_list(kind):
        shape.append(str(kind.list_size))
        kind = kind.value_type
    inner = f"list of {_words(kind.value_type)}" if pa.types.is_list(kind) else str(kind)
    return f"{inner}[{','.join(shape)}]" if shape else inner


def _compression(kind: pa.DataType) -> str:
    """Floats hardly shrink; everything else does, at little cost."""
    while hasattr(kind, "value_type"):
        kind = kind.value_type
    return "none" if pa.types.is_floating(kind) else "snappy"


def _by_leaf(table: pa.Table, packed: dict[str, str]) -> dict[str, str]:
    """The same by the paths of Parquet's leaves."""
    found = {}
    for field in table.schema:
        path, kind = field.name, field.type
        while hasattr(kind, "value_type"):
            path, kind = f"{path}.list.element", kind.value_type
        found[path] = packed[field.name]
    return found
