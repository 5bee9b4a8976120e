"""The log of the pool: one line a record, only ever added to, under a lock. The log is the truth."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, final

from clframe.errors import DataError, RunError
from clframe.generations.ledger.record import Record, record_of

CHECK = 16
"""Letters of the check of a line."""
TAIL = len(',"check":""}') + CHECK


def line_of(record: Record, before: str) -> bytes:
    """A record as a line of JSON, with a check of it and of the check before: SHA-256(before + line), cut short."""
    body = json.dumps(record.as_dict(), sort_keys=True, separators=(",", ":"))
    return f'{body[:-1]},"check":"{check_of(body, before)}"}}\n'.encode()


def check_of(body: str, before: str) -> str:
    """The check of a line without its own."""
    return hashlib.sha256((before + body).encode()).hexdigest()[:CHECK]


def parsed(line: bytes, where: str) -> tuple[Record, str, str]:
    """The record of a line, the line without its check, and the check.

    Raises:
        DataError: it is not a record.
    """
    try:
        text = line.decode()
        found = json.loads(text)
        check = found.pop("check")
        return record_of(found), text[:-TAIL] + "}", check
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{where} must be the record of a shard; got {line[:40]!r}. Run clframe pool fsck, and restore log.jsonl from a copy."
        ) from error


@final
class Log:
    """Records in the order of appending, kept in step with the file.

    Args:
        path: the file.

    Attributes:
        records: what was read so far.
        place: position of each id among them.
        torn: bytes of half a line at the end of the file when it was last read: a writer is at work, or was stopped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._clear(0)

    def _clear(self, inode: int) -> None:
        self.records: list[Record] = []
        self.place: dict[str, int] = {}
        self.torn, self._read, self._check, self._inode = 0, 0, "", inode

    def refresh(self) -> None:
        """Read what was added since the last time.

        Raises:
            RunError: the file cannot be read.
            DataError: a line is not a record.
        """
        try:
            with open(self.path, "rb") as file:
                self._take(file)
        except OSError as error:
            raise RunError(f"{self.path} must be readable; got {error}. Name another pool.") from error

    def half_line(self) -> int:
        """Bytes of a half line that a stopped writer left at the end, told apart from a writer that is at work; 0 if none."""
        with self.still() as file:
            self._take(file)
        return self.torn

    @contextmanager
    def still(self) -> Iterator[IO[bytes]]:
        """No writer is at work for as long as the block lasts."""
        with open(self.path, "rb") as file:
            _lock(file, alone=False)
            yield file

    def _take(self, file: IO[bytes]) -> None:
        found = os.fstat(file.fileno())
        if found.st_ino != self._inode or found.st_size < self._read:
            self._clear(found.st_ino)
        if found.st_size == self._read:
            self.torn = 0
            return
        file.seek(self._read)
        data = file.read()
        whole = data.rfind(b"\n") + 1
        lines = enumerate(data[:whole].split(b"\n")[:-1], len(self.records) + 1)
        for record, _, check in [parsed(line, f"{self.path}, line {number}") for number, line in lines]:
            self._keep(record, check)
        self._read += whole
        self.torn = len(data) - whole

    def _keep(self, record: Record, check: str) -> None:
        self.place[record.id] = len(self.records)
        self.records.append(record)
        self._check = check

    @contextmanager
    def locked(self) -> Iterator[IO[bytes]]:
        """The only writer, for as long as the block lasts; all that was written before has been read.

        Raises:
            RunError: the file cannot be written.
        """
        try:
            file = open(self.path, "r+b", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise RunError(f"{self.path} must be writable; got {error}. Name another pool.") from error
        with file:
            _lock(file, alone=True)
            self._take(file)
            yield file

    def add(self, record: Record, file: IO[bytes]) -> None:
        """Write a line at the end, over half a line if there is one, and flush it to the disk.

        Args:
            record: of a shard that is in its place.
            file: from `locked`.

        Raises:
            OSError: no space; the half line is taken back.
        """
        line = line_of(record, self._check)
        file.truncate(self._read)
        file.seek(self._read)
        try:
            if file.write(line) != len(line):
                raise OSError("no space left for a line of the log")
            os.fsync(file.fileno())
        except OSError:
            file.truncate(self._read)
            raise
        self._read += len(line)
        self.torn = 0
        self._keep(record, line[-3 - CHECK : -3].decode())


def _lock(file: IO[bytes], alone: bool) -> None:
    """Wait until no other process writes, or, where alone, reads the end; given up when the file is closed."""
    try:
        import fcntl
    except ImportError:  # not a Unix system: no locks
        return
    fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
