"""Eight bytes for each row, so that a row can be looked for in every shard at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from clframe.generations.ledger.table import array_of

Hashes = npt.NDArray[np.uint64]
BLOCK = 1 << 15
"""Numbers that are converted at a time: they stay in the processor's cache."""


def row_hashes(table: pa.Table) -> Hashes:
    """XXH3 (64 bits) of the values of each row, columns by name (n,).

    The values count, not how they are stored: every float is hashed as float64 (-0 as 0), every integer and bool as int64. A row
    with another column, or one more, is another row. Different rows have the same hash with probability 2^-64.

    Args:
        table: as `arrow_table` makes it.

    Example:
        >>> one = row_hashes(pa.table({"x": pa.array([0.5, 0.25], pa.float32())}))
        >>> two = row_hashes(pa.table({"x": pa.array([0.25, 0.5, 7.0], pa.float64())}))
        >>> bool(one[0] == two[1]), bool(one[1] == two[0]), len(set(two.tolist()))
        (True, True, 3)

    Reference: Collet, "xxHash: extremely fast hash algorithm", XXH3, 2019.
    """
    columns = [array_of(table.column(name).combine_chunks()) for name in sorted(table.column_names)]
    numbers = [c.reshape(len(c), -1) for c in columns if c.dtype.kind != "O"]
    objects = [c for c in columns if c.dtype.kind == "O"]
    width = max(1, sum(c.shape[1] for c in numbers))
    step = max(1, BLOCK // width)
    found = [_block([c[i : i + step] for c in numbers], [c[i : i + step] for c in objects]) for i in range(0, len(table), step)]
    return np.concatenate(found)


def _block(numbers: list[npt.NDArray[Any]], objects: list[npt.NDArray[Any]]) -> Hashes:
    n = len((numbers or objects)[0])
    wide = [_wide(c).view(np.uint8) for c in numbers]
    width = sum(c.shape[1] for c in wide)
    flat = memoryview((wide[0] if len(wide) == 1 else np.concatenate(wide, axis=1)).reshape(-1).data if wide else b"")
    of = xxhash.xxh3_64_intdigest
    if not objects:
        return np.fromiter((of(flat[i : i + width]) for i in range(0, n * width, width)), np.uint64, n)
    rest = (b"".join(map(_counted, row)) for row in zip(*objects, strict=True))
    return np.fromiter((of(bytes(flat[i * width : (i + 1) * width]) + more) for i, more in enumerate(rest)), np.uint64, n)


def _wide(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """As contiguous 8-byte numbers."""
    if values.dtype.kind == "f":
        found: npt.NDArray[np.float64] = np.add(values, 0.0, dtype=np.float64, order="C")
        return found
    return np.ascontiguousarray(values if values.dtype.kind in "mM" else values.astype(np.int64, copy=False))


def _counted(value: Any) -> bytes:
    """Bytes of a text, of bytes, or of a list, behind their number."""
    if isinstance(value, str):
        raw = value.encode()
    elif isinstance(value, bytes):
        raw = value
    elif isinstance(value, np.ndarray) and value.dtype.kind != "O":
        raw = _wide(value).tobytes()
    elif isinstance(value, list | tuple | np.ndarray):
        raw = b"".join(map(_counted, value))
    else:
        raw = repr(value).encode()
    return len(raw).to_bytes(8, "little") + raw
