"""The pool of generations: what an append costs over one hash and one write, and how long many shards take to list."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.measure import Pair, Row, alternate, cpu, quartiles, seconds
from benchmarks.setting import Setting
from clframe.cli.pool.graph import drawn, grouped
from clframe.generations import Ledger, Record
from clframe.generations.ledger.log import line_of
from clframe.generations.ledger.table import arrow_table, encoded

SHARDS = 10_000
LIMIT = 1.0
"""Seconds in which they must be listed."""
APPEND = 1.5
"""Floor: an append over making the Parquet file, one hash and one write."""


def rows(setting: Setting) -> Iterator[Row]:
    """Appends of three shapes, then the listing."""
    random = np.random.default_rng(0)
    wide = random.standard_normal((20_000, 128), dtype=np.float32)
    narrow, by_hand = random.standard_normal((20_000, 4)), "Parquet, SHA-256 and write"
    yield append(setting, wide).at_most("append of 20,000 x 128 floats to a pool", APPEND, by_hand)
    yield append(setting, wide, made=True).at_most("the same against a Parquet file already made", None, "SHA-256 and write")
    yield append(setting, narrow).at_most("append of 20,000 x 4 floats to a pool", None, by_hand)
    yield from listing(11 if setting.full else 5)


def append(setting: Setting, x: np.ndarray, made: bool = False) -> Pair:
    """One shard, flushed to the disk on both sides; each is another one, by its first number, unless the file by hand is made."""
    with tempfile.TemporaryDirectory(prefix="clframe-bench-") as folder:
        pool, number, other = Ledger(Path(folder) / "pool"), count(), count()
        first = pool.append({"x": x[:1] + 1}, kind="real")
        content = encoded(arrow_table({"x": x}))

        def ours(n: int) -> None:
            for _ in range(n):
                x[0, 0] = next(number)
                pool.append({"x": x}, kind="synthetic", parents=[first.id], model={"weights": "0"})

        def theirs(n: int) -> None:
            for _ in range(n):
                x[0, 0] = next(other)
                data = content if made else encoded(pa.table({"x": pa.FixedSizeListArray.from_arrays(x.reshape(-1), x.shape[1])}))
                with open(Path(folder) / hashlib.sha256(data).hexdigest(), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())

        return alternate(ours, theirs, 2, max(7, setting.blocks // 6))


def listing(times: int) -> Iterator[Row]:
    """A log of shards that accumulate, ten a generation, each with ten parents: read from the start, and drawn."""
    with tempfile.TemporaryDirectory(prefix="clframe-bench-") as folder:
        pool = Ledger(folder)
        names = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(SHARDS)]
        lines, check = [], ""
        for i, name in enumerate(names):
            old = tuple(names[i // 10 * 10 - 10 : i // 10 * 10]) if i >= 10 else ()
            told = {"parents": old, "model": {"weights": name[:32]}} if old else {}
            columns = {"embedding": "float[128]", "text": "string"}
            record = Record(name, "synthetic" if old else "real", i // 10, 1000, 512_000, None, columns, **told)
            lines.append(line_of(record, check))
            check = lines[-1][-19:-3].decode()
        (pool.folder / "log.jsonl").write_bytes(b"".join(lines))
        read = quartiles(cpu(lambda: Ledger(folder).records()) for _ in range(times))
        records = Ledger(folder).records()
        draw = quartiles(cpu(lambda: drawn(grouped(records))) for _ in range(3))
        size = sum(map(len, lines)) / 1e6
    what = f"listing a pool of {SHARDS:,} shards, a log of {size:.0f} MB"
    yield Row(what, seconds(read[1]), "", None, None, f"<= {seconds(LIMIT)}", read[1] <= LIMIT)
    yield Row(f"the graph of descent of {SHARDS:,} shards in text", seconds(draw[1]))
