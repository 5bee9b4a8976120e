"""Write the samples of a coreset: the only step that copies data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clframe.errors import DataError
from clframe.selection.coreset import Coreset
from clframe.selection.pool.pool import data_files

if TYPE_CHECKING:
    import datasets

WEIGHT = "coreset_weight"


def materialize(coreset: Coreset, source: str | Path | Sequence[str | Path], out: str | Path) -> Path:
    """Write the chosen rows of a source, in the order of the pool, with their weights in a column "coreset_weight".

    Args:
        coreset: what was chosen.
        source: what the pool was made of: Parquet files, of which all columns are written, or `.npy` files; or others with the same
            rows in the same order, such as the images behind the embeddings.
        out: a `.parquet` file; for `.npy` a `.npy` file, whose weights are in the coreset's table. Row group by row group.

    Returns:
        The file, written whole or not at all.

    Raises:
        DataError: the source has another number of rows than the pool, other ids in these rows where the pool had ids, or another
            kind than the file to write.
    """
    files, target = data_files(source), Path(out)
    if target.suffix != files[0].suffix:
        raise DataError(f"{target} must end in {files[0].suffix}, as the source does; got {target.suffix or 'nothing'}. Rename it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    try:
        (_parquet if target.suffix == ".parquet" else _arrays)(coreset, files, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def as_dataset(coreset: Coreset, source: datasets.Dataset) -> datasets.Dataset:
    """The chosen rows of a `datasets.Dataset` with the same rows as the pool, and a column "coreset_weight".

    Raises:
        DataError: it has another number of rows.
    """
    _check(coreset, len(source), "the data set")
    return source.select(coreset.rows).flatten_indices().add_column(WEIGHT, coreset.weights)


def _parquet(coreset: Coreset, files: list[Path], part: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from clframe.selection.pool.parquet import opened

    _check(coreset, sum(opened(str(f)).metadata.num_rows for f in files), str(files[0]))
    writer, begin = None, 0
    named = None if np.array_equal(coreset.ids, coreset.rows) else {*opened(str(files[0])).schema_arrow.names}
    try:
        for file in files:
            source = opened(str(file))
            for group in range(source.num_row_groups):
                size = source.metadata.row_group(group).num_rows
                low, high = np.searchsorted(coreset.rows, [begin, begin + size])
                if low < high:
                    table = source.read_row_group(group).take(pa.array(coreset.rows[low:high] - begin))
                    if named is not None:
                        named &= {name for name in table.column_names if table[name].to_pylist() == coreset.ids[low:high].tolist()}
                    table = table.append_column(WEIGHT, pa.array(coreset.weights[low:high]))
                    writer = writer or pq.ParquetWriter(part, table.schema)
                    writer.write_table(table)
                begin += size
    finally:
        if writer is not None:
            writer.close()
    if named is not None and not named:
        first = coreset.ids[0].item() if hasattr(coreset.ids[0], "item") else coreset.ids[0]
        raise DataError(
            f"{files[0]} must have the ids of the coreset, such as {first!r}, in a column, in the same rows; got others. "
            "Name what the coreset was chosen from, in its order."
        )


def _arrays(coreset: Coreset, files: list[Path], part: Path) -> None:
    arrays: list[Any] = [np.load(f, mmap_mode="r", allow_pickle=False) for f in files]
    _check(coreset, sum(map(len, arrays)), str(files[0]))
    out = np.lib.format.open_memmap(part, mode="w+", dtype=arrays[0].dtype, shape=(len(coreset), *arrays[0].shape[1:]))
    begin = 0
    for array in arrays:
        low, high = np.searchsorted(coreset.rows, [begin, begin + len(array)])
        out[low:high] = array[coreset.rows[low:high] - begin]
        begin += len(array)
    out.flush()


def _check(coreset: Coreset, found: int, name: str) -> None:
    rows = coreset.manifest["pool"]["rows"]
    if found != rows:
        raise DataError(
            f"{name} must have the {rows:,} rows that the coreset was chosen from; got {found:,}. Name the same source."
        )
