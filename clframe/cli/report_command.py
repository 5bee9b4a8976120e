"""`clframe report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clframe.cli.output import print_results, told_apart
from clframe.cli.parsing import parse, parser


def main(arguments: Sequence[str]) -> int:
    """Compare any runs, finished or not."""
    from clframe.rundir import load

    made = parser(
        "report", "Compare the runs at or below DIR...: tables with intervals, curves, boundaries, budgets, in one HTML file."
    )
    made.add_argument("dirs", type=str, nargs="+", metavar="DIR", help="run directories, or directories that hold some")
    made.add_argument("--out", type=str | None, default=None, help="the HTML file; DIR/report.html of the first DIR by default")
    made.add_argument("--mixed", type=bool, default=False, help="one table although options were chosen in different ways; marked")
    made.add_argument("--table", type=str | None, default=None, help="also write the numbers: a file .md, .tex, .csv or .parquet")
    made.add_argument("--json", type=bool, default=False, help="print the metrics as JSON")
    given = parse(made, arguments)
    results = load(*given.dirs)
    results = told_apart(results) if given.mixed else results
    path = Path(given.out) if given.out else Path(given.dirs[0]) / "report.html"
    if given.table is not None:
        results.write(given.table)
    print_results(results, results.report(path), given.json)
    return 0
