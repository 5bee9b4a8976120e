"""`clframe generations`."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from clframe.cli.main import main

STUDY = """
data: {data}
rows: 30
heldout: 20
generators: [{generator}]
policies: [replace(allow_collapse=true), accumulate, accumulate-subsample(real_floor=0)]
generations: 2
seeds: 2
"""


def written(tmp_path: Path, data: str, generator: str) -> list[str]:
    (tmp_path / "small.yaml").write_text(STUDY.format(data=data, generator=generator))
    return ["generations", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "out")]


def test_a_study_ends_as_tables_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = written(tmp_path, "linear-model(d=3)", "linear")
    assert main(given) == 0
    printed = capsys.readouterr()
    assert "12 trainings on 420 rows in all; the largest training set has 60 rows" in printed.err
    assert "planning aid, linear model" in printed.out.replace("\n", " ") and "study.html" in printed.out
    table = pd.read_parquet(tmp_path / "out" / "study.parquet")
    assert len(table) == 12 and set(table["generation"]) == {1, 2}
    told = json.loads((tmp_path / "out" / "study.json").read_text())
    assert len(told["rows"]) == 12 and told["expected"]["linear, accumulate"]["loss"][1] == pytest.approx(1.25 * 3 / 26)
    markdown = (tmp_path / "out" / "study.md").read_text()
    assert "## linear" in markdown and "expected of generation 2" in markdown
    page = (tmp_path / "out" / "study.html").read_text()
    assert page.count("<svg") == 1 and "Dotted: what theory expects (planning aid, linear model)" in page
    assert main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == told["rows"]


def test_pictures_are_shown_and_a_dry_run_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = written(tmp_path, "digits", "vae(epochs=1,hidden=8,latent=2)")
    assert main([*given, "--dry-run"]) == 0
    assert "12 trainings" in capsys.readouterr().out and not (tmp_path / "out").exists()
    assert main(given) == 0
    page = (tmp_path / "out" / "study.html").read_text()
    assert page.count('alt="sample, real"') == 30 and page.count('alt="sample, generation 2"') == 30 and page.count("<svg") == 2


def test_mistakes_are_answered_with_the_file_and_the_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = written(tmp_path, "digits", "vae")
    path = Path(given[1])
    path.write_text(path.read_text() + "polices: [golden]\n")
    assert main(given) == 2
    assert "small.yaml: a key of a study must be a known name; got 'polices'. Did you mean 'policies'" in capsys.readouterr().err
    path.write_text(path.read_text().replace("polices: [golden]\n", "seeds: 3\n"))
    assert main(given) == 2
    assert "the key 'seeds' is there twice" in capsys.readouterr().err


def test_small_values_have_different_tick_labels() -> None:
    import numpy as np

    from clframe.eval.report.generations_figures import generations_figure
    from clframe.generations.outcome import Outcome

    loss = np.array([[0.002, 0.004, 0.008]])
    nan = np.full((1, 3), np.nan)
    told = Outcome("gaussian", "accumulate", (0,), loss, nan, loss, loss, loss, loss[0], None, ())
    figure = generations_figure([told], "loss", ["accumulate"])
    figure.canvas.draw()
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert len(set(labels)) == len(labels) > 2 and "8" in labels
    assert figure.axes[0].texts[0].get_text() == "held-out real loss (× 1e-3)"
