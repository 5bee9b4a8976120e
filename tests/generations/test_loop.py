"""The loop: what it keeps, and that it goes on exactly where it was killed."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clframe.checkpoint import Interrupted
from clframe.errors import ClframeError, OptionError, RunError
from clframe.generations import Ledger
from clframe.generations.loop import Run
from clframe.generations.study import conduct, estimate, parse_study, read

BASE = {"data": "normal(d=2)", "generator": "gaussian", "generations": 3, "seed": 0, "rows": 40, "heldout": 30}


def run(out: Path, policy: str = "accumulate", **more: object) -> Run:
    return Run(**{**BASE, "policy": policy, **more}, out=str(out))  # type: ignore[arg-type]


def test_a_run_keeps_everything_of_each_generation(tmp_path: Path) -> None:
    asked = run(tmp_path)
    found = asked(None)
    pool = Ledger(asked.pool)
    assert [(r.kind, r.generation, r.rows) for r in pool.records()] == [("real", 0, 40), *(("synthetic", n, 40) for n in (1, 2, 3))]
    assert [len(r.parents) for r in pool.records()] == [0, 1, 2, 3]
    assert [g.rows for g in found] == [40, 80, 120]
    assert [round(g.real_share, 4) for g in found] == [1.0, 0.5, 0.3333]
    assert all(g.loss.shape == (30,) and g.variance > 0 and g.seconds > 0 for g in found)
    assert [r.model["hash"] for r in pool.records()[1:]] == [g.model for g in found]
    assert pool.fsck() == []
    assert np.allclose(pool.records()[2].losses["heldout"], found[1].loss, atol=1e-6)


def test_more_generations_go_on_from_those_that_are_there(tmp_path: Path) -> None:
    run(tmp_path / "a", generations=2)(None)
    more = run(tmp_path / "a", generations=4)(None)
    whole = run(tmp_path / "b", generations=4)(None)
    assert [g.model for g in more] == [g.model for g in whole]
    assert len(run(tmp_path / "a", generations=2)(None)) == 2


def test_another_run_or_other_data_in_the_directory_is_refused(tmp_path: Path) -> None:
    run(tmp_path)(None)
    with pytest.raises(RunError, match="it holds one on another run, gaussian, accumulate"):
        run(tmp_path, "golden")(None)
    spec = json.loads((tmp_path / "spec.json").read_text())
    (tmp_path / "spec.json").write_text(json.dumps(spec | {"real": "changed"}))
    with pytest.raises(RunError, match="other real data"):
        run(tmp_path)(None)


@pytest.mark.parametrize("policy", ["accumulate-subsample", "sensitivity-subsample"])
def test_stopped_after_each_generation_it_ends_as_if_it_had_not_been(tmp_path: Path, policy: str) -> None:
    whole = run(tmp_path / "whole", policy)(None)
    for _ in range(3):
        with pytest.raises(Interrupted):
            run(tmp_path / "parts", policy)(lambda n, total: True)
    assert same(tmp_path / "whole", tmp_path / "parts")
    assert [g.model for g in run(tmp_path / "parts", policy)(None)] == [g.model for g in whole]


def same(one: Path, other: Path) -> bool:
    """Whether two runs have the same shards and the same held-out losses."""
    first, second = (Ledger(place / "pool") for place in (one, other))
    files = [sorted(p.name for p in (place / "generations").glob("*.npz")) for place in (one, other)]
    losses = [[np.load(place / "generations" / f)["loss"] for f in files[0]] for place in (one, other)]
    return (
        [r.id for r in first.records()] == [r.id for r in second.records()]
        and files[0] == files[1]
        and all(np.array_equal(a, b) for a, b in zip(*losses, strict=True))
    )


KILLED = """
import sys
from clframe.generations.loop import Run
Run("normal(d=2)", "gaussian", "sensitivity-subsample", generations=3, seed=0, rows=40, heldout=30, out=sys.argv[1])(None)
"""


def killed_at(out: Path, place: str, turn: int) -> int:
    """Run it in a process that kills itself in the given turn, just before or after a write."""
    code = (
        f"""
import os, signal, sys
import clframe.generations.loop as loop
turn = {turn}
def dying(call, after):
    def wrapped(*given, **named):
        global turn
        turn -= 1
        if not turn and not after: os.kill(os.getpid(), signal.SIGKILL)
        made = call(*given, **named)
        if not turn: os.kill(os.getpid(), signal.SIGKILL)
        return made
    return wrapped
if "{place}" == "append":
    loop.Ledger.append = dying(loop.Ledger.append, True)
else:
    loop._save = dying(loop._save, "{place}" == "saved")
