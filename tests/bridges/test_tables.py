"""Tables for papers, and frames to compute with."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import clframe
from clframe.cli.main import main
from clframe.errors import MissingExtraError, OptionError
from clframe.eval.report.published import decided
from clframe.eval.result import Result, Results
from tests.eval.test_report import simulate


def shifted(result: Result, by: float, name: str) -> Result:
    """The same run, with another strategy's name, better or worse by `by` everywhere."""
    rows = result.rows.assign(correct=(result.rows.correct + round(by * 100)).clip(0, result.rows.total))
    return replace(result, strategy=name, rows=rows)


def test_bold_needs_a_paired_difference_and_not_separate_intervals() -> None:
    base = [simulate("er(size=500)", seed) for seed in range(4)]
    a, b = [shifted(r, 0.0, "a") for r in base], [shifted(r, -0.01, "b") for r in base]
    both = Results([*a, *b])
    first, second = (both.summary(s, "acc") for s in ("a", "b"))
    assert first.low is not None and second.high is not None and first.low < second.high, "the intervals overlap"
    assert decided(both, "a", "acc"), "yet every seed says the same"
    lines = both.markdown(["acc"]).splitlines()
    assert lines[2].split("|")[2].strip().startswith("**") and "*" not in lines[3].split("|")[2]
    mixed = Results([*a, *(shifted(r, 0.01 * (-1) ** r.seed, "b") for r in base)])
    assert not decided(mixed, "a", "acc")
    assert "*best*" not in mixed.markdown(["acc"]) and r"\textbf" not in mixed.latex(["acc"])
    alone = Results([a[0], b[0]])
    assert r"\textit{" in alone.latex(["acc"]) and r"\textbf" not in alone.latex(["acc"]), "one seed tells nothing"
    assert not decided(Results([*a[:2], *b[2:]]), "a", "acc"), "no seed in common"


def test_a_latex_table_is_whole() -> None:
    results = Results([simulate(s, seed) for s in ("er(size=500)", "finetune") for seed in range(3)])
    text = results.latex(["acc", "min_acc"]).splitlines()
    assert text[:2] == [r"\begin{tabular}{lrrrr}", r"\toprule"] and text[-3:-1] == [r"\bottomrule", r"\end{tabular}"]
    assert all(line.count("&") == 4 for line in text if line.endswith(r"\\"))
    assert text[-1].startswith("% bold: best mean, and better than every other by paired differences")
    with pytest.raises(OptionError, match="Did you mean 'min_acc'"):
        results.latex(["minacc"])


def test_runs_and_records_are_frames(tmp_path: Path) -> None:
    pytest.importorskip("polars")
    results = clframe.compare("split-digits(experiences=2)", ["er", "finetune"], seeds=2, evaluate="boundaries")
    runs = results.runs()
    assert runs["acc"].tolist() == [r.metrics.acc for r in results]
    assert runs["budget_updates"].tolist() == [int(r.updates[-1]) for r in results]
    assert runs["lca_10"].isna().tolist() == [r.metrics.lca_10 is None for r in results]
    other = results.runs("polars")
    assert other["acc"].to_list() == runs["acc"].tolist() and other.columns == list(runs.columns)
    records = results.records()
    assert len(records) == sum(len(r.rows) for r in results)
    assert list(records.columns)[:8] == ["scenario", "strategy", "source", "seed", "n", "trained", "evaluated", "correct"]
    assert results.records("polars").height == len(records)
    with pytest.raises(OptionError, match="kind must be 'pandas' or 'polars'"):
        results.runs("arrow")
    for name, read in (("a.csv", pd.read_csv), ("a.parquet", pd.read_parquet)):
        back = read(results.write(tmp_path / "new" / name))
        pd.testing.assert_frame_equal(back, runs, check_dtype=False)
    assert results.write(tmp_path / "a.tex").read_text() == results.latex()
    assert results.write(tmp_path / "a.md").read_text() == results.markdown()
    with pytest.raises(OptionError, match=r"ends in .md, .tex, .csv, .parquet"):
        results.write(tmp_path / "a.xlsx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.md", "a.tex", "new"]


def test_the_report_command_writes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clframe.run("split-digits(experiences=2)", "er", evaluate="boundaries", out=tmp_path / "run", report=False)
    assert main(["report", str(tmp_path), "--table", str(tmp_path / "numbers.csv"), "--out", str(tmp_path / "r.html")]) == 0
    assert pd.read_csv(tmp_path / "numbers.csv")["strategy"].tolist() == ["er"]
    assert main(["report", str(tmp_path), "--table", str(tmp_path / "numbers.xls")]) == 2
    assert "table must be a file that ends in" in capsys.readouterr().err


def test_polars_that_is_not_there_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'clframe\[polars\]'"):
        Results([simulate("er(size=500)", 0)]).runs("polars")
