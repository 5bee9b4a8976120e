"""`python -m papers NAME`: run a study again, compare it with the paper, and renew REPRODUCED.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clframe.errors import ClframeError
from papers import reproduced, runner, tuning
from papers.study import SCALES, load, names


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run. Exit code 0: done, whether results agree or not; 2: something to mend in what was asked; 130: stopped."""
    made = argparse.ArgumentParser("python -m papers", description="Run results of papers again. What is finished is not repeated.")
    made.add_argument("what", nargs="*", help=f"papers to run ({', '.join(names())}), all, or table for REPRODUCED.md alone")
    made.add_argument("--data-dir", help="folder of data sets; the environment variable CLFRAME_DATA by default")
    made.add_argument("--scale", choices=SCALES, default="default", help="default: an hour of two cores or less; full: a GPU")
    made.add_argument("--out", type=Path, default=Path("runs/papers"), help="directory of the runs")
    made.add_argument("--jobs", type=int, default=runner.default_jobs(), help="runs at the same time")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    made.add_argument("--tune", action="store_true", help="make the trials on the validation split instead, and write tuning.json")
    given = made.parse_args(arguments)
    if not given.what:
        made.print_help()
        return 0
    asked = [n for n in given.what if n != "table"]
    try:
        for study in [load(n) for n in (names() if "all" in asked else asked)]:
            if not given.tune:
                runner.run(study, given.scale, data_dir=given.data_dir, out=given.out, jobs=given.jobs, device=given.device)
            elif study.grid is None:
                print(f"{study.name}: nothing is tuned", file=sys.stderr)
            else:
                tuning.tune(study, data_dir=given.data_dir, out=given.out, jobs=given.jobs)
    except ClframeError as error:
        print(f"python -m papers: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"Stopped. What had begun is saved in {given.out}: the same command goes on.", file=sys.stderr)
        return 130
    if not given.tune:
        print(reproduced.write())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
