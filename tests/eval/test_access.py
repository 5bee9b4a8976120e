"""Results whose options were chosen by looking at different things share a table only where asked for, and then they are marked."""

from __future__ import annotations

from pathlib import Path

import pytest

import clframe
from clframe.cli.main import main
from clframe.errors import OptionError
from clframe.eval.access import access, short
from clframe.eval.result import Results

FEW = {"evaluate": "boundaries", "batch_size": 50}


@pytest.fixture(scope="module")
def mixture() -> Results:
    plain = clframe.run("split-digits", "finetune", **FEW)
    tuned = clframe.run("split-digits", "finetune", tuning="gtep: other data; setting 12ab", lr=0.1, **FEW)
    return Results([plain, tuned])


def test_one_table_of_both_is_refused_wherever_it_is_asked_for(mixture: Results, tmp_path: Path) -> None:
    asks = [
        mixture.table,
        mixture.markdown,
        mixture.latex,
        lambda: mixture.report(tmp_path / "r.html"),
        lambda: mixture.summary("finetune", "acc"),
    ]
    for ask in asks:
        with pytest.raises(OptionError, match="must not mix what options were chosen by; got 'none declared', 'gtep'"):
            ask()
    assert not (tmp_path / "r.html").exists()


def test_marked_they_stand_apart(mixture: Results, tmp_path: Path) -> None:
    marked = mixture.marked()
    assert marked.strategies == ["finetune [none declared]", "finetune [gtep]"]
    assert marked.marked().strategies == marked.strategies
    assert marked.summary("finetune [gtep]", "acc").n == 1
    assert "finetune [gtep]" in marked.report(tmp_path / "r.html").read_text()


def test_runs_of_one_access_and_of_different_scenarios_need_no_mark(mixture: Results) -> None:
    other = clframe.run("split-digits(experiences=2)", "finetune", tuning="gtep: other data; setting 99", **FEW)
    assert len(Results([mixture[0], other]).table()) == 2
    assert access(other) == access(mixture[1]) == "gtep: other data"
    assert short("x" * 40) == "x" * 31 + "…"


def test_the_report_refuses_and_marks_on_request_and_a_run_beside_others_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "run",
        "--scenario",
        "split-digits",
        "--strategy",
        "finetune",
        "--evaluate",
        "boundaries",
        "--batch-size",
        "50",
        "--jobs",
        "1",
    ]
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    assert main([*words, "--out", str(tmp_path / "b"), "--tuning", "by hand on other data"]) == 0
    capsys.readouterr()
    assert main(["report", str(tmp_path)]) == 2
    assert "must not mix" in capsys.readouterr().err
    assert main(["report", str(tmp_path), "--mixed"]) == 0
    assert "by hand" in capsys.readouterr().out
