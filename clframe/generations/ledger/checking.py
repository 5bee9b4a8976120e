"""Proving a pool: every line, every hash, every file, every descent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from clframe.errors import DataError, OptionError
from clframe.generations.ledger import rules
from clframe.generations.ledger.log import Log, check_of, parsed
from clframe.generations.ledger.record import Record
from clframe.generations.ledger.shards import UNFINISHED, Shards


@final
@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong, and what to do about it.

    Attributes:
        kind: "log" (a line), "half" (of a stopped writer: nothing is lost), "missing", "edited", "descent" or "stray" (a file
            without a record).
        where: a file, or a line of the log.
        what: is wrong with it.
        remedy: one sentence.
    """

    kind: str
    where: str
    what: str
    remedy: str


def faults(log: Log, shards: Shards, tell: Callable[[int, int], object] | None = None) -> Iterator[Fault]:
    """Everything that is wrong: lines of the log first, then descent, shards in their order, and files without a record.

    Writers wait while the files are listed, not while they are read; what they append meanwhile is not looked at.

    Args:
        log: its file is read anew.
        shards: the files.
        tell: called with the shards looked at and their number.
    """
    with log.still() as file:
        stored, content = shards.stored(), file.read()
    records, wrong = _lines(log.path, content)
    yield from wrong
    yield from _descent(records)
    for i, record in enumerate(records):
        yield from _shard(record, shards)
        if tell is not None:
            tell(i + 1, len(records))
    known = {path for r in records for path in (shards.path(r.id), shards.rows_path(r.id))}
    yield from _strays([path for path in stored if path not in known], shards, whole=all(f.kind != "log" for f in wrong))


def _lines(log: Path, content: bytes) -> tuple[list[Record], list[Fault]]:
    """The records that can be read, and the lines that cannot or were changed."""
    *lines, rest = content.split(b"\n")
    restore = "Restore log.jsonl from a copy."
    records, found, before = dict[str, Record](), list[Fault](), ""
    for number, line in enumerate(lines, 1):
        where = f"{log}, line {number}"
        try:
            record, body, check = parsed(line, where)
        except DataError:
            found.append(Fault("log", where, "is not the record of a shard", restore))
            before = "?"
            continue
        if before != "?" and check_of(body, before) != check:
            found.append(Fault("log", where, "was changed after it was written, or a line before it was taken out", restore))
        if record.id in records:
            found.append(Fault("log", where, f"is a second record of {record.short}", restore))
        records.setdefault(record.id, record)
        before = check
    if rest:
        what = f"ends in half a line, {len(rest):,} bytes: a writer was stopped"
        found.append(Fault("half", str(log), what, "Nothing is lost: the next append repairs it."))
    return list(records.values()), found


def _descent(records: list[Record]) -> Iterator[Fault]:
    """Parents that are there, come first and fit the kind and the generation."""
    before: dict[str, Record] = {}
    for record in records:
        where = f"the record of {record.short}"
        missing = [p for p in record.parents if p not in before]
        for p in missing:
            what = f"has the parent {p[:12]}, of which there is no record before it"
            yield Fault("descent", where, what, "Restore log.jsonl from a copy, or append the rows to a new pool.")
        try:
            rules.check_descent(record.kind, record.parents, record.model, record.sampler)
            rules.check_filter(record.filter, record.rows)
            if not missing:
                rules.generation_of(record.kind, [before[p] for p in record.parents], record.generation)
        except OptionError as error:
            yield Fault("descent", where, f"breaks a rule: {error}", "Restore log.jsonl from a copy.")
        before[record.id] = record


def _shard(record: Record, shards: Shards) -> Iterator[Fault]:
    """The file of a shard, and of its rows."""
    path, rows = shards.path(record.id), shards.rows_path(record.id)
    if not path.exists():
        what = f"is missing: {record.rows:,} {record.kind} rows of generation {record.generation}"
        yield Fault("missing", str(path), what, "Restore it from a copy, or append its rows again.")
        return
    try:
        columns, hashes = shards.contents(record)
    except DataError as error:
        what, remedy = "has other bytes than its name says", "Restore it from a copy, or append its rows again."
        yield Fault("edited", str(path), what if "hash" in str(error) else str(error), remedy)
        return
    if (len(hashes), dict(columns), path.stat().st_size) != (record.rows, dict(record.columns), record.bytes):
        what = f"has {len(hashes):,} rows of {columns}; its record says {record.rows:,} of {dict(record.columns)}"
        yield Fault("descent", str(path), what, "Restore log.jsonl from a copy.")
    if rows.exists() and not np.array_equal(shards.hashes(record), hashes):
        yield Fault("edited", str(rows), "has other hashes than the rows", f"Delete it, and it is made again: rm {rows}")


def _strays(stored: list[Path], shards: Shards, whole: bool) -> Iterator[Fault]:
    """Files that belong to no record; where the log is not whole, theirs may be among the lines that are lost."""
    for path in stored:
        if path == shards.folder / UNFINISHED:
            what = "is half a shard: a writer was stopped"
            yield Fault("half", str(path), what, "Nothing is lost: the next append writes over it.")
        else:
            what = "has no record: a writer was stopped before it could write one, or the file was put there"
            remedy = f"Delete it, or append its rows again: rm {path}" if whole else "Restore log.jsonl from a copy first."
            yield Fault("stray", str(path), what, remedy)
