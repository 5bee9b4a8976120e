"""A long job in pieces: the same on any executor, gone on with after it was killed, and nobody else's folder is touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clframe.cli.main import main
from clframe.errors import DataError, OptionError, RunError
from clframe.selection import engine as engines
from clframe.selection import engine_folder, load, open_pool, pool_of, select
from clframe.selection.clustering import KMeans, cluster
from clframe.selection.coreset import Coreset
from clframe.selection.engine import Engine, held

N = 150_000
CELLS = KMeans(k=12, points=10_000, trainer="lloyd", iterations=3)
"""Two parts that are trained on, three that are assigned."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows around twelve points, on disk in half precision."""
    random = np.random.default_rng(3)
    x = random.normal(scale=4, size=(12, 5))[random.integers(12, size=N)] + random.normal(size=(N, 5))
    path = tmp_path_factory.mktemp("pool") / "x.npy"
    np.save(path, x.astype(np.float16))
    return path


def chosen(file: Path, **options: Any) -> Coreset:
    def loss(rows: np.ndarray) -> np.ndarray:
        return np.load(file, mmap_mode="r")[rows].astype(float).var(1)

    return select(open_pool(file), 200, "sensitivity(pilot=50)", loss=loss, kmeans=CELLS, **options)


@pytest.fixture(scope="module")
def usual(file: Path) -> Coreset:
    return chosen(file)


def same(one: Coreset, two: Coreset) -> bool:
    cells = [{**c.manifest["clustering"], "kernel": ""} for c in (one, two)]
    arrays = [(c.rows, c.weights, c.choice.expected, c.choice.score) for c in (one, two)]
    return cells[0] == cells[1] and all(np.array_equal(a, b) for a, b in zip(*arrays, strict=True))


