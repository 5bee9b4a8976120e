"""Dashboards: what was logged, read back from the files and stores of TensorBoard, MLflow and W&B."""

from __future__ import annotations

import json
import struct
import time
import warnings
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clframe
from clframe.bridges import extra
from clframe.checkpoint import Interrupted
from clframe.cli.main import main
from clframe.errors import MissingExtraError, OptionError, RunError
from clframe.eval import follower
from clframe.eval.boards import KEPT, rows_of, values
from clframe.eval.result import Result

SCENARIO = "split-digits(experiences=2)"
OPTIONS: dict[str, Any] = {"evaluate": "every(k=10)", "report": False, "model": "mlp(hidden=[20])"}


def run(out: Path | None = None, strategy: str = "er(size=50)", **options: Any) -> Result:
    return clframe.run(SCENARIO, strategy, out=out, **{**OPTIONS, **options})


def expected(result: Result) -> dict[str, dict[int, float]]:
    """By name and update, from the tables of the result."""
    rows = result.rows
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for n, evaluated, subset, accuracy in zip(rows.n, rows.evaluated, rows.subset, rows.correct / rows.total):
        found[f"{'accuracy_full' if subset == 'full' else 'accuracy'}/experience_{evaluated}"][n] = accuracy
    for n, term, value in result.terms.itertuples(index=False):
        found[f"loss/{term}"][n] = value
    return dict(found)


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard would draw."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        read = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        read.Reload()
    tags = read.Tags()["scalars"]
    events = {tag: read.Scalars(tag) for tag in tags}
    assert all(len({e.step for e in found}) == len(found) for found in events.values()), "a step twice"
    return {tag: {e.step: e.value for e in found} for tag, found in events.items()}


