"""The graph of descent: pure functions of records, in the order of appending, so that parents come first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from clframe.errors import DataError
from clframe.generations.ledger.record import Record


def ancestors(records: Sequence[Record], name: str) -> list[Record]:
    """Everything that a shard comes from, oldest first.

    Example:
        >>> made = [Record(i, "real", 0, 1, 1, None, {}, p) for i, p in (("a", ()), ("b", ("a",)), ("c", ("b",)), ("d", ()))]
        >>> [r.id for r in ancestors(made, "c")], [r.id for r in descendants(made, "a")]
        (['a', 'b'], ['b', 'c'])
    """
    wanted = {name}
    for record in reversed(records):
        if record.id in wanted:
            wanted.update(record.parents)
    return [r for r in records if r.id in wanted and r.id != name]


def descendants(records: Sequence[Record], name: str) -> list[Record]:
    """Everything that comes from a shard, oldest first."""
    found = {name}
    for record in records:
        if not found.isdisjoint(record.parents):
            found.add(record.id)
    return [r for r in records if r.id in found and r.id != name]


def nearest_parents(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """Of the parents of each shard those that are not an ancestor of another one of them: the fewest lines that show all descent.

    The transitive reduction of the graph. Models that are trained on everything so far make a chain.

    Example:
        >>> made = [Record(i, "real", 0, 1, 1, None, {}, p) for i, p in (("a", ()), ("b", ("a",)), ("c", ("a", "b")))]
        >>> nearest_parents(made)["c"]
        ('b',)

    Reference: Aho, Garey, Ullman, "The transitive reduction of a directed graph", 1972.
    """
    bits = {record.id: 1 << i for i, record in enumerate(records)}
    above: dict[str, int] = {}
    found = {}
    for record in records:
        parents = [p for p in record.parents if p in above]
        implied = 0
        for p in parents:
            implied |= above[p]
        found[record.id] = tuple(p for p in parents if not bits[p] & implied)
        for p in found[record.id]:
            implied |= bits[p]
        above[record.id] = implied
    return found


def real_share(records: Sequence[Record]) -> float:
    """Real rows over all rows.

    Raises:
        DataError: no rows.
    """
    return sum(r.rows for r in records if r.kind == "real") / _rows(records)


def effective_generations(records: Sequence[Record]) -> float:
    """1 / sum_g share_g², share_g the share of rows of generation g: 1 where all are of one, G where G have equally many.

    Raises:
        DataError: no rows.

    Example:
        >>> made = [Record(str(g), "real", g, 50, 1, None, {}) for g in range(4)]
        >>> effective_generations(made), real_share(made)
        (4.0, 1.0)
    """
    counts: Counter[int] = Counter()
    for record in records:
        counts[record.generation] += record.rows
    return _rows(records) ** 2 / sum(n * n for n in counts.values())


def _rows(records: Sequence[Record]) -> int:
    found = sum(r.rows for r in records)
    if not found:
        raise DataError("the pool must have rows to say their shares; got none. Append a shard first.")
    return found
