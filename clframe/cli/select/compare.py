"""`clframe select compare`: methods side by side, on known losses."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clframe.cli.parsing import parse, parser, progress
from clframe.cli.select.data import data_options, pool_named
from clframe.errors import bad_option

if TYPE_CHECKING:
    from rich.table import Table

    from clframe.selection import Pool
    from clframe.selection.trial import Comparison, Trial


def main(arguments: Sequence[str]) -> int:
    """Draw many times by each method, and print the errors."""
    made = parser("select compare", "Try methods on DATA with known losses: the error of the mean loss, beside that of uniform.")
    data_options(made)
    made.add_argument("--size", type=str, required=True, help="rows to choose, or shares of them: 500,1000 or '1 %,5 %'")
    made.add_argument("--methods", type=str, default="stratified,greg,sensitivity,adaptive,auto", help="separated by commas")
    made.add_argument("--repeats", type=int, default=50, help="draws of each; of a method that is not random, one")
    made.add_argument(
        "--out", type=str | None, default=None, help="a .json file, or a folder for compare.json: clframe select report draws it"
    )
    made.add_argument("--json", type=bool, default=False, help="print as JSON")
    given = parse(made, arguments)

    from clframe.registry import split
    from clframe.selection.budget import column_of
    from clframe.selection.trial import LEAST, Comparison, trials

    written = [one.strip() for one in given.size.split(",")]
    if given.out is not None and given.repeats < LEAST:
        raise bad_option("repeats", f"at least {LEAST} for an interval to draw", given.repeats, "Give --repeats 50.")
    pool = pool_named(given, *split(given.methods, ","), size=max(written, key=column_of))
    sizes = [_rows(one, pool) for one in written]
    with progress() as tell:
        tried = trials(pool, sizes, split(given.methods, ","), repeats=given.repeats, k=given.k, seed=given.seed, tell=tell)
        found = Comparison.of(pool, tried, repeats=given.repeats, k=given.k, seed=given.seed)
    if given.json:
        print(json.dumps([vars(t) for t in found.trials], indent=1))
    else:
        _print(found)
    if given.out is not None:
        place = found.save(given.out)
        print(f"written: {place}", file=sys.stderr if given.json else sys.stdout)
    return 0


def _rows(written: str, pool: Pool) -> int:
    """A size in rows.

    Raises:
        OptionError: it is what rows may cost, or none at all.
    """
    from clframe.selection.budget import Budget, size_of

    size = size_of(written, pool)
    if isinstance(size, Budget):
        rows = size.rows(float(size.cost.sum()), pool.n) + 0
        rule = "rows or a share of them, as methods are compared at equal numbers of rows"
        raise bad_option("size", rule, written, f"Give --size {rows}, which costs as much on average.")
    return int(size)


def _print(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    heads = ("method", "size", "error, %", "/ uniform", "± %", "held", "losses")
    table = Table(*heads, box=None, title="the mean loss", title_justify="left")
    for trial in found.trials:
        _row(table, trial, found.over_uniform(trial))
    Console().print(table)
    print(f"{found.repeats} draws of each. error: root mean square, with its 95 % interval")
    once = sorted({t.method for t in found.trials if t.repeats < found.repeats})
    if once:
        print(f"not random, so tried once, and without an estimate of the mean loss: {', '.join(once)}")
    print("/ uniform: over the error of uniform with as many losses, which falls with the square root of their number")
    print("±: half of the method's own 95 % interval; held: how often that held the truth; losses: how many were looked at")


def _row(table: Table, trial: Trial, ratio: float | None) -> None:
    losses = f"{trial.queries:.0f}"
    if trial.error is None or trial.low is None or trial.high is None or trial.held is None:
        table.add_row(trial.method, str(trial.size), "no estimate", "", "", "", losses)
        return
    error = f"{100 * trial.error:.2f} [{100 * trial.low:.2f}, {100 * trial.high:.2f}]"
    half = "no ends" if trial.half is None else f"{100 * trial.half:.2f}"
    against = "" if ratio is None else f"{ratio:.2f}"
    table.add_row(trial.method, str(trial.size), error, against, half, f"{100 * trial.held:.0f} %", losses)
