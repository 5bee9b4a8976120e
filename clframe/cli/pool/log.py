"""`clframe pool log`: the graph of descent."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clframe.cli.parsing import parse, parser
from clframe.cli.pool.graph import NODES, Group, drawn, grouped
from clframe.errors import bad_option

if TYPE_CHECKING:
    from clframe.generations import Ledger


def main(arguments: Sequence[str]) -> int:
    """Draw it, newest last."""
    made = parser(
        "pool log", "Draw where the shards of a pool come from, newest last. Lines join a shard to its nearest ancestors."
    )
    made.add_argument("pool", type=str, metavar="POOL", help="the folder")
    made.add_argument("--last", type=int, default=0, help="only so many lines; 0: all")
    made.add_argument("--svg", type=str | None, default=None, help="write it as a picture, too: a column a generation")
    made.add_argument("--json", type=bool, default=False, help="print all records as JSON")
    given = parse(made, arguments)
    if given.last < 0:
        raise bad_option("last", "zero or positive", given.last, "Give --last 20.")

    from clframe.generations import Ledger

    pool = Ledger(given.pool, create=False)
    records = pool.records()
    groups = grouped(records)
    if given.svg:
        from clframe.cli.pool.picture import draw

        draw(groups, given.svg)
    if given.json:
        print(json.dumps({"records": [r.as_dict() for r in records], **_totals(pool)}, indent=1))
        return 0
    lines = [_line(strokes, group) for strokes, group in zip(drawn(groups), groups, strict=True)]
    print("\n".join(lines[-given.last :]) if lines else f"{given.pool}: no shards yet")
    if records:
        print(_summary(pool))
    if left := pool.half_line():
        note = f"{given.pool}/log.jsonl ends in half a line, {left:,} bytes: a writer was stopped. The next append repairs it."
        print(note, file=sys.stderr)
    if given.svg:
        print(f"drawn: {given.svg}")
    return 0


def _line(strokes: str, group: Group) -> str:
    first, more = group.records[0], len(group.records) - 1
    model = ", ".join(f"{name} {str(value)[:12]}" for name, value in (first.model or {}).items())[:50]
    shards = f"and {more:,} more shard{'s' * (more > 1)}" if more else ""
    words = f"{first.short}  {first.kind:<9}  generation {first.generation:<3} {group.rows:>10,} rows"
    return "  ".join(filter(None, [strokes, words, shards, model]))


def _totals(pool: Ledger) -> dict[str, Any]:
    if not len(pool):
        return {"real_share": None, "effective_generations": None}
    return {"real_share": pool.real_share(), "effective_generations": pool.effective_generations()}


def _summary(pool: Ledger) -> str:
    found, there = _totals(pool), {r.kind for r in pool.records()}
    marks = "  ".join(f"{mark} {kind}" for kind, mark in NODES.items() if kind in there)
    return (
        f"{marks}    {len(pool):,} shards, {pool.rows():,} rows, {100 * found['real_share']:.3g} % real, "
        f"{found['effective_generations']:.3g} effective generations"
    )
