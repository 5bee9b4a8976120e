"""`clframe select`: choose, compare, inspect, materialize."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clframe.cli.parsing import parse, parser, progress
from clframe.errors import bad_option

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from clframe.selection import Coreset, Pool

ACTIONS = ("compare", "dedup", "inspect", "materialize")


def main(arguments: Sequence[str]) -> int:
    """`clframe select DATA`, or one of the actions."""
    if arguments[:1] and arguments[0] in ACTIONS:
        from clframe.cli import select_dedup

        actions = {"compare": _compare, "dedup": select_dedup.main, "inspect": _inspect, "materialize": _materialize}
        return actions[arguments[0]](arguments[1:])
    return _select(arguments)


def _select(arguments: Sequence[str]) -> int:
    made = parser(
        "select", f"Choose a weighted subset of DATA. Actions on what was chosen: clframe select {'|'.join(ACTIONS)} --help"
    )
    _data_options(made)
    made.add_argument("--size", type=int, required=True, help="rows to choose")
    made.add_argument(
        "--method", type=str, default="auto", help="auto, uniform, stratified, ...; options as in 'stratified(by=label)'"
    )
    made.add_argument(
        "--out", type=str | None, default=None, help="folder for coreset.parquet and manifest.json; coreset by default"
    )
    made.add_argument("--json", type=bool, default=False, help="print the manifest as JSON")
    given = parse(made, arguments)

    from clframe.selection import select

    pool = _pool(given)
    _announce(pool, given.k)
    with progress() as tell:
        coreset = select(pool, given.size, given.method, seed=given.seed, k=given.k, tell=tell)
    place = coreset.save(given.out or "coreset")
    if given.json:
        print((place / "manifest.json").read_text(), end="")
        return 0
    _print(coreset)
    print(f"written: {place / 'coreset.parquet'}, {place / 'manifest.json'}")
    return 0


def _compare(arguments: Sequence[str]) -> int:
    made = parser("select compare", "Try methods on DATA with known losses: the error of the mean loss, beside that of uniform.")
    _data_options(made)
    made.add_argument("--size", type=str, required=True, help="rows to choose, one or more numbers: 500,1000")
    made.add_argument("--methods", type=str, default="stratified,greg,sensitivity,adaptive,auto", help="separated by commas")
    made.add_argument("--repeats", type=int, default=50, help="draws of each")
    made.add_argument("--json", type=bool, default=False, help="print as JSON")
    given = parse(made, arguments)

    from clframe.registry import split
    from clframe.selection.trial import trials

    try:
        sizes = [int(s) for s in given.size.split(",")]
    except ValueError:
        raise bad_option("size", "whole numbers separated by commas", given.size, "Give --size 500,1000.") from None
    pool = _pool(given)
    with progress() as tell:
        found = list(trials(pool, sizes, split(given.methods, ","), repeats=given.repeats, k=given.k, seed=given.seed, tell=tell))
    if given.json:
        print(json.dumps([vars(t) for t in found], indent=1))
        return 0
    from rich.console import Console
    from rich.table import Table

    heads = ("method", "size", "error, %", "/ uniform", "± %", "held", "losses")
    table = Table(*heads, box=None, title="the mean loss", title_justify="left")
    for trial in found:
        uniform = next(t.error for t in found if t.size == trial.size and t.method == "uniform")
        if trial.error is None or trial.low is None or trial.high is None or trial.half is None or trial.held is None:
            table.add_row(trial.method, str(trial.size), "no estimate", "", "", "", f"{trial.queries:.0f}")
            continue
        against = f"{trial.error / uniform * (trial.queries / trial.size) ** 0.5:.2f}" if uniform else ""
        error = f"{100 * trial.error:.2f} [{100 * trial.low:.2f}, {100 * trial.high:.2f}]"
        shares = f"{100 * trial.half:.2f}", f"{100 * trial.held:.0f} %"
        table.add_row(trial.method, str(trial.size), error, against, *shares, f"{trial.queries:.0f}")
    Console().print(table)
    print(f"{given.repeats} draws of each. error: root mean square, with its 95 % interval")
    print("/ uniform: over the error of uniform with as many losses, which falls with the square root of their number")
    print("±: half of the method's own 95 % interval; held: how often that held the truth; losses: how many were looked at")
    return 0


def _inspect(arguments: Sequence[str]) -> int:
    made = parser("select inspect", "Print what a coreset is and where it came from.")
    made.add_argument("folder", type=str, metavar="DIR", help="the folder of a coreset")
    made.add_argument("--rows", type=int, default=5, help="how many of the most and least weighted samples to print")
    made.add_argument("--json", type=bool, default=False, help="print the manifest as JSON")
    given = parse(made, arguments)

    from clframe.selection import load

    coreset = load(given.folder)
    if given.json:
        print(json.dumps(coreset.manifest, indent=1))
        return 0
    _print(coreset)
    table = coreset.table().sort_values("weight", ascending=False, kind="stable")
    for what, some in (("most", table.head(given.rows)), ("least", table.tail(given.rows))):
        print(f"\n{what} weight")
        print(some.to_string(index=False, float_format=lambda v: f"{v:.4g}"))
    return 0


def _materialize(arguments: Sequence[str]) -> int:
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


def _data_options(made: ArgumentParser) -> None:
    made.add_argument("data", type=str, nargs="+", metavar="DATA", help=".npy or .parquet files of embeddings, or a folder of them")
    made.add_argument("--embedding", type=str, default="embedding", help="column of the embeddings, in Parquet")
    for name, what in (
        ("loss", "losses, zero or positive"),
        ("proxy", "a guess of every loss that costs nothing"),
        ("label", "classes"),
        ("id", "ids; without them rows are numbered"),
    ):
        made.add_argument(
            f"--{name}", type=str | None, default=None, help=f"{what}: a column, or a .npy file beside .npy embeddings"
        )
    made.add_argument("--columns", type=str, default="", help="more columns, separated by commas: stratified(by=NAME) reads them")
    made.add_argument("--k", type=int, default=0, help="cells of k-means, where a method needs them; 0: by the number of rows")
    made.add_argument("--seed", type=int, default=0, help="root of all random numbers")


def _pool(given: Namespace) -> Pool:
    from clframe.selection import open_pool

    named = {name: given[name] for name in ("loss", "proxy", "label")} | {c: c for c in given.columns.split(",") if c}
    path = given.data if len(given.data) > 1 else given.data[0]
    return open_pool(path, embedding=given.embedding, ids=given.id, **named)


def _announce(pool: Pool, k: int) -> None:
    """What it will take, on stderr, before it begins."""
    from clframe.selection.clustering import KMeans

    cells, memory = KMeans(k=k).cells(pool.n), KMeans(k=k).memory(pool.n, pool.d) / 1e6
    print(
        f"{pool.name}: {pool.n:,} rows of {pool.d} numbers; with {cells:,} cells up to about {memory:,.0f} MB of memory and "
        f"{2 * pool.n * pool.d * cells / 1e9:,.0f} billion operations to assign them, where cells are needed",
        file=sys.stderr,
    )


def _print(coreset: Coreset) -> None:
    m: dict[str, Any] = dict(coreset.manifest)
    print(f"{m['rows']:,} of {m['pool']['rows']:,} rows of {m['pool']['name']} by {m['method']}, seed {m['seed']}")
    mean = coreset.mean_loss
    if mean is not None:
        share = f" (± {100 * mean.half / mean.mean:.1f} %)" if mean.mean else ""
        print(f"mean loss {mean.mean:.4g}, 95 % interval [{mean.low:.4g}, {mean.high:.4g}]{share}, from {m['queries']:,} losses")
    else:
        print("mean loss: no losses were given, or the choice is not random, so there is no estimate")
    print(f"effective size {m['effective_size']:.0f}; largest weight {m['largest_weight']:.2f} times the mean one")
    facts = m["facts"]
    if "chosen" in facts:
        print(f"auto chose {facts['chosen']}: {facts['reason']}")
    if facts.get("correlation_of_guess_and_loss") is not None:
        print(f"correlation of guess and loss {facts['correlation_of_guess_and_loss']:.2f}")
    if m["clustering"]:
        print(f"cells: {m['clustering']['cells_chosen_from']} of {m['clustering']['k']} have a chosen row")
