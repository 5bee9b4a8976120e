"""The report: tables, figures and the HTML file, on simulated runs with a stability gap."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from clframe.errors import OptionError
from clframe.eval.budget import Budget
from clframe.eval.report import budgets, html, plots, published, tables, words
from clframe.eval.report.series import track, window
from clframe.eval.result import Result, Results

# how far a previous experience falls at a boundary, and how much of the fall is still there at the next one
KINDS = {"finetune": (1.0, 1.0), "er(size=500)": (0.8, 0.15), "lwf": (0.5, 0.5), "ewc(strength=100.0)": (0.6, 0.7)}


def simulate(
    strategy: str = "er(size=500)",
    seed: int = 0,
    experiences: int = 5,
    updates: int = 40,
    every: int = 1,
    scenario: str = "split-digits",
    finished: bool = True,
    stretch: int = 0,
) -> Result:
    """A run whose previous experiences fall within a few updates of each boundary and then come back, or do not."""
    draw = np.random.default_rng([seed, *strategy.encode()])
    depth, lasting = KINDS.get(strategy, (0.4 + 0.5 * draw.random(), draw.random()))
    ends = np.cumsum([updates + (stretch * seed * (k % 2)) for k in range(experiences)])
    level, rows, classes = np.full(experiences, 0.1), [], []
    total = 70

    def measure(n: int, trained: int, values: np.ndarray, which: range) -> None:
        for i in which:
            correct = int(np.clip(round(values[i] * total + draw.normal(0, 0.8)), 0, total))
            rows.append((strategy, seed, n, trained, i, correct, total, "full", 0.001, b""))
            if len(which) == experiences and n in (0, *ends):
                half = correct // 2
                classes.extend([(n, i, 2 * i, half, 35), (n, i, 2 * i + 1, correct - half, 35)])

    measure(0, -1, level, range(experiences))
    stopped = experiences if finished else experiences - 2
    for k in range(experiences):
        start = 0 if k == 0 else int(ends[k - 1])
        base = level.copy()
        for n in range(start + 1, int(ends[k]) + 1):
            s = n - start
            fall = depth * (1 - np.exp(-s / 3)) * (lasting + (1 - lasting) * np.exp(-s / 12))
            level[:k] = np.maximum(base[:k] * (1 - fall), 0)
            level[k] = 0.97 - (0.97 - base[k]) * np.exp(-s / 6)
            if n == ends[k]:
                measure(n, k, level, range(experiences))
            elif n % every == 0:
                measure(n, k, level, range(k + 1))
            if k == stopped and s >= updates // 2:
                break
        if k == stopped:
            break
    columns = ["run", "seed", "n", "trained", "evaluated", "correct", "total", "subset", "seconds", "bits"]
    cost = 1 + list(KINDS).index(strategy) if strategy in KINDS else 1
    budget = Budget(parameter_bytes=20_000 * cost, updates=int(ends[-1]), passes=1.0, train_flops=10**9 * cost)
    budget = replace(budget, eval_flops=3 * 10**9, train_seconds=0.5 * cost, eval_seconds=0.2, peak_bytes=4 * 10**8)
    return Result(
        strategy=strategy,
        scenario=scenario,
        seed=seed,
        spec={
            "scenario": scenario,
            "strategy": strategy,
            "seed": seed,
            "lr": 0.1,
            "model": {"name": "mlp", "hidden": [64, 64]},
        },
        rows=pd.DataFrame(rows, columns=columns),
        terms=pd.DataFrame({"n": [1], "term": ["loss"], "value": [0.1]}),
        classes=pd.DataFrame(classes, columns=["n", "evaluated", "label", "correct", "total"]),
        budget=budget,
        environment={"python": "3.12", "torch": "2"},
        finished=finished,
    )


def several(names: list[str] | None = None, seeds: int = 3, **options: int) -> Results:
    return Results([simulate(s, seed, **options) for s in names or list(KINDS) for seed in range(seeds)])


def test_headline_table_marks_best_means_and_ties() -> None:
    table = tables.frame(several())
    assert table.index.names == ["scenario", "strategy"]
    assert list(table.columns) == list(tables.HEADLINE)
    assert table.loc[("split-digits", "finetune"), "acc"].count("±") == 1
    rows = {r.strategy: r.cells for r in tables.lines(several())}
    for metric, best in (("acc", max), ("forgetting_first_last", min)):
        means = {s: c[metric].summary.mean for s, c in rows.items()}
        assert [means[s] for s, c in rows.items() if c[metric].best] == [best(means.values())]


def test_a_tie_is_said() -> None:
    twins = Results([replace(simulate(seed=s), strategy=name) for name, s in [("a", 0), ("a", 1), ("b", 2), ("b", 3)]])
    cells = {r.strategy: r.cells["acc"] for r in tables.lines(twins)}
    best, other = sorted(cells.values(), key=lambda c: -c.summary.mean)
    assert (best.best, best.tied, other.best, other.tied) == (True, False, False, True)
    assert "~: its interval overlaps" in tables.footnote(twins)


def test_numeric_frame_and_unknown_metric() -> None:
    numbers = tables.frame(several(["lwf"]), ["acc", "min_acc"], numeric=True)
    assert numbers[("acc", "n")].tolist() == [3.0]
    expected = np.mean([simulate("lwf", s).metrics.acc for s in range(3)])
    assert numbers[("acc", "mean")].iloc[0] == pytest.approx(expected)
    with pytest.raises(OptionError, match="min_acc"):
        tables.frame(several(["lwf"]), ["min_ac"])


def test_undefined_is_a_dash_and_one_seed_has_no_interval() -> None:
    alone = Results([simulate(experiences=1)])
    row = tables.frame(alone, ["acc", "min_acc"]).iloc[0]
    assert row["min_acc"] == "–"
    assert "±" not in row["acc"]
    assert np.isnan(tables.frame(alone, ["min_acc"], numeric=True)[("min_acc", "mean")].iloc[0])
    assert "one seed" in tables.footnote(alone)
    assert "<svg" in html.render(alone)


def test_unfinished_runs_are_marked_left_out_and_never_best() -> None:
    mixed = Results([simulate(), simulate(seed=2, finished=False), simulate("lwf", finished=False)])
    er, lwf = tables.lines(mixed)
    assert (er.seeds, er.unfinished, er.remark) == (1, 1, "+ 1 unfinished")
    assert lwf.remark == "unfinished"
    assert not any(c.best for c in lwf.cells.values())
    page = html.render(mixed)
    assert page.count("Unfinished: ") == 2
    assert words.story(mixed.of("lwf")).startswith("stands at 0.")
    assert "stopped after update 140 of split-digits" in page


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_tables_fit(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(tables.text(several()), budgets.text(several()))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    assert all(word in shown for word in ("FORG", "finetune"))


def test_markdown_and_latex() -> None:
    lines = published.markdown(several()).splitlines()
    assert lines[0].startswith("| strategy | ACC ↑ | forgetting ↓ |")
    assert {line.count("|") for line in lines[:6]} == {lines[0].count("|")}
    assert sum(cell.strip().startswith("*") for line in lines[2:6] for cell in line.split("|")) == len(tables.HEADLINE)
    odd = Results([replace(r, strategy="my_method(a=5%)") for r in several(["lwf"])])
    assert r"my\_method(a=5\%) & 0." in published.latex(odd)
    assert published.latex(odd).count(r"\\") == 2


def test_budget_ratios_and_sentence() -> None:
    rows = {r.strategy: dict(zip([c.title for c in budgets.COLUMNS], r.ratios, strict=True)) for r in budgets.spent(several())}
    assert rows["finetune"]["bytes kept"] == "×1"
    assert rows["lwf"]["bytes kept"] == "×3"
    assert rows["lwf"]["passes"] == ""
    assert budgets.equal(several()) == (
        "Not at equal budget: bytes kept differ by up to 4 times, training FLOPs differ by up to 4 times."
    )
    assert budgets.equal(Results([simulate(), replace(simulate(), strategy="b")])).startswith("Compared at equal budget")
    assert budgets.frame(several()).loc[("split-digits", "finetune"), "training FLOPs"] == 10**9


def test_tuning_is_declared_in_every_table() -> None:
    tuned = Results([replace(simulate(), spec={"options": {"tuning": "validation of experience 0"}})])
    assert tables.footnote(several()).endswith("no tuning declared.")
    for text in (tables.footnote(tuned), published.markdown(tuned), published.latex(tuned), html.render(tuned)):
        assert "tuning looked at: validation of experience 0" in text


def test_story_tells_the_gap_that_boundaries_hide() -> None:
    gap, forgetting = words.story(several(["er(size=500)"])), words.story(several(["finetune"]))
    assert "The boundaries hide its deepest gap" in gap
    worst = max((f for s in range(3) for f in words.falls(simulate(seed=s))), key=lambda f: f.hidden)
    curves = simulate(seed=worst.seed).curves
    n = curves.ends[worst.trained - 1] + worst.updates
    assert curves.accuracy[curves.times == n, worst.experience] == worst.low
    assert f"at {worst.low:.2f} only {worst.updates} updates after the switch, seed {worst.seed}" in gap
    assert "Its worst moment on a previous experience is 0.00" in forgetting


def test_notices_before_comparing() -> None:
    twice = Results([simulate(), simulate()])
    assert any("same seed was given more than once" in n for n in words.notices(twice))
    other = replace(simulate(seed=1), spec={**simulate(seed=1).spec, "lr": 0.01})
    assert any("differ in lr" in n for n in words.notices(Results([simulate(), other])))
    assert words.notices(several()) == []


def test_plan_and_subset_come_from_the_rows() -> None:
    assert words.plan(several(["lwf"])) == "measured after every update, on all 70 test samples of an experience"
    sparse = words.plan(Results([simulate(updates=44, every=10)]))
    assert "the largest gap between evaluations: 10 updates" in sparse
    rows = simulate().rows
    curve = rows.assign(subset="curve", total=35, correct=rows["correct"] // 2)
    both = pd.concat([rows[rows["n"].isin([0, 40, 80, 120, 160, 200])], curve])
    assert words.plan(Results([replace(simulate(), rows=both)])).endswith(
        "on a fixed subset of 35 test samples an experience, at the boundaries on all 70"
    )


def test_seeds_with_other_boundaries_meet_at_boundaries() -> None:
    both = track(Results([simulate(seed=0), simulate(seed=2, stretch=5)]), "er(size=500)")
    assert both.ends.tolist() == [40, 85, 125, 170, 210]
    for k, end in enumerate(both.ends):
        at = both.accuracy[:, both.times == end, k]
        assert (at > 0.9).all()  # each seed stands at the end of its own experience
    assert np.isnan(both.over_seen[:, 0]).all()  # nothing is seen at n = 0


def test_window_holds_the_depth_of_the_fall() -> None:
    curves = [simulate(seed=s).curves for s in range(3)]
    seen = window(curves, boundary=0, before=10, after=30)
    assert seen is not None
    assert (seen.offsets[0], seen.offsets[-1]) == (-10, 30)
    drops = [c.accuracy[40, 0] - c.accuracy[40:71, 0].min() for c in curves]
    assert seen.depth == pytest.approx(np.mean(drops))
    assert window(curves, boundary=4, before=10, after=30) is None


def test_figures_by_kind() -> None:
    one = plots.curves_figure(simulate())
    assert len([line for line in one.axes[0].lines if len(line.get_xdata()) > 30]) == 5
    assert plots.boundary_figure(several(), 4) is None
    many = plots.curves_figure(simulate(experiences=14, updates=5))
    assert len(many.axes[0].images) == 1
    assert simulate().figure().axes[0].get_xlabel() == "updates"


def test_page_is_self_contained_deterministic_and_escaped(tmp_path: Path) -> None:
    results = Results([*several(stretch=3), replace(simulate(), strategy="<b>$x$ & y")])
    page = html.write(results, tmp_path / "deep" / "report.html").read_text(encoding="utf-8")
    again = html.write(Results([*several(stretch=3), replace(simulate(), strategy="<b>$x$ & y")]), tmp_path / "b.html")
    assert page == again.read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)="(?!#)|url\((?!#)|@import|<script|<link', page)
    assert "<b>$x$" not in page
    assert "&lt;b&gt;$x$ &amp; y" in page
    assert "nan" not in re.sub(r"[A-Za-z]nan|nan[A-Za-z]", "", page.lower())
    assert [p.name for p in sorted(tmp_path.rglob("*")) if p.is_file()] == ["b.html", "report.html"]


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        html.write(Results([simulate()]), path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "old"


def test_several_scenarios_keep_one_colour_a_strategy() -> None:
    other = [simulate(s, scenario="permuted-digits", experiences=3) for s in ("lwf", "finetune")]
    page = html.render(Results([*several(["finetune", "lwf"], seeds=1), *other]))
    assert page.count('<section id="s') == 2
    sections = page.split('<section id="s')[1:]
    assert all('<span class="key k0"></span>finetune' in s and '<span class="key k1"></span>lwf' in s for s in sections)


def test_no_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="at least one run"):
        html.write(Results([]), tmp_path / "report.html")


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [500, 1400])
def test_nothing_overflows_in_a_browser(tmp_path: Path, width: int) -> None:
    page = html.render(several(["finetune", "er(size=500, memory='class-balanced', batch_size=10)"], seeds=2))
    probe = "<script>document.title = document.documentElement.scrollWidth - window.innerWidth</script></body>"
    path = tmp_path / "report.html"
    path.write_text(page.replace("</body>", probe).replace("<details>", "<details open>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    place = [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--dump-dom", path.as_uri()]
    shown = subprocess.run([str(CHROMIUM), *options, *place], capture_output=True, text=True, timeout=60, check=True).stdout
    assert [int(x) <= 0 for x in re.findall(r"<title>(-?\d+)</title>", shown)] == [True]
