"""The pool under concurrent writers, writers that are killed, and files that are changed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clframe.errors import DataError
from clframe.generations import Ledger, Record
from clframe.generations.ledger.shards import UNFINISHED

MODEL = {"weights": "5f2c"}


def rows(seed: int, n: int = 4) -> dict[str, Any]:
    return {"x": np.random.default_rng(seed).normal(size=(n, 3))}


@pytest.fixture
def pool(tmp_path: Path) -> Ledger:
    pool = Ledger(tmp_path / "pool")
    real = pool.append(rows(0), kind="real")
    first = pool.append(rows(1), kind="synthetic", parents=[real.id], model=MODEL)
    pool.append(rows(2), kind="synthetic", parents=[real.id, first.id], model=MODEL)
    return pool


def forked(work: Callable[[], object]) -> int:
    """Do this in another process."""
    number = os.fork()
    if number == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return number


def four_writers_at_once(folder: Path) -> None:
    def work(writer: int) -> None:
        pool = Ledger(folder)
        for i in range(10):
            if i % 2:  # every second one descends from what this or another writer appended last
                pool.append(rows(100 * writer + i), kind="synthetic", parents=[pool.records()[-1].id], model=MODEL)
            else:  # all four append these, at about the same time
                pool.append(rows(10_000 + i), kind="real")

    numbers = [forked(lambda w=w: work(w)) for w in range(4)]  # type: ignore[misc]
    assert [os.waitpid(n, 0)[1] for n in numbers] == [0] * 4
    pool = Ledger(folder)
    found = pool.records()
    assert len(found) == 4 * 5 + 5 and sum(r.kind == "real" for r in found) == 5
    assert pool.fsck() == []


def killed_at_random_moments(folder: Path) -> None:
    told = folder.with_name("told")
    told.touch()
    Ledger(folder).append(rows(98, 50), kind="real")  # and all that is set up at the first time
    chance = random.Random(0)

    def work(writer: int) -> None:
        os.fsync = lambda number: None  # what is killed loses nothing that it wrote; more appends, and more moments
        pool, i = Ledger(folder), 0
        with open(told, "a", buffering=1) as file:
            while True:
                file.write(pool.append(rows(1000 * writer + i, 50), kind="real").id + "\n")
                i += 1

    for writer in range(15):
        number = forked(lambda w=writer: work(w))  # type: ignore[misc]
        before, until = told.stat().st_size, time.monotonic() + 20
        while writer % 3 and told.stat().st_size == before and time.monotonic() < until:
            time.sleep(0.002)  # two of three are at work for a while before
        time.sleep(0.04 * chance.random())
        os.kill(number, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(number, 0)[1])
        pool = Ledger(folder)
        assert {line for line in told.read_text().split("\n") if len(line) == 64} <= {r.id for r in pool.records()}
        assert all(len(pool.read(r.id)["x"]) == 50 for r in pool.records()[-2:])
    assert {fault.kind for fault in pool.fsck()} <= {"half", "stray"}
    pool.append(rows(99_999), kind="real")
    assert {fault.kind for fault in pool.fsck()} <= {"stray"} and len(pool) > 12


def killed_at_every_step(folder: Path) -> None:
    """Before and after every flush and every renaming."""
    for call in ("fsync", "replace"):
        for after in (False, True):
            _killed_at_steps(Ledger(folder.with_name(f"{call}-{after}")), call, after)


def _killed_at_steps(pool: Ledger, call: str, after: bool) -> None:
    for step in range(4):

        def work(step: int = step) -> None:
            true, count = getattr(os, call), iter(range(99))

            def killing(*given: Any) -> None:
                last = next(count) == step
                if after or not last:
                    true(*given)
                if last:
                    os.kill(os.getpid(), signal.SIGKILL)

            setattr(os, call, killing)
            pool.append(rows(step), kind="real")

        killed = os.WIFSIGNALED(os.waitpid(forked(work), 0)[1])
        assert killed == (step < {"fsync": 4, "replace": 1}[call])
        assert len(Ledger(pool.folder)) in (step, step + 1) and {f.kind for f in pool.fsck()} <= {"half", "stray"}
        pool.append(rows(step), kind="real")
        assert pool.fsck() == [] and len(pool) == step + 1


@pytest.mark.parametrize("work", [four_writers_at_once, killed_at_random_moments, killed_at_every_step], ids=lambda f: f.__name__)
def test_writers(tmp_path: Path, work: Callable[[Path], None]) -> None:
    """In a process without threads, which can fork."""
    words = [sys.executable, __file__, work.__name__, str(tmp_path / "pool")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_half_a_line_is_recognised_reported_and_repaired(pool: Ledger) -> None:
    log = pool.folder / "log.jsonl"
    whole = log.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    for cut in (start + 1, start + 100, len(whole) - 2, len(whole) - 1):
        log.write_bytes(whole[:cut])
        again = Ledger(pool.folder)
        assert len(again) == 2 and again.half_line() == cut - start
        half, stray, more = again.fsck()
        assert (
            half.kind == "half" and f"half a line, {cut - start} bytes" in half.what and "the next append repairs it" in half.remedy
        )
        assert stray.kind == more.kind == "stray"
        record = again.append(rows(2), kind="synthetic", parents=[r.id for r in again.records()], model=MODEL)
        assert again.fsck() == [] and Ledger(pool.folder).records()[-1] == record == again.records()[-1]
        assert log.read_bytes().count(b"\n") == 3


def test_a_reader_follows_a_writer(pool: Ledger) -> None:
    reader = Ledger(pool.folder)
    assert len(reader) == 3
    more = pool.append(rows(9), kind="real")
    assert reader.records()[-1] == more and reader.record(more.short) == more


def test_what_a_stopped_writer_left_is_written_over(pool: Ledger) -> None:
    (pool.folder / "shards" / UNFINISHED).write_bytes(b"PAR1 and no more")
    assert [f.kind for f in pool.fsck()] == ["half"]
    pool.append(rows(7), kind="real")
    assert pool.fsck() == []


def damage(pool: Ledger, records: list[Record]) -> Iterator[tuple[str, Path, bytes, str, str]]:
    """What is done to which file; the kind of the fault and words of it."""
    shard, log = pool.path(records[1].id), pool.folder / "log.jsonl"
    data, lines = shard.read_bytes(), log.read_bytes()
    yield "one byte", shard, data[:60] + bytes([data[60] ^ 1]) + data[61:], "edited", "other bytes than its name says"
    yield "cut short", shard, data[:-1], "edited", "other bytes than its name says"
    yield "gone", shard, b"", "missing", "4 synthetic rows of generation 1"
    hashes = pool._shards.rows_path(records[1].id)
    content = hashes.read_bytes()
    yield "row hashes", hashes, content[:-1] + bytes([content[-1] ^ 1]), "edited", "other hashes than the rows"
    other = shard.with_name(f"{'0' * 64}.parquet")
    yield "a file put there", other, data, "stray", "has no record"
    yield "marked real", log, lines.replace(b'"synthetic"', b'"real"', 1), "log", "was changed after it was written"
    yield "another licence", log, lines.replace(b'"licence":null', b'"licence":"cc"'), "log", "was changed after it was written"
    yield "a line taken out", log, b"\n".join(lines.split(b"\n")[1:]), "descent", "of which there is no record before it"
    yield "no record", log, b"{}\n" + lines, "log", "is not the record of a shard"
    yield "twice", log, lines + lines.split(b"\n")[2] + b"\n", "log", "is a second record"


def test_fsck_finds_every_damage_and_says_what_to_do(pool: Ledger) -> None:
    assert pool.fsck() == []
    for name, file, content, kind, words in list(damage(pool, pool.records())):
        before = file.read_bytes() if file.exists() else None
        file.write_bytes(content) if content else file.unlink()
        found = pool.fsck()
        assert any(f.kind == kind and words in f.what for f in found), (name, found)
        assert all(f.remedy.endswith(".") or "rm " in f.remedy for f in found)
        if kind == "log":
            assert all("rm " not in f.remedy for f in found), name
        file.unlink(missing_ok=True) if before is None else file.write_bytes(before)
    assert pool.fsck() == []


def test_a_shard_that_was_changed_is_not_read(pool: Ledger) -> None:
    record = pool.records()[0]
    path = pool.path(record.id)
    data = path.read_bytes()
    at = data.index(np.float64(rows(0)["x"][0, 0]).tobytes())
    path.write_bytes(data[:at] + np.float64(7).tobytes() + data[at + 8 :])
    with pytest.raises(DataError, match="the file was changed"):
        pool.read(record.id)
    assert pool.read(record.id, check=False)["x"][0, 0] == 7
    path.unlink()
    with pytest.raises(DataError, match="must be there"):
        pool.read(record.id)


def test_a_damaged_log_is_not_read(pool: Ledger) -> None:
    log = pool.folder / "log.jsonl"
    log.write_bytes(b"[]\n" + log.read_bytes())
    again = Ledger(pool.folder)
    for _ in range(2):
        with pytest.raises(DataError, match=r"line 1 must be the record of a shard; got b'\[\]'"):
            again.records()


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))


@pytest.mark.parametrize("harm", ["changed", "deleted"])
def test_appending_its_rows_again_repairs_a_shard(harm: str, tmp_path: Path) -> None:
    pool, rows = Ledger(tmp_path / "pool"), {"x": np.arange(12.0).reshape(6, 2)}
    record = pool.append(rows, kind="real")
    path = pool.path(record.id)
    if harm == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert pool.fsck()
    assert pool.append(rows, kind="real") == record
    assert pool.fsck() == [] and len(pool.records()) == 1 and np.array_equal(pool.read(record.id)["x"], rows["x"])
