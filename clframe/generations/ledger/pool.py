"""The pool: append a shard, look shards up, read them, follow their descent, prove them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from clframe.errors import OptionError, RunError, bad_option
from clframe.generations.ledger import descent, rules
from clframe.generations.ledger.checking import Fault, faults
from clframe.generations.ledger.log import Log
from clframe.generations.ledger.record import SHORT, Record, plain
from clframe.generations.ledger.row_hashes import Hashes, row_hashes
from clframe.generations.ledger.shards import Shards
from clframe.generations.ledger.table import arrow_table, encoded, tokens_of, types


@final
class Ledger:
    """An append-only pool of shards of rows, each named by the SHA-256 of its Parquet file, with a record of where it comes from.

    A folder: shards/ab/abcdef....parquet, the hashes of the rows beside each, and log.jsonl with one line a record. A shard is
    in the pool when its line is. Processes may append at the same time; one that is killed leaves nothing that hinders the next.
    Within a process every thread needs a Ledger of its own.

    Args:
        folder: of the pool; made if it is not there.
        create: whether to make it.

    Raises:
        RunError: the folder is not a pool, or cannot be written.

    Example:
        >>> import tempfile
        >>> pool = Ledger(tempfile.mkdtemp())
        >>> real = pool.append({"x": np.array([[1.0, 2.0], [3.0, 4.0]])}, kind="real", licence="cc0")
        >>> made = pool.append({"x": np.array([[1.5, 2.5]])}, kind="synthetic", parents=[real.id], model={"weights": "5f2c"})
        >>> made.generation, made.columns, len(pool), round(pool.real_share(), 3), round(pool.effective_generations(), 3)
        (1, {'x': 'double[2]'}, 2, 0.667, 1.8)
        >>> pool.read(made.id)["x"].tolist(), [r.kind for r in pool.ancestors(made.id)], pool.fsck()
        ([[1.5, 2.5]], ['real'], [])

    Reference: Gerstgrasser et al., "Is model collapse inevitable? Breaking the curse of recursion by accumulating real and
    synthetic data", 2024: the workflow whose shards are kept here.
    """

    def __init__(self, folder: str | Path, create: bool = True) -> None:
        self.folder = Path(folder)
        self._log, self._shards = Log(self.folder / "log.jsonl"), Shards(self.folder / "shards")
        self._synthetic: Hashes = np.zeros(0, np.uint64)
        self._seen = 0
        try:
            self._open(create)
        except OSError as error:
            raise RunError(f"{folder} must be a folder that can be read and written; got {error}. Name another pool.") from error

    def _open(self, create: bool) -> None:
        if self._log.path.is_file():
            return
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise RunError(f"{self.folder} must be a pool or an empty folder; got one without log.jsonl. Name another folder.")
        if not create:
            raise RunError(f"{self.folder} must be a pool; there is none. Begin one with clframe pool add {self.folder} FILE.")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._log.path.touch()
        self._shards.folder.mkdir(exist_ok=True)

    def __len__(self) -> int:
        return len(self.records())

    def append(
        self,
        table: Any,
        *,
        kind: str,
        generation: int | None = None,
        parents: Sequence[str] = (),
        model: Mapping[str, Any] | None = None,
        sampler: Mapping[str, Any] | None = None,
        filter: Mapping[str, Any] | None = None,
        licence: str | None = None,
        embedding_model: Any = None,
        cells: Any = None,
        losses: Any = None,
        tokens: int | None = None,
        shared_rows: bool = False,
    ) -> Record:
        """Add the rows of a table as one shard. The same rows with the same record again change nothing, or repair a damaged file.

        Args:
            table: a pyarrow.Table, a pandas frame, or a mapping of arrays (n,), (n, d), (n, h, w), ...
            kind: "real", "synthetic" (by a model; with parents and model) or "edited" (from rows of the parents).
            generation: 0 for real rows; above that of every parent otherwise, 1 + the largest by default.
            parents: ids, or the beginnings of ids, of the shards that the model was trained on, or that were edited.
            model, sampler, filter, licence, embedding_model, cells, losses: see `Record`; kept as they are.
            tokens: of all rows; by default by a column "tokens": the sum of its numbers, or how many its lists hold.
            shared_rows: let real rows be equal to synthetic ones, for data of few different rows. By default a real row that is in
                a synthetic shard, and in no real one, is taken for a synthetic row marked real.

        Returns:
            The record, once shard and record are on the disk.

        Raises:
            OptionError: what the rules of the kind forbid; a parent that is not there; content that is there with another record;
                synthetic rows marked real; filter counts that do not fit.
            DataError: a table without rows, or of a type that is not stored.
            RunError: the disk is full, or cannot be written.
        """
        rules.check_descent(kind, parents, model, sampler)
        self._log.refresh()
        above = {r.id: r for r in (self._found(p, "parents") for p in parents)}
        generation = rules.generation_of(kind, list(above.values()), generation)
        content = arrow_table(table)
        told: dict[str, Any] = {"model": model, "sampler": sampler, "filter": filter}
        told |= {"embedding_model": embedding_model, "cells": cells, "losses": losses}
        told = {name: plain(name, value) for name, value in told.items()}
        rules.check_filter(told["filter"], len(content))
        hashes, data = row_hashes(content), encoded(content)
        record = Record(
            id=hashlib.sha256(data).hexdigest(),
            kind=kind,
            generation=generation,
            rows=len(content),
            bytes=data.size,
            tokens=tokens_of(content) if tokens is None else int(tokens),
            columns=types(content),
            parents=tuple(above),
            licence=licence,
            created=datetime.now(UTC).isoformat(timespec="milliseconds"),
            **told,
        )
        with self._log.locked() as file:
            there = self._log.records[self._log.place[record.id]] if record.id in self._log.place else None
            if there is not None:
                rules.check_same(there, record)
                if self._shards.whole(there):
                    return there
            elif kind == "real" and not shared_rows:
                self._refuse_synthetic_rows(hashes)
            try:
                self._shards.write(record.id, data, hashes)
                if there is None:
                    self._log.add(record, file)
            except OSError as error:
                raise RunError(f"{self.folder} must have room for {data.size:,} bytes; got {error}. Nothing was added.") from error
        return there or record

    def records(self) -> list[Record]:
        """Of all shards, in the order of appending."""
        self._log.refresh()
        return list(self._log.records)

    def record(self, name: str) -> Record:
        """Of one shard, by its id or the beginning of it.

        Raises:
            OptionError: there is none, or there are several.
        """
        self._log.refresh()
        return self._found(name, "id")

    def read(self, name: str, columns: Sequence[str] | None = None, check: bool = True) -> dict[str, npt.NDArray[Any]]:
        """The rows of a shard: arrays (n,), (n, d), ... by column.

        Args:
            name: the id, or the beginning of it.
            columns: only these.
            check: prove the hash of the file first; without, only what is asked for is read.

        Raises:
            OptionError: no such shard or column.
            DataError: the file is missing, or was changed.
        """
        return self._shards.read(self.record(name), None if columns is None else list(columns), check)

    def row_hashes(self, name: str) -> Hashes:
        """Eight bytes for each row of a shard (n,), the same for equal rows: see `clframe.generations.ledger.row_hashes`."""
        return self._shards.hashes(self.record(name))

    def path(self, name: str) -> Path:
        """The Parquet file of a shard."""
        return self._shards.path(self.record(name).id)

    def rows(self, names: Iterable[str] | None = None) -> int:
        """Rows of these shards, or of all."""
        return sum(r.rows for r in self._of(names))

    def ancestors(self, name: str) -> list[Record]:
        """Everything that a shard comes from, oldest first."""
        return descent.ancestors(self._log.records, self.record(name).id)

    def descendants(self, name: str) -> list[Record]:
        """Everything that comes from a shard, oldest first."""
        return descent.descendants(self._log.records, self.record(name).id)

    def real_share(self, names: Iterable[str] | None = None) -> float:
        """Real rows over all rows, of these shards or of all."""
        return descent.real_share(self._of(names))

    def effective_generations(self, names: Iterable[str] | None = None) -> float:
        """1 / sum_g share_g² over the shares of rows by generation, of these shards or of all."""
        return descent.effective_generations(self._of(names))

    def fsck(self, tell: Callable[[int, int], object] | None = None) -> list[Fault]:
        """Everything that is wrong with the pool, and what to do; empty where every hash is proved.

        Args:
            tell: called with the shards looked at and their number.
        """
        return list(faults(self._log, self._shards, tell))

    def half_line(self) -> int:
        """Bytes of half a line that a stopped writer left at the end of the log, 0 if none; the next append repairs it."""
        return self._log.half_line()

    def _of(self, names: Iterable[str] | None) -> list[Record]:
        return self.records() if names is None else [self.record(name) for name in names]

    def _found(self, name: str, option: str) -> Record:
        at = self._log.place.get(name)
        fit = [self._log.records[at]] if at is not None else [r for r in self._log.records if name and r.id.startswith(name)]
        if not fit:
            raise bad_option(option, f"of a shard in {self.folder}", name, "See clframe pool log; parents are appended first.")
        if len(fit) > 1:
            raise bad_option(option, "the id of one shard", name, f"Give more letters: {', '.join(r.short for r in fit[:3])} fit.")
        return fit[0]

    def _refuse_synthetic_rows(self, hashes: Hashes) -> None:
        """One look at all synthetic rows; the rest only where something was found."""
        if self._seen > len(self._log.records):  # another log was put in its place
            self._synthetic, self._seen = np.zeros(0, np.uint64), 0
        fresh = [self._shards.hashes(r) for r in self._log.records[self._seen :] if r.kind == "synthetic"]
        self._synthetic, self._seen = _sorted(self._synthetic, fresh), len(self._log.records)
        if not _within(hashes, self._synthetic).any():
            return
        real = _sorted(np.zeros(0, np.uint64), [self._shards.hashes(r) for r in self._log.records if r.kind == "real"])
        marked = np.flatnonzero(_within(hashes, self._synthetic) & ~_within(hashes, real))
        if not len(marked):
            return
        row = int(marked[0])
        where = next(r for r in self._log.records if r.kind == "synthetic" and hashes[row] in self._shards.hashes(r))
        raise OptionError(
            f"real rows must not be in a synthetic shard; {len(marked):,} of {len(hashes):,} are, the first is row {row}, in "
            f"{where.id[:SHORT]}, generation {where.generation}. Leave them out, or append them as synthetic."
        )


def _sorted(old: Hashes, fresh: list[Hashes]) -> Hashes:
    return np.unique(np.concatenate([old, *fresh])) if fresh else old


def _within(hashes: Hashes, known: Hashes) -> npt.NDArray[np.bool_]:
    """Which of the hashes are among sorted ones (n,)."""
    if not len(known):
        return np.zeros(len(hashes), dtype=bool)
    found: npt.NDArray[np.bool_] = known[np.searchsorted(known, hashes).clip(max=len(known) - 1)] == hashes
    return found
