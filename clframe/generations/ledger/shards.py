"""Shards on the disk: POOL/shards/ab/abcdef....parquet, each whole or not there, and the hashes of its rows beside it."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from clframe.errors import DataError, unknown_name
from clframe.generations.ledger.record import Record
from clframe.generations.ledger.row_hashes import Hashes, row_hashes
from clframe.generations.ledger.table import arrays, types

UNFINISHED = "unfinished.parquet"
"""What is being written: one at a time, under the lock of the log. What a stopped writer left is written over by the next."""


@final
class Shards:
    """The files of the shards.

    Args:
        folder: POOL/shards.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Where the shard with this id is."""
        return self.folder / name[:2] / f"{name}.parquet"

    def rows_path(self, name: str) -> Path:
        """Where the hashes of its rows are, an array (n,) of uint64."""
        return self.folder / name[:2] / f"{name}.rows.npy"

    def write(self, name: str, content: pa.Buffer, hashes: Hashes) -> None:
        """Put a shard in its place, flushed to the disk. To be called by one writer at a time.

        Raises:
            OSError: no space, or no permission; nothing is left.
        """
        target, part = self.path(name), self.folder / UNFINISHED
        fresh = not target.parent.exists()
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(part, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            with open(self.rows_path(name), "wb") as file:
                np.save(file, hashes)
            os.replace(part, target)
            _flush(target.parent)
            if fresh:
                _flush(self.folder)
        except OSError:
            for left in (part, target, self.rows_path(name)):
                with suppress(OSError):
                    left.unlink()
            raise

    def content(self, record: Record) -> bytes:
        """The bytes of a shard, with the hash that its record says.

        Raises:
            DataError: the file is missing or was changed.
        """
        path = self.path(record.id)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} must be there; got {error}. Restore it from a copy, or append its rows again.") from error
        found = hashlib.sha256(content).hexdigest()
        if found != record.id:
            raise DataError(
                f"{path} must have the hash that it is named by; got {found[:12]}, {len(content):,} bytes of {record.bytes:,}: the "
                "file was changed. Restore it from a copy, or append its rows again."
            )
        return content

    def whole(self, record: Record) -> bool:
        """Whether the file is there, as it was written."""
        try:
            self.content(record)
        except DataError:
            return False
        return True

    def read(self, record: Record, columns: list[str] | None, check: bool) -> dict[str, npt.NDArray[Any]]:
        """Columns of a shard as arrays.

        Raises:
            OptionError: it has no such column.
            DataError: the file is missing, was changed (where this is checked), or cannot be read.
        """
        for name in columns or ():
            if name not in record.columns:
                raise unknown_name("column", name, record.columns)
        path = self.path(record.id)
        source = pa.BufferReader(self.content(record)) if check else str(path)
        try:
            with pq.ParquetFile(source) as file:
                return arrays(file.read(columns=columns))
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{path} must be a readable Parquet file; got {error}. Run clframe pool fsck.") from error

    def hashes(self, record: Record) -> Hashes:
        """The hashes of the rows (n,); where their file is missing or half written, it is made again from the shard.

        Raises:
            DataError: neither can be read.
        """
        with suppress(OSError, ValueError, EOFError):
            found: Hashes = np.load(self.rows_path(record.id), allow_pickle=False)
            if found.shape == (record.rows,) and found.dtype == np.uint64:
                return found
        found = self.contents(record)[1]
        with suppress(OSError):
            np.save(self.rows_path(record.id), found)
        return found

    def contents(self, record: Record) -> tuple[dict[str, str], Hashes]:
        """Types of the columns and hashes of the rows, from the shard itself.

        Raises:
            DataError: the file is missing or was changed.
        """
        table = pq.read_table(pa.BufferReader(self.content(record)))
        return types(table), row_hashes(table)

    def stored(self) -> list[Path]:
        """All files, in order."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


def _flush(folder: Path) -> None:
    """Make names in a folder durable."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