"""
        + KILLED
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(out)], check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ).returncode


@pytest.mark.parametrize(("place", "turn"), [("save", 1), ("saved", 2), ("append", 3)])
def test_killed_at_any_point_of_a_generation_it_goes_on_exactly(tmp_path: Path, place: str, turn: int) -> None:
    assert killed_at(tmp_path / "killed", place, turn) == -signal.SIGKILL
    run(tmp_path / "killed", "sensitivity-subsample")(None)
    run(tmp_path / "whole", "sensitivity-subsample")(None)
    assert same(tmp_path / "killed", tmp_path / "whole")


def study(**more: object) -> dict[str, object]:
    return {"data": "normal(d=2)", "rows": 40, "generators": ["gaussian"], "policies": ["accumulate", "golden"], "seeds": 2, **more}


def test_a_study_does_every_run_once(tmp_path: Path) -> None:
    asked = parse_study(study(generations=2))
    told: list[tuple[str, int, int]] = []
    found = conduct(asked, tmp_path, progress=lambda *a: told.append(a))
    assert [(r.policy, r.seed) for r, _ in found] == [("accumulate", 0), ("accumulate", 1), ("golden", 0), ("golden", 1)]
    assert told[-1] == ("gaussian, golden, seed 1", 2, 2)
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.npz")}
    again = conduct(asked, tmp_path)
    assert [[g.model for g in gs] for _, gs in again] == [[g.model for g in gs] for _, gs in found]
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.npz")} == times


def test_the_estimate_is_what_is_trained_on(tmp_path: Path) -> None:
    asked = parse_study(study(generations=3, policies=["accumulate", "accumulate-subsample", "golden"], generators=["gaussian"]))
    found = conduct(asked, tmp_path)
    guess = estimate(asked)
    assert guess.trainings == sum(len(g) for _, g in found) and guess.rows == sum(one.rows for _, g in found for one in g)
    assert guess.largest == 120


def test_a_run_that_fails_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    asked = parse_study(study(generators=["gaussian", "linear"], generations=1, seeds=1, policies=["accumulate"]))
    with pytest.raises(ClframeError, match="linear, accumulate, seed 0: generator 'linear' needs a column 'y'"):
        conduct(asked, tmp_path)
    assert len(list(tmp_path.glob("runs/*/generations/001.npz"))) == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"policy": 1}, "got 'policy'. Did you mean 'policies'"),
        ({"generators": "gausian"}, "Did you mean 'gaussian'"),
        ({"generators": []}, "generators must be a list"),
        ({"policies": ["accumulate", "accumulate"]}, "different from each other"),
        ({"policies": "replace"}, r"Take accumulate, or write replace\(allow_collapse=true\)"),
        ({"generations": 0}, "generations must be a whole number from 1"),
        ({"rows": True}, "rows must be a whole number from 0"),
        ({"seeds": [0, 0]}, "seeds must be a number of seeds"),
        ({"data": None}, "data must be real data"),
        ({"data": "normal(e=1)"}, "option of data 'normal' must be a known name; got 'e'"),
    ],
)
def test_mistakes_in_a_study_are_refused(more: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_study(study(**more))


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="a study must be a YAML file that exists"):
        read(tmp_path / "none.yaml")
    for text, message in (("data: [", "a readable YAML file"), ("just words", "a mapping with the keys"), ("", "a mapping")):
        (tmp_path / "study.yaml").write_text(text)
        with pytest.raises(OptionError, match=message):
            read(tmp_path / "study.yaml")


def test_more_rows_than_there_are_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="rows must be at most the 1,438"):
        run(tmp_path, data="digits", rows=5000)(None)
    assert dataclasses.replace(run(tmp_path), generations=9).key == run(tmp_path).key


@pytest.mark.parametrize("where", ["processes", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_study_is_the_same_wherever_its_runs_are_done(where: str, tmp_path: Path) -> None:
    if where == "ray":
        pytest.importorskip("ray")
    asked = {"data": "normal(d=1)", "rows": 30, "generators": "gaussian", "policies": ["accumulate", "golden"], "generations": 3}
    study = parse_study({**asked, "seeds": 2})
    one, two = conduct(study, tmp_path / "one"), conduct(study, tmp_path / "two", jobs=2, where=where)
    assert [run.name for run, _ in one] == [run.name for run, _ in two] and len(one) == 4
    for (run, here), (other, there) in zip(one, two, strict=True):
        assert [g.model for g in here] == [g.model for g in there]
        assert all(np.array_equal(a.loss, b.loss) for a, b in zip(here, there, strict=True))
        assert [r.id for r in Ledger(run.pool).records()] == [r.id for r in Ledger(other.pool).records()]
