"""`clframe generations`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clframe.cli.parsing import parse, parser, progress

if TYPE_CHECKING:
    from clframe.generations.outcome import Outcome
    from clframe.generations.study import Study


PRINTED = (0, 2, 3, 4, 5)
"""Columns of the table that a terminal has room for; the files have all."""


def main(arguments: Sequence[str]) -> int:
    """Carry out a study of generations: models that train on what models made."""
    from clframe.generations.study import conduct, estimate, read

    made = parser("generations", "Models that train on what models made: generators x policies x seeds, measured on real data.")
    made.add_argument("study", type=str, help="YAML file of the study; the keys are in docs/generations.md")
    made.add_argument("--out", type=str | None, default=None, help="directory of the study; generations/NAME by default")
    made.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    made.add_argument("--executor", type=str, default="auto", help="in-process, processes, ray or ray://HOST:PORT")
    made.add_argument("--data_dir", type=str | None, default=None, help="folder of data sets; CLFRAME_DATA by default")
    made.add_argument("--dry_run", type=bool, default=False, help="say what would be done, and do nothing")
    made.add_argument("--json", type=bool, default=False, help="print the outcome as JSON")
    given = parse(made, arguments)

    study = read(given.study, given.data_dir)
    out = Path(given.out) if given.out else Path("generations") / Path(given.study).stem
    guess = estimate(study)
    print(guess.words(), file=sys.stdout if given.dry_run else sys.stderr)
    if given.dry_run:
        return 0
    try:
        with progress(quiet=given.json, unit="generations") as tell:
            found = conduct(study, out, jobs=given.jobs, where=given.executor, progress=tell)
    except KeyboardInterrupt as stop:
        stop.add_note(f"Whole generations are kept in {out}: give the same command again to go on.")
        raise
    from clframe.generations.outcome import outcomes

    told = outcomes(found)
    content = _write(study, told, out, Path(given.study).stem, guess.words())
    if given.json:
        print(content)
    else:
        show(told, out)
    return 0


def _write(study: Study, told: Sequence[Outcome], out: Path, name: str, planned: str) -> str:
    """The table as Markdown, JSON and Parquet, and the page; what the JSON says."""
    from clframe import __version__
    from clframe.eval.report import generations as report
    from clframe.eval.report.html import save
    from clframe.generations.outcome import frame
    from clframe.generations.theory import LABEL

    table = frame(told)
    table.to_parquet(out / "study.parquet", index=False)
    rows = json.loads(table.to_json(orient="records"))
    expected = {
        f"{o.generator}, {o.policy}": {key: values.tolist() for key, values in _expected(o).items()} for o in told if _expected(o)
    }
    content = json.dumps(
        {"clframe": __version__, "data": study.data, "theory": LABEL, "expected": expected, "rows": rows}, indent=1
    )
    save(content + "\n", out / "study.json")
    save(report.markdown(told, name, LABEL), out / "study.md")
    facts = [f"Real data: {study.data}. {study.generations} generations, {len(study.seeds)} seeds. {planned}."]
    galleries = {(o.generator, o.policy): gallery(o) for o in told}
    save(report.render(told, f"Generations: {name}", facts, galleries, LABEL), out / "study.html")
    return content


def _expected(o: Outcome) -> Mapping[str, Any]:
    return {key: v for key, v in (("loss", o.expected_loss), ("variance", o.expected_variance)) if v is not None}


def gallery(o: Outcome) -> list[tuple[str, Mapping[str, Any]]]:
    """Some rows of the real data, of the first and of the last generation, of the first seed."""
    from clframe.generations import Ledger

    pool = Ledger(o.pools[0], create=False)
    last = o.loss.shape[1]
    wanted = {0: "real", 1: "generation 1", last: f"generation {last}"}
    records = {r.generation: r for r in pool.records()}
    shown = {g: {k: v[:10] for k, v in pool.read(records[g].id).items()} for g in wanted if g in records}
    return [(wanted[g], rows) for g, rows in shown.items()]


def show(told: Sequence[Outcome], out: Path) -> None:
    """The tables on a terminal."""
    from rich.console import Console
    from rich.table import Table

    from clframe.eval.report.generations import COLUMNS, HELP, lines, theory_lines
    from clframe.eval.report.style import short_names
    from clframe.generations.theory import LABEL

    console = Console()
    for generator in dict.fromkeys(o.generator for o in told):
        some = [o for o in told if o.generator == generator]
        table = Table(box=None, padding=(0, 1, 0, 0), title=generator, title_justify="left")
        for i in PRINTED:
            table.add_column(COLUMNS[i], justify="right" if i else "left", no_wrap=i > 0, overflow="fold")
        for name, cells in zip(short_names([o.policy for o in some], 24), lines(some), strict=True):
            table.add_row(name, *(cells[i] for i in PRINTED[1:]))
        console.print(table)
        for line in theory_lines(some, LABEL):
            console.print(line, highlight=False, markup=False)
    console.print(HELP, highlight=False)
    console.print(f"study: {out / 'study.html'}, study.md, study.json, study.parquet", soft_wrap=True, highlight=False)
