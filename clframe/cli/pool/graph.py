"""The graph of descent in text: a line a group of shards, oldest first."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clframe.generations import Record

NODES = {"real": "○", "synthetic": "●", "edited": "◆"}
_STROKES = {"ud": "│", "udr": "├", "udl": "┤", "udlr": "┼", "ur": "└", "ul": "┘", "ulr": "┴", "lr": "─", "": " "}
"""Box drawing by the sides that meet: up, down, left, right."""


@dataclass(slots=True)
class Group:
    """Shards of one kind and generation, by one model, with the same parents and the same children.

    Attributes:
        records: of the shards.
        parents: positions of the groups that they come from, without those that another one of them comes from.
    """

    records: list[Record] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Of all of its shards."""
        return sum(r.rows for r in self.records)


def grouped(records: Sequence[Record]) -> list[Group]:
    """The groups of a pool, in the order of their first shards."""
    from clframe.generations.ledger.descent import nearest_parents

    near, children = nearest_parents(records), defaultdict[str, list[str]](list)
    for name, parents in near.items():
        for parent in parents:
            children[parent].append(name)
    found: dict[object, Group] = defaultdict(Group)
    for r in records:
        found[r.kind, r.generation, near[r.id], tuple(children[r.id]), json.dumps(r.model, sort_keys=True)].records.append(r)
    groups = list(found.values())
    place = {r.id: i for i, group in enumerate(groups) for r in group.records}
    for group in groups:
        group.parents = sorted({place[p] for p in near[group.records[0].id]})
    return groups


def drawn(groups: Sequence[Group]) -> list[str]:
    """Strokes that join each group to its parents: a column stays open until the last child.

    Example:
        >>> from clframe.generations import Record
        >>> tree = {"a": "", "b": "", "c": "ab", "d": "b", "e": "cd"}
        >>> made = [Record(i, "real" if not p else "synthetic", 0, 1, 1, None, {}, tuple(p)) for i, p in tree.items()]
        >>> print("\\n".join(line.rstrip() for line in drawn(grouped(made))))
        ○
        │ ○
        ●─┤
        │ ●
        ●─┘
    """
    waiting = [0] * len(groups)
    for group in groups:
        for parent in group.parents:
            waiting[parent] += 1
    columns: list[int | None] = []
    lines, ended = [], -1
    for i, group in enumerate(groups):
        for parent in group.parents:
            waiting[parent] -= 1
        at = [columns.index(p) for p in group.parents]
        closing = [c for c, p in zip(at, group.parents, strict=True) if not waiting[p]]
        free = (c for c in range(len(columns) + 2) if (c >= len(columns) or columns[c] is None) and c != ended)
        column = min(closing) if closing else next(free)
        columns += [None] * (column + 1 - len(columns))
        lines.append(_line(columns, at, closing, column, NODES[group.records[0].kind]))
        for c in closing:
            columns[c] = None
        columns[column] = i if waiting[i] else None
        ended = -1 if waiting[i] else column  # the next line must not look as if it went on from here
    width = max(map(len, lines), default=0)
    return [line.ljust(width) for line in lines]


def _line(columns: Sequence[int | None], at: Sequence[int], closing: Sequence[int], column: int, node: str) -> str:
    low, high = min([*at, column]), max([*at, column])
    cells = []
    for c, holder in enumerate(columns):
        if c == column:
            stroke = node
        elif c in at:
            stroke = _STROKES["u" + "d" * (c not in closing) + "l" * (c > low) + "r" * (c < high)]
        else:
            stroke = _STROKES["ud" if holder is not None else "lr" if low < c < high else ""]
        cells.append(stroke + ("─" if low <= c < high else " "))
    return "".join(cells).rstrip()
