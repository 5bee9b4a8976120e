"""`clframe select materialize`: the rows of a coreset, from the data that it was chosen from."""

from __future__ import annotations

from collections.abc import Sequence

from clframe.cli.parsing import parse, parser


def main(arguments: Sequence[str]) -> int:
    """Write them."""
    made = parser("select materialize", "Write the rows of a coreset, with their weights.")
    made.add_argument("folder", type=str, metavar="DIR", help="the folder of a coreset")
    made.add_argument("data", type=str, nargs="+", metavar="DATA", help="what it was chosen from, or other data with the same rows")
    made.add_argument("--out", type=str, required=True, help="a .parquet file, or .npy for .npy data")
    given = parse(made, arguments)

    from clframe.selection import load
    from clframe.selection.materialize import materialize

    coreset = load(given.folder)
    print(f"{len(coreset):,} rows written: {materialize(coreset, given.data, given.out)}")
    return 0
