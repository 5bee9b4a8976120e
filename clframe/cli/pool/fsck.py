"""`clframe pool fsck`: prove a pool."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from clframe.cli.parsing import parse, parser, progress


def main(arguments: Sequence[str]) -> int:
    """Read every file; print what is wrong and what to do; 1 if anything is."""
    made = parser("pool fsck", "Prove every hash of a pool, its log and its descent. Reads every file once; changes nothing.")
    made.add_argument("pool", type=str, metavar="POOL", help="the folder")
    made.add_argument("--json", type=bool, default=False, help="print the faults as JSON")
    given = parse(made, arguments)

    from clframe.generations import Ledger

    pool = Ledger(given.pool, create=False)
    with progress() as tell:
        found = pool.fsck(None if tell is None else lambda done, whole: tell("shards", done, whole))
    if given.json:
        print(json.dumps([asdict(fault) for fault in found], indent=1))
    else:
        for fault in found:
            print(f"{fault.kind}: {fault.where} {fault.what}\n    {fault.remedy}")
        if not found:
            print(f"{given.pool}: {len(pool):,} shards, {pool.rows():,} rows; every hash is right")
        else:
            print(f"{given.pool}: {len(found):,} faults")
    return 1 if found else 0