def test_three_processes_choose_the_same_and_leave_nothing(file: Path, usual: Coreset, tmp_path: Path) -> None:
    work = tmp_path / "work"
    found = chosen(file, jobs=3, work=work)
    assert same(found, usual) and (work / "job.json").exists()
    found.save(tmp_path / "out")
    assert not work.exists() and [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_ray_chooses_the_same(file: Path, usual: Coreset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'clframe[ray]'")
    home = tempfile.mkdtemp(prefix="ray-")
    monkeypatch.setenv("RAY_TMPDIR", home)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")])))
    try:
        assert same(chosen(file, executor="ray", work=tmp_path / "work"), usual)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_a_memory_map_an_array_and_a_file_give_the_same(file: Path, usual: Coreset) -> None:
    for x in (np.load(file), np.load(file, mmap_mode="r")):
        cells = cluster(pool_of(x), CELLS, 0)
        assert cells.cost == usual.manifest["clustering"]["cost"]


KILLED = """
import os, signal, sys
import numpy as np
from clframe.selection import engine_folder, open_pool, select
from clframe.selection.clustering import KMeans
replace, left = os.replace, int(sys.argv[3])
def last(*paths):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*paths)
engine_folder.os.replace = last
how = KMeans(k=12, points=10_000, trainer="lloyd", iterations=3)
select(open_pool(sys.argv[1]), 200, "stratified", kmeans=how, work=sys.argv[2])
"""


def test_killed_at_any_shard_and_begun_again_it_is_as_if_nothing_had_happened(
    file: Path, usual: Coreset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    kills = int(np.random.default_rng().integers(1, 20))  # any of them must do
    script = [sys.executable, "-c", KILLED, str(file), str(work), str(kills)]
    ended = subprocess.run(script, check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, (kills, ended.stderr)
    finished = {p.name for p in work.glob("*.npy")}
    written: list[str] = []
    store = engine_folder.store

    def counted(path: Path, array: np.ndarray) -> None:
        written.append(path.name)
        store(path, array)

    monkeypatch.setattr(engines, "store", counted)
    found = chosen(file, work=work)
    assert same(found, usual), kills
    assert not finished & set(written) and len(set(written)) == len(written), kills
    found.save(tmp_path / "out")
    assert not work.exists()


def test_ctrl_c_says_where_the_finished_work_is(file: Path, usual: Coreset, tmp_path: Path) -> None:
    def stop(what: str, done: int, whole: int) -> None:
        if what == "cells" and done < whole:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        chosen(file, work=tmp_path / "work", tell=stop)
    assert "the same command goes on from there" in raised.value.__notes__[0]
    assert len(list((tmp_path / "work").glob("assigned-*"))) == 1
    assert same(chosen(file, work=tmp_path / "work"), usual)


def test_a_folder_of_another_job_or_with_other_files_is_refused(tmp_path: Path) -> None:
    pool = pool_of(np.random.default_rng(0).normal(size=(300, 2)))
    work = tmp_path / "work"
    select(pool, 20, "stratified", k=5, work=work)
    for words in ({"k": 6}, {"k": 5, "seed": 1}):
        with pytest.raises(RunError, match="holds unfinished work of another one"):
            select(pool, 20, "stratified", work=work, **words)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="must be a new or an empty folder"):
        select(pool, 20, "stratified", k=5, work=tmp_path)
    engine_folder.discard(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    (work / "note.txt").write_text("mine")
    engine_folder.discard(work)
    assert [p.name for p in work.iterdir()] == ["note.txt"]


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    pool = pool_of(np.random.default_rng(0).normal(size=(300, 2)))
    select(pool, 20, "stratified", k=5, work=tmp_path / "work")
    (tmp_path / "work" / "assigned-000000.npy").write_bytes(b"half")
    with pytest.raises(RunError, match=r"must be a whole file; got .*Delete its folder"):
        select(pool, 20, "stratified", k=5, work=tmp_path / "work")


def piece(value: int) -> Callable[[engines.Check], np.ndarray]:
    def do(check: engines.Check) -> np.ndarray:
        check()
        if value < 0:
            raise DataError(f"value must be positive; got {value}. Mend it.")
        return np.full(2, value)

    return do


@pytest.mark.parametrize("kept", [True, False])
def test_pieces_come_in_order_and_an_error_stops_the_stage(kept: bool, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    engine = Engine(folder=tmp_path if kept else None, tell=lambda *words: told.append(words))
    found = engine.map("stage", [piece(v) for v in (3, 1, 2)], "stages", [5, 1, 1])
    assert [held(one).tolist() for one in found] == [[3, 3], [1, 1], [2, 2]]
    assert told == [("stages", 5, 7), ("stages", 6, 7), ("stages", 7, 7)]
    with pytest.raises(DataError, match="got -1"):
        engine.map("other", [piece(v) for v in (4, -1, 5)])
    assert sorted(p.name for p in tmp_path.glob("other*")) == (["other-000000.npy"] if kept else [])


def test_the_command_refuses_before_it_announces_and_goes_on_after_a_stop(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("few.npy", np.load(file)[:500])
    words = ["select", "few.npy", "--size", "50", "--out", "chosen"]
    for wrong, says in (
        (["--method", "unifrom"], "Did you mean 'uniform'"),
        (["--executor", "cloud"], "executor must be auto"),
        (["--jobs", "0"], "jobs must be a positive integer"),
        (["--kmeans", "trainer=super"], "trainer 'super' must have Euclidean cells"),
        (["--kmeans", "levls=2"], "Did you mean 'levels'"),
        (["--kmeans", "k=3", "--k", "4"], "k must be given once"),
    ):
        assert main([*words, *wrong]) == 2
        said = capsys.readouterr().err
        assert says in said and "500 rows of 5 numbers" not in said
    done = [*words, "--method", "stratified", "--kmeans", "k=5,levels=2,trainer=lloyd", "--jobs", "1"]
    assert main(done) == 0
    assert "500 rows of 5 numbers; with 5 cells" in capsys.readouterr().err
    assert load("chosen").manifest["clustering"]["trainer"] == "lloyd"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chosen", "few.npy"]


def test_cells_and_a_work_folder_do_not_go_together(tmp_path: Path) -> None:
    pool = pool_of(np.random.default_rng(0).normal(size=(300, 2)))
    with pytest.raises(OptionError, match="work must be left out where a clustering is given"):
        select(pool, 20, "stratified", clustering=cluster(pool, KMeans(k=5), 0), work=tmp_path / "work")
