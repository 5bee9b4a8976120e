"""`clframe log`."""

from __future__ import annotations

from collections.abc import Sequence

from clframe.cli.parsing import parse, parser


def main(arguments: Sequence[str]) -> int:
    """Send runs to dashboards."""
    from clframe.eval.boards import check
    from clframe.rundir import load

    made = parser("log", "Send the runs at or below DIR... to dashboards, finished or not; what they have is not sent again.")
    made.add_argument("dirs", type=str, nargs="+", metavar="DIR", help="run directories, or directories that hold some")
    made.add_argument("--to", type=str, default="tensorboard", help="tensorboard, mlflow, wandb; several with commas")
    given = parse(made, arguments)
    check(given.to)
    results = load(*given.dirs)
    for result in results:
        result.log(given.to)
        print(f"{result.strategy}, seed {result.seed}: {len(result.updates)} measured updates to {given.to}")
    return 0
