"""The page of a study: what it must hold, what it leaves out and why, ranks and times against published values."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from clframe.errors import DataError, OptionError
from clframe.eval.metrics import Curves
from clframe.eval.protocol import Entry, Study, conduct, groups, parse_study
from clframe.eval.protocol.report import figures as drawing
from clframe.eval.protocol.report.page import render, write
from clframe.eval.protocol.report.ranks import differences
from clframe.eval.protocol.report.target import (
    clock,
    default_target,
    median_of_min,
    profile,
    profile_score,
    speed_up,
    time_to_target,
)
from clframe.eval.result import Results

INF = math.inf
HALF = "split-digits(classes={},experiences=2)"
SMALL: dict[str, Any] = {
    "methods": {"finetune": None, "er(size=40)": {"er.batch_size": [5, 10]}, "ewc": {"ewc.strength": [1.0, 1e30]}},
    "space": {"lr": {"log-range": [0.01, 0.2]}},
    "scenarios": {"digits": {"tuning": HALF.format("0-4"), "evaluation": HALF.format("5-9")}},
    "protocols": ["gtep", "end-of-training", "fixed"],
    "trials": 2,
    "seeds": {"tuning": 1, "evaluation": 2},
    "options": {"evaluate": "every(k=5)", "batch_size": 20},
}
Made = tuple[Study, list[Entry]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    study = parse_study(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Results, "report", lambda self, path: path)  # the runs' own pages take most of the time
        return study, conduct(study, tmp_path_factory.mktemp("study"))


def shown(study: Study, entries: list[Entry]) -> str:
    return render(study, entries, groups(study, entries))


def test_the_page_answers_first_and_holds_everything(made: Made, tmp_path: Path) -> None:
    study, entries = made
    path = write(tmp_path / "deep" / "study.html", study, entries, groups(study, entries))
    page = path.read_text()
    order = ["answer", "tables", "ranks", "trials", "differences", "profiles", "chosen", "warnings", "how", "columns"]
    assert re.findall(r'<section id="(\w+)">', page) == order
    assert "er(size=40) is first with ACC 0." in page[: page.index("<table")]
    assert "no learner of one pass could have made it" in page[: page.index("<table")]
    for words in ("best of 1", "time to target", "with tuning", "transfer", "er.batch_size=", "Target: a stream accuracy of 0."):
        assert words in page
    for words in ("random, 2 trials a method", "evaluation seeds", "0.2 of each", HALF.format("0-4").split("(")[0], "Kendall"):
        assert words in page[page.index('id="chosen"') :]
    assert page.count('<table class="headline outcome">') == 3
    assert not re.search(r"(src|href)=\"(?!#)|@import|url\((?!#)|<script|https?://(?!www\.w3\.org)", page), "opens offline"
    assert [p.name for p in path.parent.iterdir()] == ["study.html"]
    assert page == shown(study, entries), "the same bytes"


def test_a_group_without_tuning_is_shown_and_its_figures_are_left_out_with_a_reason(made: Made) -> None:
    study, entries = made
    alone = [e for e in entries if e.case.protocol.name == "fixed"]
    page = shown(study, alone)
    assert "Not drawn for fixed: nothing was chosen in a tuning phase" in page
    assert "Not drawn for fixed: no method has two trials with a score" in page
    assert "Nothing was chosen: every option was given." in page
    emptied = [dataclasses.replace(e, trials=(), chosen=()) for e in alone]
    found = [dataclasses.replace(g, lines=tuple(dataclasses.replace(x, values=()) for x in g.lines)) for g in groups(study, alone)]
    assert "Nothing was chosen" in render(study, emptied, found)


def test_methods_whose_runs_all_diverged_break_nothing(made: Made) -> None:
    study, entries = made
    lost = [dataclasses.replace(e, chosen=(), results=Results([])) if e.case.method == "ewc" else e for e in entries]
    page = shown(study, lost)
    assert "ewc 2x" in page, "last in both blocks"
    assert ">never<" in page
    nothing = [dataclasses.replace(e, chosen=(), results=Results([])) for e in entries]
    page = shown(study, nothing)
    assert "No method came to the end of all its runs with a score" in page
    assert "No method has a final accuracy, so there is no target." in page


def test_one_method_one_trial_one_seed(tmp_path: Path) -> None:
    changes = {"methods": ["finetune"], "trials": 1, "seeds": 1, "protocols": ["gtep"], "options": {"evaluate": "boundaries"}}
    study = parse_study({**SMALL, **changes, "metric": "bwt"})
    page = shown(study, conduct(study, tmp_path))
    assert "finetune is first with BWT" in page and "compared with nothing" in page
    for reason in ("at least three methods; there is 1", "there is one method", "fewer than two methods have a rank in both"):
        assert reason in page


def test_entries_of_other_groups_do_not_get_in(made: Made) -> None:
    study, entries = made
    found = [dataclasses.replace(g, protocol="another") for g in groups(study, entries)]
    page = render(study, entries, found)
    assert "there is no target" in page


def test_an_explicit_target_is_kept_and_a_wrong_one_refused(made: Made) -> None:
    study, entries = made
    found = groups(study, entries)
    assert render(study, entries, found, target=0.25).count("Target: a stream accuracy of 0.250.") == 3
    with pytest.raises(OptionError, match=r"target must be an accuracy in \[0, 1\]; got 80"):
        render(study, entries, found, target=80)


def test_time_to_target_is_first_or_kept_and_tuning_is_on_the_clock(made: Made) -> None:
    study, entries = made
    entry = next(e for e in entries if e.case.method == "er(size=40)" and e.case.protocol.name == "gtep")
    accuracy = np.array([[0.1, 0.1], [0.9, np.nan], [1.0, 0.0], [0.9, 0.6], [0.3, 0.8], [0.6, 0.9]])
    curves = Curves.from_arrays([0, 5, 10, 15, 20, 25], accuracy, ends=[10, 25])
    (result,) = entry.results[:1]
    run = dataclasses.replace(result, budget=dataclasses.replace(result.budget, train_flops=1000))
    run.__dict__["curves"] = curves
    assert time_to_target(run, 0.5).updates == 10
    assert time_to_target(run, 0.74) == (15, 600)
    assert time_to_target(run, 0.74, keep=True) == (25, 1000)
    assert time_to_target(run, 0.1).flops == 0
    assert time_to_target(run, 0.76) == (INF, INF)
    alone, tuned = (clock(entry, study.evaluation_seeds, 0.1, tuning=t) for t in (False, True))
    assert [b.flops - a.flops for a, b in zip(alone, tuned, strict=True)] == pytest.approx([entry.tuning_flops] * 2)
    assert entry.tuning_flops > 0
    assert clock(dataclasses.replace(entry, results=Results([])), [0, 1], 0.1) == [(INF, INF)] * 2


def test_half_of_the_methods_end_at_the_default_target_or_above(made: Made) -> None:
    own = made[1][:3]
    target = default_target(own)
    means = [np.mean([r.metrics.acc for r in e.results]) for e in own]
    assert target is not None and sum(m >= target - 1e-12 for m in means) * 2 >= len(own)
    for entry in own:
        for result in entry.results:
            kept = time_to_target(result, target, keep=True)
            assert (kept.updates < INF) == ((result.metrics.acc or 0) >= target - 1e-12)


def test_median_of_min_and_the_profile_have_the_published_values() -> None:
    assert median_of_min([[9, 7, INF, 8, 12], [INF] * 5, [6, 11, 10, INF, INF]]) == 7
    assert median_of_min([[9, 7], [], []]) == median_of_min([[9, 7]], count=3) == median_of_min([]) == INF
    times = {"a": [100, 200, 50, 400], "b": [150, 100, 50, INF], "c": [450, 120, 90, 300]}
    assert profile_score(times) == pytest.approx({"a": 0.888889, "b": 0.708333, "c": 0.666667}, abs=1e-6)
    taus = np.linspace(1, 4, 30_001)
    for method, score in profile_score(times).items():
        drawn = np.trapezoid([sum(r <= tau for r in drawing.ratios(times)[method]) / 4 for tau in taus], taus) / 3
        assert drawn == pytest.approx(score, abs=1e-3)
    assert profile(times, 1) == {"a": 0.5, "b": 0.5, "c": 0.25}
    assert speed_up(times, "c")["b"] == (pytest.approx((3 * 1.2 * 1.8) ** (1 / 3)), 3)
    assert speed_up({"a": [INF], "b": [1.0]}, "a") == {"a": None, "b": None}
    for wrong, said in (({"a": [-1.0]}, "a time must be"), ({"a": [1.0], "b": []}, "one time a workload each")):
        with pytest.raises(DataError, match=said):
            profile_score(wrong)
    with pytest.raises(OptionError, match="r_max must be a number above 1; got 1"):
        profile_score(times, 1)


@given(st.lists(st.lists(st.floats(1, 100), min_size=3, max_size=3), min_size=1, max_size=5), st.floats(1, 3))
def test_adding_a_slower_method_changes_nobodys_score(table: list[list[float]], factor: float) -> None:
    times = {str(i): own for i, own in enumerate(table)}
    slower = [factor * max(column) for column in zip(*table, strict=True)]
    before, after = profile_score(times), profile_score({**times, "slower": slower})
    assert {m: after[m] for m in before} == before
    assert all(0 <= score <= 1 for score in after.values())


AUC = """
.763 .768 .771 .798  .599 .591 .590 .569  .954 .971 .968 .967  .628 .661 .654 .657  .882 .888 .886 .898  .936 .931 .916 .931
.661 .668 .609 .685  .583 .583 .563 .625  .775 .838 .866 .875  1 1 1 1  .940 .962 .965 .962  .619 .666 .614 .669
.972 .981 .97501 .975  .957 .978 .946 .970"""
"""Table 6 of Demšar (2006); one value is not rounded, as its ranks say."""


def test_critical_differences_have_the_published_values() -> None:
    table = np.array(AUC.split(), dtype=float).reshape(14, 4)
    scores = {name: column.tolist() for name, column in zip(["C4.5", "m", "cf", "m+cf"], table.T, strict=True)}
    found, why = differences(scores)
    assert found is not None and why == ""
    assert found.ranks == pytest.approx({"m+cf": 1.964, "m": 2.0, "cf": 2.893, "C4.5": 3.143}, abs=1e-3)
    assert found.critical == pytest.approx(1.25, abs=5e-3) and found.rejected
    corrected = sum((np.bincount(np.unique(row, return_inverse=True)[1]) ** 3).sum() - 4 for row in table)
    assert found.statistic * (1 - corrected / (14 * 4 * 15)) == pytest.approx(9.28, abs=0.01)
    tenth = differences(scores, alpha=0.1)[0]
    assert tenth is not None and tenth.critical == pytest.approx(1.12, abs=5e-3)
    assert tenth.cliques == (("m+cf", "m", "cf"), ("cf", "C4.5"))


def test_quantiles_of_the_critical_difference_are_those_of_the_table() -> None:
    for k, q in zip(range(3, 11), (2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164), strict=True):
        found, _ = differences({str(i): [float(i)] * 20 for i in range(k)})
        assert found is not None
        assert found.critical / math.sqrt(k * (k + 1) / 120) == pytest.approx(q, abs=1.1e-3)


def test_ranks_where_nothing_can_be_said() -> None:
    for scores, why in (
        ({}, "there are 0"),
        ({"a": [1.0, 2.0], "b": [2.0, 1.0]}, "there are 2"),
        ({"a": [1.0], "b": [2.0], "c": [3.0]}, "one block alone"),
        ({"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [1.0, 1.0]}, "the same score in every block"),
    ):
        found, said = differences(scores)
        assert found is None and why in said
    found, _ = differences({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 1.0], "c": [3.0, 1.0, None]}, maximise=False)
    assert found is not None and not found.rejected
    assert found.lost == {"c": 1} and found.cliques == (tuple(found.ranks),)
    with pytest.raises(DataError, match="one score a block each"):
        differences({"a": [1.0], "b": [1.0, 2.0]})
    with pytest.raises(OptionError, match=r"alpha must be in \(0, 1\); got 0"):
        differences({}, alpha=0)


def test_labels_of_the_rank_figure_never_overlap(made: Made) -> None:
    study, entries = made
    group = groups(study, entries)[0]
    names = [f"method{i}(option=1)" for i in range(14)]
    lines = tuple(dataclasses.replace(group.lines[0], method=m, tuning_rank=7.5, rank=1.0 + i // 4) for i, m in enumerate(names))
    fig, why = drawing.rank_figure(dataclasses.replace(group, lines=lines), names)
    assert fig is not None and not why
    FigureCanvasAgg(fig).draw()
    texts = [t for t in fig.axes[0].texts if "method" in t.get_text()]
    boxes = [Text.get_window_extent(t).padded(-1) for t in texts]
    assert len(boxes) == 2 * len(names)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [500, 1400])
def test_nothing_overflows_in_a_browser(made: Made, tmp_path: Path, width: int) -> None:
    probe = "<script>document.title = document.documentElement.scrollWidth - window.innerWidth</script></body>"
    path = tmp_path / "study.html"
    path.write_text(shown(*made).replace("</body>", probe).replace("<details>", "<details open>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    place = [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--dump-dom", path.as_uri()]
    dom = subprocess.run([str(CHROMIUM), *options, *place], capture_output=True, text=True, timeout=60, check=True).stdout
    assert [int(x) <= 0 for x in re.findall(r"<title>(-?\d+)</title>", dom)] == [True]
