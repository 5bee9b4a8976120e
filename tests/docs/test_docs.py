"""The documentation runs: blocks of Python, commands, files, tables of options, links, examples."""

from __future__ import annotations

import inspect
import re
import runpy
import shlex
from collections.abc import Iterator
from dataclasses import fields
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from clframe import rundir
from clframe.cli.main import COMMANDS, main
from clframe.cli.main import __doc__ as CODES
from clframe.eval.budget import Budget
from clframe.eval.metrics import METRICS, compute, dip
from clframe.eval.report import format as fmt
from clframe.eval.report.tables import HEADLINE
from clframe.scenarios.catalog import KINDS, PREFIXES, build

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "bridges").glob("*.md"))]
LINKED = [*dict.fromkeys([*PAGES, *sorted((ROOT / "docs").glob("*/*.md"))]), ROOT / "CHANGELOG.md"]

NO_CODE = {
    # The loop as clframe/loop.py has it, with names of its own: to be read, not run.
    "for step, batch in experience.steps(after=resumed):",
}
NOT_RUN = {
    # Needs a GPU: its options are parsed, the run is not made.
    "--device cuda",
}
OTHER_COMMANDS = ("cd", "make", "pip")
"""Commands of the console blocks that are not clframe's."""
BY_ITSELF = ("avalanche",)
"""Pages that have a test of their own: this one needs the extra, and runs with Avalanche's warnings."""
CHEAPER = {
    "protocol": {"--jobs": "1"},
    "run": {"--jobs": "1", "--seeds": "1", "--evaluate": "every(k=20)"},
    "resume": {"--jobs": "1"},
}
"""Options given to a command that does not give them itself; --jobs and --seeds in any case."""


STUDY = """
methods: [finetune]
space: {lr: [0.01, 0.1]}
scenarios: split-digits(experiences=2)
protocols: [first-task]
trials: 1
seeds: 1
options: {evaluate: boundaries}
"""
"""In the place of the study in examples/, which takes minutes."""


class Block(NamedTuple):
    """A fenced block: its language, its first line's number, its text."""

    kind: str
    line: int
    text: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(found[1], text[: found.start(2)].count("\n") + 1, found[2])


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block, with what is printed below it."""
    lines = text.splitlines()
    for position, line in enumerate(lines):
        if line.startswith("$ "):
            yield line[2:], " ".join(" ".join(takewhile(lambda s: not s.startswith("$ "), lines[position + 1 :])).split())


def write_data(folder: Path) -> None:
    """The files and folders of data that the pages speak of."""
    import pandas as pd
    from PIL import Image

    rng = np.random.default_rng(0)
    weekly = pd.DataFrame({"week": np.arange(240) // 40, "hours": rng.normal(size=240), "visits": rng.normal(size=240)})
    weekly["churned"] = (weekly.hours + weekly.visits > 0).astype(int)
    weekly.to_csv(folder / "weekly.csv", index=False)
    weekly.to_parquet(folder / "weekly.parquet")
    features = rng.normal(size=(2500, 6)).astype(np.float32)
    losses = np.exp(features[:, 0])
    np.save(folder / "features.npy", features)
    np.save(folder / "losses.npy", losses)
    pool = {"embedding": list(features), "loss": losses, "label": np.arange(2500) % 4}
    pd.DataFrame(pool).to_parquet(folder / "pool.parquet", index=False)
    for name in ("sensor-a", "sensor-b"):
        u = rng.normal(size=60)
        pd.DataFrame({"u": u, "v": rng.normal(size=60), "label": np.where(u > 0, "on", "off")}).to_csv(
            folder / f"{name}.csv", index=False
        )
    for name in ("ant", "bee", "cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(folder / "photos" / name / f"{i}.png")


def run_command(command: str, printed: str, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run one command, cheaper than written; where an error is printed below it, that one must come."""
    words = shlex.split(command, comments=True)
    words, target = (words[:-2], Path(words[-1])) if words[-2:-1] == [">"] else (words, None)
    if words[0] in OTHER_COMMANDS:
        return
    assert words[0] == "clframe", f"{where}: neither clframe nor one of {OTHER_COMMANDS}: {command}"
    arguments = words[1:]
    for option, value in CHEAPER.get(arguments[0], {}).items():
        if option not in arguments or option in ("--jobs", "--seeds"):
            arguments += [option, value]
    if any(part in command for part in NOT_RUN):
        arguments.append("--print_config")
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    refused = printed.startswith("clframe ")
    assert code == (2 if refused else 0), f"{where}: {command}\n{err}"
    if refused:
        assert " ".join(err.split()) == printed, where
    if target is not None:
        target.write_text(out)


@pytest.mark.parametrize("page", [p for p in PAGES if p.stem not in BY_ITSELF], ids=lambda p: p.stem)
def test_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "study.yaml").write_text(STUDY)
    rng = np.random.default_rng(0)
    names: dict[str, Any] = {"x": rng.normal(size=(200, 12)).astype(np.float32), "y": np.arange(200) % 10}
    for block in blocks(page):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.kind == "python" and not any(block.text.startswith(first) for first in NO_CODE):
            exec(compile(block.text, where, "exec", dont_inherit=True), names)
        elif block.kind == "yaml":
            name = re.match(r"# (\S+\.yaml)\n", block.text)
            assert name, f"{where}: must begin with the name of the file"
            Path(name[1]).write_text(block.text)
        elif block.kind == "console":
            for command, printed in commands(block.text):
                run_command(command, printed, where, capsys)


