"""`clframe check`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clframe.cli.parsing import parse, parser

if TYPE_CHECKING:
    from clframe.testing import Outcome


def main(arguments: Sequence[str]) -> int:
    """Run the conformance suite; 0 if all checks pass or are declared known failures, 1 if one fails."""
    made = parser("check", "Run the conformance suite on a strategy, scenario or memory of your own, or on a registered one.")
    made.add_argument("what", type=str, nargs="+", help="my_file.py:Cls, package.module:Cls or a name, with options: 'er(size=50)'")
    made.add_argument("--json", type=bool, default=False, help="print as JSON")
    given = parse(made, arguments)

    from clframe.testing import checks_for

    planned = {what: checks_for(what) for what in given.what}
    found: dict[str, list[Outcome]] = {}
    for what, checks in planned.items():
        found[what] = [check.outcome() for check in checks]
        if not given.json:
            _print(what, found[what])
    if given.json:
        print(json.dumps({what: [dataclasses.asdict(o) for o in outcomes] for what, outcomes in found.items()}, indent=1))
    return int(any(outcome.status == "failed" for outcomes in found.values() for outcome in outcomes))


SIGNS = {
    "passed": "[green]ok[/]     ",
    "failed": "[bold red]FAILED[/] ",
    "known failure": "[yellow]known[/]  ",
    "not applicable": "[dim]-[/]      ",
}


def _print(what: str, outcomes: Sequence[Outcome]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(what)}[/]")
    for outcome in outcomes:
        message = f": {outcome.message}" if outcome.message else ""
        console.print(SIGNS[outcome.status] + escape(outcome.name + message))
    counts = {status: sum(outcome.status == status for outcome in outcomes) for status in SIGNS}
    console.print(", ".join(f"{count} {status}" for status, count in counts.items() if count) + "\n")
