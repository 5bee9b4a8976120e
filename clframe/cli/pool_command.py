"""`clframe pool`: add, log, show, fsck, check."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from clframe.errors import unknown_name

ACTIONS = {
    "add": "append files to a pool",
    "log": "draw the graph of descent",
    "show": "everything about a shard or a generation",
    "fsck": "prove every hash; exit 1 if anything is wrong",
    "check": "the alarms of collapse; exit 1 if one rings",
}


def main(arguments: Sequence[str]) -> int:
    """`clframe pool ACTION POOL`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: clframe pool ACTION POOL [options]        clframe pool ACTION --help\n")
        print("\n".join(f"  {name:<6} {what}" for name, what in ACTIONS.items()))
        return 0 if arguments else 2
    if arguments[0] not in ACTIONS:
        raise unknown_name("action", arguments[0], ACTIONS)
    code: int = importlib.import_module(f"clframe.cli.pool.{arguments[0]}").main(arguments[1:])
    return code
