"""`clframe resume`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from clframe.cli.output import print_results, told_apart
from clframe.cli.parsing import parse, parser, progress


def main(arguments: Sequence[str]) -> int:
    """Continue stopped runs, and report."""
    from clframe.comparison import resume

    made = parser("resume", "Continue every unfinished run at or below DIR, exactly where it stopped.")
    made.add_argument("dirs", type=str, nargs="+", metavar="DIR", help="run directories, or directories that hold some")
    made.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at the same time")
    made.add_argument("--json", type=bool, default=False, help="print the metrics as JSON")
    given = parse(made, arguments)
    try:
        with progress(quiet=given.json) as tell:
            results = resume([Path(p) for p in given.dirs], jobs=given.jobs, progress=tell)
    except KeyboardInterrupt as stop:
        stop.add_note("What had begun is saved: run the same command again to go on.")
        raise
    results = told_apart(results)
    print_results(results, results.report(Path(given.dirs[0]) / "report.html"), given.json)
    return 0
