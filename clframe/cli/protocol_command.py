"""`clframe protocol`."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clframe.cli.parsing import parse, parser
from clframe.cli.study_progress import study_progress

if TYPE_CHECKING:
    from clframe.eval.protocol.outcome import Group
    from clframe.eval.protocol.study import Study


def main(arguments: Sequence[str]) -> int:
    """Carry out a study: tune, choose, evaluate, and say how far the choice can be trusted."""
    from clframe.eval.protocol import frozen, storage
    from clframe.eval.protocol.cases import Case
    from clframe.eval.protocol.conduct import conduct
    from clframe.eval.protocol.outcome import groups
    from clframe.eval.protocol.report import page
    from clframe.eval.protocol.study import read
    from clframe.eval.protocol.tables import markdown, plan
    from clframe.eval.report.html import save

    made = parser("protocol", "Carry out a study: methods x protocols x scenarios x seeds, tuned and evaluated in separate phases.")
    made.add_argument("study", type=str, help="YAML file of the study")
    made.add_argument("--out", type=str | None, default=None, help="directory of the study; studies/NAME by default")
    made.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at the same time")
    made.add_argument(
        "--executor", type=str, default="auto", help="in-process, processes, ray or ray://HOST:PORT; the numbers are equal"
    )
    made.add_argument("--data_dir", type=str | None, default=None, help="folder of data sets; CLFRAME_DATA by default")
    made.add_argument("--together", type=bool, default=False, help="also one table over all protocols, which marks them")
    made.add_argument("--json", type=bool, default=False, help="print the outcome as JSON")
    given = parse(made, arguments)

    study = read(given.study)
    if given.data_dir is not None:
        study = dataclasses.replace(study, options={**study.options, "data_dir": given.data_dir})
    out = Path(given.out) if given.out else Path("studies") / Path(given.study).stem

    def begin(cases: Sequence[Case]) -> None:
        if not given.json:
            for line in plan(study, cases):
                print(line, file=sys.stderr)

    try:
        with study_progress(quiet=given.json) as tell:
            entries = conduct(study, out, jobs=given.jobs, where=given.executor, progress=tell, begin=begin)
    except KeyboardInterrupt as stop:
        stop.add_note(f"What was done is kept in {out}: give the same command again to go on.")
        raise
    found = groups(study, entries)
    save(markdown(found, study), out / "study.md")
    content = json.dumps(outcome(study, found), indent=1, default=str)
    save(content + "\n", out / "study.json")
    frozen.write(out / "settings.json", study, entries)
    page.write(out / "study.html", study, entries, found, study.target)
    if study.search == "tpe":
        storage.write(out / "optuna.db", study, entries)
    if given.json:
        print(content)
    else:
        show(found, study, out, given.together)
    return 0


def outcome(study: Study, found: Sequence[Group]) -> dict[str, object]:
    """All of it for a program."""
    from clframe import __version__

    asked = {name: getattr(study, name) for name in ("name", "metric", "search", "trials", "equal", "validation", "seed")}
    seeds = {"tuning_seeds": list(study.tuning_seeds), "evaluation_seeds": list(study.evaluation_seeds)}
    return {
        "clframe": __version__,
        **asked,
        **seeds,
        "options": dict(study.options),
        "groups": [dataclasses.asdict(g) for g in found],
    }


def show(found: Sequence[Group], study: Study, out: Path, mixed: bool = False) -> None:
    """The tables on a terminal."""
    from rich.console import Console
    from rich.table import Table

    from clframe.eval.protocol.tables import COLUMNS, LEGEND, MARKS, TOGETHER, chosen, rows, tau, together

    console = Console()
    for group in found:
        console.print(f"[bold]{group.scenario}, {group.protocol}[/bold]: looks at {group.looks_at}", highlight=False)
        table = Table(box=None, padding=(0, 1, 0, 0))
        for i, column in enumerate(COLUMNS):
            table.add_column(column, justify="right" if i else "left", no_wrap=i > 0, overflow="fold")
        for cells in rows(group):
            table.add_row(*cells)
        console.print(table)
        for words in (*chosen(group, study), *filter(None, [tau(group)])):
            console.print(words, highlight=False)
        for warning in group.warnings:
            console.print(f"! {warning}", highlight=False)
        console.print()
    for streams in study.scenarios if mixed else ():
        table = Table(box=None, padding=(0, 1, 0, 0), title=f"{streams.name}, all protocols", title_justify="left")
        for i, column in enumerate(TOGETHER):
            table.add_column(column, justify="right" if i > 1 else "left", no_wrap=i > 1, overflow="fold")
        for cells in together(found, streams.name):
            table.add_row(*cells)
        console.print(table)
        console.print(MARKS, highlight=False)
        console.print()
    console.print(LEGEND, highlight=False)
    console.print(
        f"study: {out / 'study.html'}, study.md, study.json; chosen: settings.json; "
        f"its runs: clframe report {out / 'runs' / 'SCENARIO' / 'PROTOCOL'}",
        soft_wrap=True,
        highlight=False,
    )
