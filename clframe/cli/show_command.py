"""`clframe show`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from clframe.cli.parsing import parse, parser
from clframe.errors import RunError


def main(arguments: Sequence[str]) -> int:
    """Print a scenario; draw it with --figure."""
    from clframe.scenarios import describe
    from clframe.scenarios.catalog import build

    made = parser("show", "Print a scenario: its experiences, what it reveals; draw it with --figure.")
    made.add_argument("scenario", type=str, help="a name, with options as in split-digits(experiences=2), or a YAML file")
    made.add_argument("--figure", type=str | None, default=None, help="write a picture of the stream: .png, .svg or .pdf")
    made.add_argument("--seed", type=int, default=0, help="root of class order and samples")
    made.add_argument("--batch_size", type=int, default=10, help="samples an update, for the axis of the picture")
    made.add_argument("--epochs", type=int, default=1, help="passes over each experience")
    made.add_argument("--data_dir", type=str | None, default=None, help="folder of data sets; CLFRAME_DATA by default")
    made.add_argument("--json", type=bool, default=False, help="print as JSON")
    given = parse(made, arguments)

    stream = build(given.scenario, options={}, seed=given.seed, data_dir=given.data_dir)
    stream = stream.walked(batch_size=given.batch_size, epochs=given.epochs)
    if given.json:
        print(json.dumps(describe.describe(stream), indent=1))
    else:
        from rich.console import Console

        Console().print(describe.table(stream))
    if given.figure is not None:
        path = Path(given.figure)
        try:
            describe.figure(stream).savefig(path, dpi=150, bbox_inches="tight")
        except (OSError, ValueError) as error:
            raise RunError(f"{str(path)!r} must be a picture that can be written; {error}. Give --figure stream.png.") from error
        if not given.json:
            print(f"picture: {path}")
    return 0