@pytest.mark.parametrize("page", LINKED, ids=lambda p: "/".join(p.relative_to(ROOT).parts))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$|`[^`\n]*`(?!\])", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if not path.startswith(("http:", "https:")):
            found = (page.parent / path).resolve() if path else page
            assert found.exists(), target
            if anchor:
                assert anchor in {slug(h) for h in re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)}, (
                    target
                )


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def sections(page: str) -> dict[str, str]:
    """Text by the names in backticks of each third-level heading."""
    parts = re.split(r"^### (.*)$", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: body for heading, body in zip(parts[1::2], parts[2::2], strict=True) for name in re.findall("`(.+?)`", heading)}


def rows(text: str) -> list[list[str]]:
    """The cells of every row of the tables in a text, heads and rules included."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_every_metric_is_on_the_page_with_its_name_direction_unit_and_example() -> None:
    values = compute(dip(), METRICS)
    expected = [
        [f"`{m.name}`", fmt.metric_name(m.name), m.better or "neither", m.unit, "null" if v is None else f"{round(v, 4):g}"]
        for m, v in zip(METRICS.values(), values.values(), strict=True)
    ]
    table = [row for row in rows((ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")) if len(row) == 5]
    assert table[2:] == expected
    assert list(sections("metrics.md")) == list(METRICS)
    headline = rows((ROOT / "docs" / "metrics.md").read_text(encoding="utf-8").partition("\n## Which")[0])
    assert [row[1].strip("`") for row in headline[2:]] == list(HEADLINE)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_says_when_it_is_null_its_reference_and_every_difference(name: str) -> None:
    text = sections("metrics.md")[name]
    function = METRICS[name].function
    docstring = getattr(function, "func", function).__doc__ or ""
    if METRICS[name].better is not None or "Null" in text:
        assert "Null" in text
    assert "Reference" in text
    assert re.search(r"^    \S", text, re.MULTILINE), "an equation"
    told = [int(i) for i in re.findall(r"^(\d)\. ", text, re.MULTILINE)]
    numbered = [int(i) for i in re.findall(r"(\d)\. ", docstring.partition("Differences:")[2])]
    if name != "recovery_time_median":  # it tells the differences of recovery_table, which is no metric
        assert told == sorted(numbered)


def test_every_kind_and_prefix_is_on_the_page() -> None:
    assert set(sections("scenarios.md")) == set(KINDS.names())
    text = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    told = {row[0].strip("`-"): re.findall("`(.+?)`", row[1])[0] for row in rows(text) if row[0].endswith("-`")}
    assert told == PREFIXES


@pytest.mark.parametrize("kind", KINDS.names())
def test_the_options_of_a_kind_are_those_of_its_function(kind: str) -> None:
    options = {
        name: "required" if p.default is p.empty else f"`{p.default!r}`"
        for name, p in inspect.signature(KINDS.load(kind)).parameters.items()
        if name not in ("data", "seed", "name")
    }
    assert {row[0].strip("`"): row[1] for row in rows(sections("scenarios.md")[kind])[2:]} == options


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_kind_reveals_what_the_page_says(prefix: str) -> None:
    told = re.search(r"^Reveals: (.*)\.$", sections("scenarios.md")[PREFIXES[prefix]], re.MULTILINE)
    assert told
    assert told[1] == (", ".join(sorted(build(f"{prefix}-digits").reveals.names())) or "nothing")


def test_the_page_of_runs_names_every_file_every_column_and_every_exit_code() -> None:
    text = (ROOT / "docs" / "runs.md").read_text(encoding="utf-8")
    files = re.findall(r"(\w+\.(?:json|pt|parquet|html))", rundir.__doc__ or "")
    assert len(files) > 8
    assert [name for name in files if f"`{name}`" not in text] == []
    budget = [row[0].strip("`") for row in rows(text.partition("## The budget ledger")[2])[2:]]
    assert budget == [f.name for f in fields(Budget)]
    table = rows(text.partition("## Exit codes")[2].partition("\n## ")[0])[2:]
    assert {code for row in table for code in row[0].split(", ")} == set(
        re.findall(r"\b\d+\b", (CODES or "").partition("Exit codes:")[2])
    )


def test_every_command_is_shown_somewhere() -> None:
    shown = {shlex.split(c)[1] for p in PAGES for b in blocks(p) if b.kind == "console" for c, _ in commands(b.text) if " " in c}
    assert set(COMMANDS) <= shown


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("stability_gap", "back after"),
        ("own_method", "er_with_warm_up"),
        ("own_table", "joint"),
        ("quick_start", "measurements of 5 experiences"),
        ("protocols", "end-of-training"),
        ("coreset", "sensitivity mean loss"),
        ("generations", "accumulate"),
    ],
)
def test_an_example_runs(
    script: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = ROOT / "examples" / f"{script}.py"
    assert len(file.read_text().splitlines()) < 40
    runpy.run_path(str(file), run_name="__main__")
    assert expected in capsys.readouterr().out
    if script == "stability_gap":
        assert {p.name for p in tmp_path.iterdir()} == {"stability-gap-finetune.svg", "stability-gap-er.svg"}
