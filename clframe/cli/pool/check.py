"""`clframe pool check`: the alarms of collapse, for a person or for continuous integration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clframe.cli.parsing import parse, parser, progress
from clframe.errors import OptionError

if TYPE_CHECKING:
    from clframe.generations.alarms import Checked


def main(arguments: Sequence[str]) -> int:
    """Print every alarm; 1 if one rings."""
    made = parser("pool check", "Compare generated rows with real ones, and exit 1 if an alarm of collapse rings.")
    made.add_argument("pool", type=str | None, nargs="?", default=None, metavar="POOL", help="the folder")
    made.add_argument("--generation", type=int | None, default=None, help="by default the newest")
    made.add_argument("--real", type=str | None, default=None, metavar="FILE", help="real rows that no model was trained on")
    made.add_argument("--thresholds", type=str | None, default=None, metavar="FILE", help="YAML; see --print-thresholds")
    made.add_argument("--print_thresholds", type=bool, default=False, help="print the thresholds that are used, as YAML, and end")
    made.add_argument("--json", type=bool, default=False, help="print the alarms as JSON")
    given = parse(made, arguments)

    from clframe.generations.alarms import Thresholds, check
    from clframe.generations.alarms.thresholds import as_yaml, read

    limits = Thresholds() if given.thresholds is None else read(given.thresholds)
    if given.print_thresholds:
        print(as_yaml(limits), end="")
        return 0
    if given.pool is None:
        raise OptionError("clframe pool check must have a pool; got none. Give its folder: clframe pool check POOL.")

    from clframe.generations import Ledger
    from clframe.generations.alarms.from_pool import gather

    data = gather(Ledger(given.pool, create=False), given.generation, None if given.real is None else _outside(given.real))
    with progress(unit="measures") as tell:
        found = check(data, limits, None if tell is None else lambda done, whole: tell("alarms", done, whole))
    print(json.dumps(_as_dict(found), indent=1) if given.json else _text(found))
    return 1 if found.rings else 0


def _outside(name: str) -> dict[str, Any]:
    """The rows of a file, as the pool would store them."""
    from clframe.cli.pool.files import check_file, rows_of
    from clframe.generations.ledger.table import arrays, arrow_table

    check_file(name)
    return arrays(arrow_table(rows_of(name)))


def _as_dict(found: Checked) -> dict[str, Any]:
    alarms = [{k: _plain(v) for k, v in alarm.as_dict().items()} for alarm in found.alarms]
    return {"generation": found.generation, "rings": found.rings, "alarms": alarms, "left_out": found.left_out}


def _plain(value: Any) -> Any:
    """JSON has no infinity."""
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _text(found: Checked) -> str:
    rows = [("alarm", "value", "by chance", "threshold", "rings", "means")]
    for one in found.alarms:
        chance = f"{one.low:.4g} to {one.high:.4g}"
        rows.append((one.name, f"{one.value:.4g}", chance, f"{one.threshold:.4g}", "RINGS" if one.rings else "no", one.means))
    widths = [max(len(row[c]) for row in rows) for c in range(5)]
    lines = ["  ".join([*(f"{row[c]:<{widths[c]}}" for c in range(5)), row[5]]) for row in rows]
    if found.left_out:
        lines.append(f"not measured, for want of losses, numbers, texts or rows: {', '.join(found.left_out)}")
    ring = [one.name for one in found.alarms if one.rings]
    said = (
        f"{len(ring)} of {len(found.alarms)} alarms ring: {', '.join(ring)}"
        if ring
        else f"none of {len(found.alarms)} alarms rings"
    )
    return "\n".join([*lines, f"generation {found.generation}: {said}"])
