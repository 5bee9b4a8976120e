"""`clframe pool show`: everything about a shard, or a generation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clframe.cli.parsing import parse, parser
from clframe.errors import OptionError, bad_option

if TYPE_CHECKING:
    from clframe.generations import Ledger, Record


def main(arguments: Sequence[str]) -> int:
    """Print it."""
    made = parser(
        "pool show", "Everything about a shard: its record, where it comes from, what came from it. Or about a generation."
    )
    made.add_argument("pool", type=str, metavar="POOL", help="the folder")
    made.add_argument("id", type=str | None, nargs="?", default=None, metavar="ID", help="of a shard, or the beginning of it")
    made.add_argument("--generation", type=int | None, default=None, help="all shards of this generation instead")
    made.add_argument("--json", type=bool, default=False, help="print it as JSON")
    given = parse(made, arguments)
    if (given.id is None) == (given.generation is None):
        raise OptionError("clframe pool show must have an id or a generation; got both or neither. See clframe pool log.")

    from clframe.generations import Ledger

    pool = Ledger(given.pool, create=False)
    found = _shard(pool, given.id) if given.generation is None else _generation(pool, given.generation)
    print(json.dumps(found, indent=1) if given.json else _text(found))
    return 0


def _shard(pool: Ledger, name: str) -> dict[str, Any]:
    record = pool.record(name)
    above, below = pool.ancestors(record.id), pool.descendants(record.id)
    return {
        **record.as_dict(),
        "file": str(pool.path(record.id)),
        "parents": [_line(pool.record(p)) for p in record.parents],
        "ancestors": _counted(pool, above),
        "descendants": _counted(pool, below),
    }


def _generation(pool: Ledger, generation: int) -> dict[str, Any]:
    records = pool.records()
    here = [r for r in records if r.generation == generation]
    if not here:
        there = ", ".join(str(g) for g in sorted({r.generation for r in records})) or "none"
        raise bad_option("generation", f"one that the pool has: {there}", generation, "See clframe pool log.")
    names = {p for r in here for p in r.parents}
    models = list({json.dumps(r.model, sort_keys=True): r.model for r in here if r.model}.values())
    return {
        "generation": generation,
        **_counted(pool, here),
        "models": models,
        "shards": [_line(r) for r in here],
        "parents": _counted(pool, [r for r in records if r.id in names]),
        "pool": _counted(pool, records),
    }


def _counted(pool: Ledger, records: list[Record]) -> dict[str, Any]:
    """Shards and rows, by kind and generation; shares where there are rows."""
    kinds, ages = Counter[str](), Counter[int]()
    for r in records:
        kinds[r.kind] += r.rows
        ages[r.generation] += r.rows
    found: dict[str, Any] = {"number": len(records), "rows": sum(kinds.values())}
    if records:
        names = [r.id for r in records]
        found |= {"rows by kind": dict(kinds), "rows by generation": {str(g): n for g, n in sorted(ages.items())}}
        found |= {"real share": round(pool.real_share(names), 6)}
        found |= {"effective generations": round(pool.effective_generations(names), 6)}
    return found


def _line(r: Record) -> dict[str, Any]:
    return {"id": r.id, "kind": r.kind, "generation": r.generation, "rows": r.rows}


def _text(found: dict[str, Any]) -> str:
    """The same for a person: a line a value, lists and mappings below their name."""
    lines = []
    for name, value in found.items():
        name = name.replace("_", " ")
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{name}:", *(f"  {'  '.join(map(_word, each.values())) if 'id' in each else _word(each)}" for each in value)]
        elif isinstance(value, dict) and value:
            lines += [f"{name}:", *(f"  {key:<22} {_word(v)}" for key, v in value.items())]
        elif value not in (None, [], {}):
            lines.append(f"{name + ':':<24} {_word(value)}")
    return "\n".join(lines)


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_word(v)}" for key, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_word, value[:20])) + (f", ... ({len(value):,})" if len(value) > 20 else "")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
