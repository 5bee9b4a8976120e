"""Stop anywhere, go on, and nobody can tell."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

import clframe
from clframe.checkpoint import Checkpoint, Interrupted
from clframe.errors import RunError
from clframe.loop import walk

MEASURED = ["n", "trained", "evaluated", "correct", "total", "subset"]
STRATEGY = "er(size=40,memory=class-balanced)+lwf+ewc(strength=1,samples=16)"


def same(first: Path, second: Path) -> None:
    """Weights, state, rows and terms are equal bit for bit; only measured times differ."""
    one, two = (torch.load(p / "checkpoint.pt", weights_only=True) for p in (first, second))
    assert one["step"] == two["step"]
    compare(one["strategy"], two["strategy"])
    compare(one["rng"], two["rng"])
    for table in ("records", "terms", "classes"):
        a, b = (pd.read_parquet(p / f"{table}.parquet") for p in (first, second))
        pd.testing.assert_frame_equal(a.drop(columns="seconds", errors="ignore"), b.drop(columns="seconds", errors="ignore"))
    assert (first / "metrics.json").read_text() == (second / "metrics.json").read_text()


def compare(a: object, b: object, where: str = "") -> None:
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor)
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert isinstance(b, dict)
        assert list(a) == list(b), where
        for key in a:
            compare(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert isinstance(b, list | tuple)
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            compare(x, y, f"{where}/{i}")
    else:
        assert a == b, where


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    clframe.run("split-digits", STRATEGY, out=path, epochs=2, model="mlp(hidden=[32],dropout=0.2)", momentum=0.9)
    return path


@pytest.mark.parametrize("stop", [1, 17, 29, 58, 59, 100, 288])
def test_a_run_stopped_at_any_update_goes_on_exactly(
    stop: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Checkpoint.save

    def save_and_stop(self: Checkpoint, step: object) -> None:
        save(self, step)  # type: ignore[arg-type]
        if step[0] >= stop:  # type: ignore[index]
            raise Interrupted

    monkeypatch.setattr(Checkpoint, "save", save_and_stop)
    options = {"epochs": 2, "model": "mlp(hidden=[32],dropout=0.2)", "momentum": 0.9, "out": tmp_path / "run"}
    with pytest.raises(Interrupted):
        clframe.run("split-digits", STRATEGY, checkpoint_every=1, **options)  # type: ignore[arg-type]
    monkeypatch.undo()
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"][0] == stop
    result = clframe.run("split-digits", STRATEGY, **options)  # type: ignore[arg-type]
    assert result.finished
    same(whole, tmp_path / "run")


def test_hidden_boundaries_resume_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clframe.run("gaussian-digits", "er(size=40)", out=tmp_path / "whole")
    save = Checkpoint.save
    for stop in (10, 29, 100):

        def save_and_stop(self: Checkpoint, step: object, stop: int = stop) -> None:
            save(self, step)  # type: ignore[arg-type]
            if step[0] >= stop:  # type: ignore[index]
                raise Interrupted

        monkeypatch.setattr(Checkpoint, "save", save_and_stop)
        with pytest.raises(Interrupted):
            clframe.run("gaussian-digits", "er(size=40)", out=tmp_path / str(stop), checkpoint_every=1)
        monkeypatch.undo()
        clframe.run("gaussian-digits", "er(size=40)", out=tmp_path / str(stop))
        same(tmp_path / "whole", tmp_path / str(stop))


COMMAND = [
    *("run", "--scenario", "split-digits", "--strategy", STRATEGY, "--seeds", "1", "--jobs", "1", "--epochs", "2"),
    *("--model", "mlp(hidden=[32],dropout=0.2)", "--momentum", "0.9"),
]


def clframe_process(*arguments: str, group: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "clframe.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=group,
    )


def directory_of(out: Path) -> Path:
    return next(p.parent for p in out.rglob("spec.json"))


def test_a_process_killed_at_random_instants_gives_the_uninterrupted_run(whole: Path, tmp_path: Path) -> None:
    """SIGKILL a real process three times at random instants, then let it finish."""
    out, draw = tmp_path / "killed", random.Random(0)
    process = clframe_process(*COMMAND, "--checkpoint-every", "3", "--out", str(out))
    for _ in range(3):
        deadline = time.monotonic() + 60
        seen = {p: p.stat().st_mtime_ns for p in out.rglob("checkpoint.pt")}
        while process.poll() is None and time.monotonic() < deadline:
            if any(seen.get(p) != p.stat().st_mtime_ns for p in out.rglob("checkpoint.pt")):
                break
            time.sleep(0.005)
        time.sleep(draw.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        process = clframe_process("resume", str(out), "--jobs", "1")
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    same(whole, directory_of(out))


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_says_how_to_go_on_and_exits_with_its_code(stop: signal.Signals, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    process = clframe_process(*COMMAND, "--checkpoint-every", "1", "--out", str(out))
    while process.poll() is None and not list(out.rglob("checkpoint.pt")):
        time.sleep(0.01)
    process.send_signal(stop)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 128 + stop, errors
    assert f"clframe resume {out}" in errors
    assert "Traceback" not in errors
    assert not (directory_of(out) / "metrics.json").exists()
    process = clframe_process("resume", str(out))
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    same(whole, directory_of(out))


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_several_runs_at_a_time_all_save_and_go_on(stop: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C on a terminal reaches every process of the group; SIGTERM only the first one. Both stop all, and nothing is lost."""
    out = tmp_path / "many"
    command = ["run", "--strategy", "finetune,er(size=40),lwf", "--jobs", "2", "--epochs", "4", "--out", str(out)]
    process = clframe_process(*command, "--checkpoint-seconds", "1000", group=True)
    while process.poll() is None and not list(out.rglob("spec.json")):
        time.sleep(0.01)
    time.sleep(0.2)
    if stop == signal.SIGINT:
        os.killpg(process.pid, stop)
    else:
        process.send_signal(stop)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 128 + stop, errors
    assert "Traceback" not in errors
    begun = [p.parent for p in out.rglob("spec.json")]
    assert begun
    assert all((p / "checkpoint.pt").exists() for p in begun)
    process = clframe_process("resume", str(out), "--json")
    printed, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert {r["strategy"] for r in json.loads(printed)["runs"]} == {"finetune", "er(size=40)", "lwf"}
    whole = clframe.run("split-digits", "finetune", epochs=4, out=tmp_path / "whole")
    same(tmp_path / "whole", out / "finetune" / "seed-0")
    assert whole.finished


