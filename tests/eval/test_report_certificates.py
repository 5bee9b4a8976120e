"""Certificates as they are shown: a sentence, a figure with floors, a table, a line on the terminal, JSON."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clframe
from clframe.cli.main import main
from clframe.cli.output import as_dict
from clframe.errors import OptionError
from clframe.eval.metrics import certificates as metrics
from clframe.eval.report import certificates, html
from clframe.eval.report.certificates import Certified
from clframe.eval.report.certificates_figures import certificates_figure
from clframe.eval.result import Result, Results

FILE = Path(__file__).parent / "promising.py"
STREAM = "permuted-digits(experiences=3)"
OPTIONS: dict[str, Any] = {"evaluate": "every(k=20)", "subset": 40, "lr": 0.1}


@pytest.fixture(scope="module")
def kept() -> Result:
    return replace(clframe.run(STREAM, f"{FILE}:keeping", attack=True, **OPTIONS), strategy="keeping")


@pytest.fixture(scope="module")
def broken() -> Result:
    return replace(clframe.run(STREAM, f"{FILE}:breaking", certify="every(k=40)", **OPTIONS), strategy="breaking")


@pytest.fixture(scope="module")
def other() -> Result:
    return clframe.run(STREAM, "finetune", **OPTIONS)


def changed(result: Result, **values: tuple[int, float]) -> Result:
    """The same run, had the last value of one experience been another."""
    assert result.certificates is not None
    table = result.certificates.copy()
    for name, (k, value) in values.items():
        table.loc[(table.n == result.curves.ends[-1]) & (table.evaluated == k) & (table.name == name), "value"] = value
    return replace(result, certificates=table)


def part_of(*results: Result) -> str:
    return html.render(Results(list(results))).partition("<h3>Certificates</h3>")[2].partition("<h3>")[0]


def test_the_page_has_a_part_for_each_strategy_that_promises(kept: Result, broken: Result, other: Result) -> None:
    page = html.render(Results([kept, other, broken]))
    assert page == html.render(Results([kept, other, broken]))
    assert page.count("<h3>Certificates</h3>") == 1
    part = part_of(kept, other, broken)
    assert re.findall(r"<b>(\w+)</b>", part) == ["keeping", "breaking"]
    assert part.count('aria-label="Accuracy and what is certified of it') == 2
    assert "The gap to the attack" in part and part.count("gap to<br>the attack") == 1
    assert "The gap to the attack" not in part_of(broken)
    assert "<h3>Certificates</h3>" not in html.render(Results([other]))
    with pytest.raises(OptionError, match="a run with a certificate table; got 'finetune'"):
        certificates_figure(other)


def test_a_kept_promise_is_told_with_what_can_be_lost(kept: Result) -> None:
    c = Certified.of(kept)
    most = int(np.argmax(c.bound))
    assert certificates.answer(c) == (
        "keeps every certified sample correct: the weights that answer for all 3 experiences lie in their boxes. While they do, "
        f"{certificates.can_be_lost(c.accuracy[most] - c.certified[most])}, on experience {most}; "
        f"{100 * c.certified.mean():.0f} % of the samples are certified."
    )
    assert "dotted" not in certificates.caption(c, columns=False)
    (line,) = certificates.terminal(Results([kept]))
    assert line == (
        f"certificates: keeping: {100 * c.certified.mean():.0f} % of samples certified; promises kept in 1 of 1 run, so "
        f"{certificates.can_be_lost(c.bound.max())} on experience {most}"
    )
    (line,) = certificates.terminal(Results([kept, replace(kept, seed=7)]))
    assert line.endswith(f" in 2 of 2 runs, so {certificates.can_be_lost(c.bound.max())} on experience {most} (seed {kept.seed})")


def test_a_broken_promise_is_told_with_where_the_weights_are(kept: Result, broken: Result) -> None:
    c = Certified.of(broken)
    first = int(np.argmin(c.containment))
    said = certificates.answer(c)
    assert said.startswith("has broken the promises of 2 of 3 experiences, so their certificates no longer hold: of experience ")
    assert f"of experience {first}, " in said and f"{int(c.wrong.sum())} certified samples are wrong by now." in said
    one = changed(changed(kept, kept=(1, 0.0)), containment=(1, 0.931))
    assert certificates.answer(Certified.of(one)).startswith(
        "has broken the promise of experience 1: 93 % of its weights lie in their boxes, so its certificates no longer hold. When"
    )
    assert "dotted where it no longer holds" in certificates.caption(c, columns=False)
    assert certificates.lines(c)[first][3] == "–"  # what can be lost
    (line,) = certificates.terminal(Results([broken]))
    share = f"{100 * c.containment[first]:.0f} % of those of experience {first}"
    assert line.endswith(f"promises kept in 0 of 1 run; the fewest weights in their boxes: {share}")


def test_of_several_seeds_the_worst_is_shown(kept: Result) -> None:
    worse = replace(changed(changed(kept, kept=(0, 0.0)), containment=(0, 0.5)), seed=4)
    part = part_of(kept, worse, replace(kept, seed=5))
    assert "has broken the promise of experience 0: 50 %" in part
    assert "All of this is seed 4; promises are kept to the end in 2 of 3 runs." in part


def test_the_table_is_that_of_the_metrics(kept: Result) -> None:
    table, curves = kept.certificates, kept.curves
    assert table is not None
    bounds = metrics.forgetting_bound(table, curves)
    for k, row in enumerate(certificates.lines(Certified.of(kept))):
        assert row[0] == str(k) and row[6] == "100" and len(row) == 8
        assert float(row[4]) == pytest.approx(bounds[k], abs=5e-4)
        assert float(row[2]) == pytest.approx(metrics.at_end(table, curves, "certified")[k], abs=5e-4)


def test_floors_are_dashed_while_the_promise_was_seen_kept(kept: Result, broken: Result) -> None:
    def floors(result: Result) -> list[tuple[list[float], float, str]]:
        found = []
        for x in certificates_figure(result).axes[0].lines:
            ys = np.asarray(x.get_ydata())
            if x.get_linestyle() == "--" and len(ys) == 2 and ys[0] == ys[1]:
                found.append((list(map(float, np.asarray(x.get_xdata()))), float(ys[0]), str(x.get_color())))
        return found

    c, ends = Certified.of(kept), kept.curves.ends
    assert [(at, height) for at, height, _ in floors(kept)] == [
        ([end, ends[-1]], pytest.approx(value)) for end, value in zip(ends, c.certified, strict=True)
    ]
    grey = [at for at, _, colour in floors(broken) if colour == "#6b7280"]
    assert grey == [[broken.curves.ends[0], ends[-1]], [broken.curves.ends[1], ends[-1]]]


def test_many_experiences_get_columns() -> None:
    result = clframe.run("rotated-digits(experiences=13)", f"{FILE}:breaking", **{**OPTIONS, "evaluate": "boundaries"})
    ax = certificates_figure(result).axes[0]
    assert ax.get_xlabel() == "experience" and len(ax.lines) == 3 * 13
    assert "from certified accuracy to accuracy" in part_of(result)


def test_where_the_answer_is_another_the_figure_says_so(kept: Result) -> None:
    """A strategy that must find out the experience of a sample predicts less than what it answers when told."""
    table = kept.rows.copy()
    table["correct"] = table["correct"] // 2
    found = replace(kept, rows=table)
    assert not Certified.of(found).answers and Certified.of(kept).answers
    assert "accuracy where the experience of each sample is told" in part_of(found)
    drawn = certificates_figure(found).axes[0].lines
    assert any(Certified.of(kept).accuracy[0] in np.asarray(x.get_ydata()) for x in drawn if x.get_linestyle() == "-")


def test_what_was_promised_for_a_while_only_is_left_out(kept: Result) -> None:
    assert kept.certificates is not None
    first = kept.certificates[kept.certificates.evaluated == 0]
    c = Certified.of(replace(kept, certificates=first))
    assert c.promised == 1 and "for the experience lie" in certificates.answer(c)
    assert certificates.lines(c)[2][1:] == ["–"] * 7
    never = replace(kept, certificates=first[first.n < 0])
    assert "<h3>Certificates</h3>" not in html.render(Results([never]))


def test_the_command_line_measures_tells_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "run",
        "--scenario",
        STREAM,
        "--jobs",
        "1",
        "--evaluate",
        "every(k=40)",
        "--subset",
        "40",
        "--out",
        str(tmp_path / "runs"),
    ]
    assert main([*words, "--strategy", f"{FILE}:keeping", "--certify", "every(k=40)", "--attack"]) == 0
    assert "% of samples certified; promises kept in 1 of 1 run" in " ".join(capsys.readouterr().out.split())
    assert main(["report", str(tmp_path / "runs"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    assert found["certificates"]["containment_final"] == 1 and len(found["certificates"]["forgetting_bound"]) == 3
    assert "<h3>Certificates</h3>" in (tmp_path / "runs" / "report.html").read_text()
    assert main([*words[:-1], str(tmp_path / "other"), "--strategy", "er", "--certify", "every"]) == 2
    assert "certify must be left out for Learner" in capsys.readouterr().err


def test_json_of_other_methods_is_as_before(other: Result) -> None:
    assert "certificates" not in as_dict(other)