def same(found: dict[str, dict[int, float]], wanted: dict[str, dict[int, float]]) -> None:
    for tag, points in wanted.items():
        assert found[tag].keys() == points.keys(), tag
        np.testing.assert_allclose([found[tag][n] for n in points], list(points.values()), rtol=1e-6, err_msg=tag)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after every update."""
    monkeypatch.setattr(follower, "SECONDS", 0.0)


@pytest.mark.usefixtures("eager")
def test_event_files_hold_every_measurement_of_a_run_that_went_on(tmp_path: Path) -> None:
    result = run(tmp_path / "live", log="tensorboard")
    found = scalars(tmp_path / "live" / "tensorboard")
    same(found, expected(result))
    ends = result.curves.ends
    at_end = result.rows[(result.rows.n == ends[0]) & (result.rows.subset == "full")]
    seen = (at_end.correct / at_end.total)[at_end.evaluated == 0].mean()
    assert found["accuracy_full/seen"][ends[0]] == pytest.approx(seen)
    assert found["metrics/acc"][ends[-1]] == pytest.approx(result.metrics.acc)


@pytest.mark.usefixtures("eager")
def test_logging_changes_nothing(tmp_path: Path) -> None:
    without, logged = run(), run(tmp_path, log="tensorboard")
    assert without.rows.drop(columns="seconds").equals(logged.rows.drop(columns="seconds"))
    assert without.terms.equals(logged.terms)
    assert without.spec["identity"] == logged.spec["identity"]


@pytest.mark.usefixtures("eager")
def test_a_stopped_run_goes_on_in_the_same_files(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path, log="tensorboard", progress=lambda n, total: n == 60, checkpoint_every=1000)
    part = scalars(tmp_path / "tensorboard")
    assert 40 < max(part["loss/ce"]) < 60
    result = run(tmp_path)  # not asked for again: the run remembers its dashboards
    same(scalars(tmp_path / "tensorboard"), expected(result))


def test_a_run_that_has_been_is_sent_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(tmp_path / "runs" / "a")
    assert main(["log", str(tmp_path / "runs"), "--to", "tensorboard"]) == 0
    files = sorted((tmp_path / "runs" / "a" / "tensorboard").iterdir())
    same(scalars(tmp_path / "runs" / "a" / "tensorboard"), expected(result))
    assert "er(size=50), seed 0" in capsys.readouterr().out
    assert json.loads((tmp_path / "runs" / "a" / KEPT).read_text()) == {"tensorboard": int(result.updates[-1])}
    size = sum(f.stat().st_size for f in files)
    run(tmp_path / "runs" / "a", log="tensorboard")
    same(scalars(tmp_path / "runs" / "a" / "tensorboard"), expected(result))
    grown = sum(f.stat().st_size for f in (tmp_path / "runs" / "a" / "tensorboard").iterdir()) - size
    assert grown < 1000, "only an empty file more"


def test_a_result_without_a_directory_needs_a_folder(tmp_path: Path) -> None:
    result = run()
    with pytest.raises(OptionError, match=r"folder must be given to tensorboard where the run has no directory"):
        result.log("tensorboard")
    result.log(f"tensorboard(folder={tmp_path})")
    (folder,) = {p.parent for p in tmp_path.rglob("events.out*")}
    assert folder.parent.name == "er-size=50-"
    same(scalars(folder), expected(result))


def test_heads_and_measures_of_features_have_names_of_their_own(tmp_path: Path) -> None:
    result = run(tmp_path, "er(size=50)+nmc-head", log="tensorboard", representation="boundaries")
    found = scalars(tmp_path / "tensorboard")
    assert {"nmc-head/accuracy_full/experience_0", "representation/alpha_req/seen"} <= found.keys()
    rows = [row for row in rows_of(result) if row.head]
    assert dict(values(rows)).keys() == set(result.updates)


@pytest.mark.parametrize("kind", ["file", pytest.param("sqlite", marks=pytest.mark.slow)])
def test_an_mlflow_run_reads_back(kind: str, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db" if kind == "sqlite" else f"file:{tmp_path}/mlruns"
    result = run(tmp_path / "a", evaluate="every(k=20)")
    result.log(f"mlflow(uri={store},experiment=digits)")
    result.log(f"mlflow(uri={store},experiment=digits)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=store)
        (made,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
        assert made.info.status == "FINISHED" and made.info.run_name == "er(size=50), seed 0"
        assert made.data.params["lr"] == "0.05" and made.data.tags["clframe.identity"] == result.spec["identity"]
        assert made.data.metrics["metrics/acc"] == pytest.approx(result.metrics.acc)
        found = {tag: [(m.step, m.value) for m in client.get_metric_history(made.info.run_id, tag)] for tag in expected(result)}
    assert all(len(points) == len(dict(points)) for points in found.values())
    same({tag: dict(points) for tag, points in found.items()}, expected(result))


def test_a_store_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database, and rather longer than the header of one " * 40)
    with pytest.raises(RunError, match=r"MLflow store 'sqlite:///.*' must be one that can be written"):
        run().log(f"mlflow(uri=sqlite:///{tmp_path}/mlflow.db)")


def test_an_offline_wandb_run_reads_back(tmp_path: Path) -> None:
    result = run(tmp_path, evaluate="boundaries", log="wandb(project=digits)")
    (file,) = tmp_path.rglob("run-*.wandb")
    records = _complete(file)
    history: dict[str, dict[int, float]] = defaultdict(dict)
    for record in (r.history for r in records if r.HasField("history")):
        item = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.item}
        for name, value in item.items():
            history[name][int(item.get("update", -1))] = value
    same(history, expected(result))
    (start,) = (r.run for r in records if r.HasField("run"))
    assert start.project == "digits" and start.run_group == SCENARIO
    assert {u.key: json.loads(u.value_json) for u in start.config.update}["lr"] == "0.05"


def _complete(file: Path) -> list[Any]:
    """All records, once W&B's own process has written the last."""
    for _ in range(100):
        records = list(_wandb(file))
        if records and records[-1].HasField("exit"):
            return records
        time.sleep(0.1)
    raise AssertionError("the file has no end")


def _wandb(file: Path) -> Any:
    """The records of an offline file: LevelDB's log format after a header of seven bytes."""
    from wandb.proto import wandb_internal_pb2

    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""


def test_an_unknown_dashboard_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Did you mean 'tensorboard'"):
        clframe.compare(SCENARIO, ["er"], seeds=1, out=tmp_path / "a", log="tensorbord")
    assert not (tmp_path / "a").exists()
    with pytest.raises(OptionError, match="Did you mean 'folder'"):
        run(tmp_path / "b", log="tensorboard(foldr=x)")
    with pytest.raises(OptionError, match="mode must be 'offline' or 'online'"):
        run(tmp_path / "c", log="wandb(mode=off)")


def test_a_missing_or_old_package_is_answered_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra.metadata, "version", lambda name: "2.9.1" if name == "tensorboard" else _absent(name))
    with pytest.raises(MissingExtraError, match=r"tensorboard >= 2.10; found 2.9.1. Run: pip install 'clframe\[log\]' --upgrade"):
        run().log("tensorboard(folder=x)")
    with pytest.raises(MissingExtraError, match=r"needs mlflow-skinny, which is not installed. Run: pip install 'clframe\[log\]'"):
        run().log("mlflow")


def _absent(name: str) -> str:
    raise metadata.PackageNotFoundError(name)
