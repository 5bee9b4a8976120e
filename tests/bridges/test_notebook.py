"""What a notebook shows: tables and figures of results, streams and coresets."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from clframe.eval.imported import imported
from clframe.eval.result import Results
from clframe.scenarios import class_incremental
from clframe.selection import pool_of, select
from tests.eval.test_report import simulate


def pictures(page: str) -> list[str]:
    """The figures, each whole."""
    assert page.count("<svg") == page.count("</svg>")
    return re.findall(r"<svg.*?</svg>", page, re.DOTALL)


def test_results_show_the_table_and_a_figure_a_scenario() -> None:
    several = Results([simulate(s, seed) for s in ("er(size=500)", "finetune") for seed in range(2)])
    page = several._repr_html_()
    assert page.count("<tr>") == 3 and "±" in page and "no tuning declared" in page
    assert len(pictures(page)) == 1 and "Mean accuracy over the experiences seen so far" in page
    two = Results([*several, *(replace(r, scenario="other <b>") for r in several)])
    assert len(pictures(two._repr_html_())) == 2 and "other &lt;b&gt;" in two._repr_html_() and "other <b>" not in two._repr_html_()
    one = several[0]._repr_html_()
    assert one.count("<tr>") == 2 and "Accuracy of every experience" in one and len(pictures(one)) == 1
    assert Results([])._repr_html_() == "<p>no runs</p>"


def test_results_that_may_not_be_mixed_are_marked_and_imported_ones_have_no_curve(tmp_path: Path) -> None:
    own = simulate("finetune", 0)
    old = imported("mammoth", "er", own.scenario, 0, [[0.9], [0.5, 0.7]], options={}, path=tmp_path)
    page = Results([own, old])._repr_html_()
    assert "er [mammoth]" in page and "imported from mammoth" in page and len(pictures(page)) == 1
    assert pictures(Results([old])._repr_html_()) == []


def test_a_stream_shows_its_experiences_and_its_picture() -> None:
    page = class_incremental("digits", experiences=3)._repr_html_()
    assert "3 experiences of digits" in page and len(pictures(page)) == 1


def test_a_coreset_shows_what_it_says_and_its_first_samples() -> None:
    coreset = select(pool_of(np.eye(50)), size=20, method="uniform", loss=np.arange(50.0))
    page = coreset._repr_html_()
    assert "20 of 50 samples, chosen with <code>uniform</code>" in page and "mean loss" in page
    assert page.count("<tr") == 1 + 10 + 1, "ten rows of twenty"
