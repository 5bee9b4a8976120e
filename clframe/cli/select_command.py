"""`clframe select`: choose, compare, dedup, inspect, materialize, report."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

ACTIONS = ("compare", "dedup", "inspect", "materialize", "report")


def main(arguments: Sequence[str]) -> int:
    """`clframe select DATA`, or one of the actions."""
    action = arguments[0] if arguments and arguments[0] in ACTIONS else None
    file = importlib.import_module(f"clframe.cli.select.{action or 'choose'}")
    code: int = file.main(arguments[1:] if action else arguments)
    return code