def test_a_finished_directory_is_reported_and_not_run_again(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clframe.experiment.walk", lambda *_: pytest.fail("it ran again"))
    result = clframe.run("split-digits", STRATEGY, out=whole, epochs=2, model="mlp(hidden=[32],dropout=0.2)", momentum=0.9)
    assert result.finished


def test_another_spec_in_the_directory_is_refused_and_changes_nothing(whole: Path) -> None:
    before = {p.name: p.read_bytes() for p in whole.iterdir() if p.is_file()}
    with pytest.raises(RunError, match=r"lr=0\.05, not 0\.1"):
        clframe.run("split-digits", STRATEGY, out=whole, epochs=2, model="mlp(hidden=[32],dropout=0.2)", momentum=0.9, lr=0.1)
    assert {p.name: p.read_bytes() for p in whole.iterdir() if p.is_file()} == before


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="must be empty or hold this run"):
        clframe.run("split-digits", "finetune", out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_checkpoint_is_a_sentence_and_stays(share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = Checkpoint.save

    def save_and_stop(self: Checkpoint, step: object) -> None:
        save(self, step)  # type: ignore[arg-type]
        raise Interrupted

    monkeypatch.setattr(Checkpoint, "save", save_and_stop)
    with pytest.raises(Interrupted):
        clframe.run("split-digits", "er", out=tmp_path / "r", checkpoint_every=20)
    monkeypatch.undo()
    file = tmp_path / "r" / "checkpoint.pt"
    content = file.read_bytes()[: int(file.stat().st_size * share)]
    file.write_bytes(content)
    with pytest.raises(RunError, match="must be a complete file"):
        clframe.run("split-digits", "er", out=tmp_path / "r")
    assert file.read_bytes() == content


def test_a_truncated_record_file_is_a_sentence_and_can_be_written_again(tmp_path: Path) -> None:
    path = tmp_path / "r"
    clframe.run("split-digits", "er", out=path, evaluate="boundaries")
    whole = (path / "records.parquet").read_bytes()
    (path / "records.parquet").write_bytes(whole[:200])
    with pytest.raises(RunError, match=r"records\.parquet.* must be a complete Parquet file"):
        clframe.load(path)
    (path / "metrics.json").unlink()
    result = clframe.run("split-digits", "er", out=path, evaluate="boundaries")
    assert result.finished
    assert len(clframe.load(path)[0].rows) == len(result.rows)


def test_a_full_disk_is_a_sentence_and_the_last_checkpoint_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write, count = tmp_path / "r", torch.save, [0]

    def full(state: object, file: object) -> None:
        count[0] += 1
        if count[0] == 3:
            raise OSError(28, "No space left on device")
        write(state, file)  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RunError, match="the disk is full"):
        clframe.run("split-digits", "er", out=path, checkpoint_every=10)
    monkeypatch.undo()
    assert torch.load(path / "checkpoint.pt", weights_only=True)["step"][0] == 20
    assert not [p for p in path.iterdir() if p.name.endswith(".tmp")]
    assert clframe.run("split-digits", "er", out=path).finished


def test_two_processes_in_one_directory_are_refused(tmp_path: Path) -> None:
    def inside(done: int, total: int) -> None:
        if done == 3:
            with pytest.raises(RunError, match="another process"):
                clframe.run("split-digits", "finetune", out=tmp_path / "r", evaluate="boundaries")

    clframe.run("split-digits", "finetune", out=tmp_path / "r", evaluate="boundaries", progress=inside)


def test_the_loop_is_short_enough_to_read_aloud() -> None:
    import inspect

    body = inspect.getsource(walk).split('"""')[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= 40
