"""`clframe select inspect`: what a coreset is."""

from __future__ import annotations

import json
from collections.abc import Sequence

from clframe.cli.parsing import parse, parser
from clframe.cli.select.printed import print_coreset
from clframe.errors import bad_option


def main(arguments: Sequence[str]) -> int:
    """Print it."""
    made = parser("select inspect", "Print what a coreset is and where it came from. clframe select report draws it.")
    made.add_argument("folder", type=str, metavar="DIR", help="the folder of a coreset")
    made.add_argument("--rows", type=int, default=5, help="how many of the most and least weighted samples to print")
    made.add_argument("--json", type=bool, default=False, help="print the manifest as JSON")
    given = parse(made, arguments)
    if given.rows < 0:
        raise bad_option("rows", "zero or positive", given.rows, "Give --rows 5.")

    from clframe.selection import load

    coreset = load(given.folder)
    if given.json:
        print(json.dumps(coreset.manifest, indent=1))
        return 0
    print_coreset(coreset)
    table = coreset.table().sort_values("weight", ascending=False, kind="stable")
    parts = {"most weight": table.head(given.rows), "least weight": table.tail(given.rows)}
    if table["weight"].nunique() == 1:
        parts = {"all weights are equal; the first rows": table.head(given.rows)}
    for what, some in parts.items():
        if len(some):
            print(f"\n{what}")
            print(some.to_string(index=False, float_format=lambda v: f"{v:.4g}"))
    return 0
