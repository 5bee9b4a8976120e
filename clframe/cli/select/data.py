"""The pool that a command is about."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clframe.errors import unknown_name

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from clframe.selection import Pool
    from clframe.selection.clustering import KMeans


def data_options(made: ArgumentParser, optional: str = "") -> None:
    """Options that say what the pool is, and how its cells are made; with `optional`, what is said of data that may be left out."""
    files = ".npy or .parquet files of embeddings, or a folder of them"
    made.add_argument("data", type=str, nargs="*" if optional else "+", metavar="DATA", help=optional or files)
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
    made.add_argument(
        "--columns", type=str, default="", help="more columns, separated by commas: year,domain; beside .npy files year=year.npy"
    )
    made.add_argument("--k", type=int, default=0, help="cells of k-means, where a method needs them; 0: by the number of rows")
    if not optional:
        made.add_argument("--seed", type=int, default=0, help="root of all random numbers")


def job_options(made: ArgumentParser, what: str) -> None:
    """Options that say where a long job is done, and where what is finished of it is kept."""
    made.add_argument("--executor", type=str, default="auto", help=f"where to {what}: auto, processes, ray or ray://HOST:PORT")
    made.add_argument("--jobs", type=int, default=1, help=f"processes that {what}")
    made.add_argument(
        "--work",
        type=str | None,
        default=None,
        help="folder for finished shards, to go on from after a stop; OUT.work by default",
    )


def pool_named(given: Namespace, *methods: str, size: str = "", needed: bool = True) -> Pool:
    """The pool that the options name, with the columns that methods and a size speak of, where it is in Parquet files.

    Raises:
        OptionError: these have no such column.
        DataError: see `open_pool`.
    """
    from clframe.selection import open_pool

    named = {name: given[name] for name in ("loss", "proxy", "label")}
    for one in filter(None, (c.strip() for c in given.columns.split(","))):
        name, _, file = one.partition("=")
        named[name.strip()] = (file or name).strip()
    path = given.data if len(given.data) > 1 else given.data[0]
    there = _in_parquet(path)
    for name in sorted(name for name in spoken_of(methods, size) if there and not named.get(name)):
        if name in there:
            named[name] = name
        elif needed:
            raise unknown_name("column", name, sorted(there))
    return open_pool(path, embedding=given.embedding, ids=given.id, **named)


def spoken_of(methods: Sequence[str], size: str = "") -> set[str]:
    """Columns that methods and a size may read.

    Example:
        >>> sorted(spoken_of(["stratified(by=domain+time:4,inside=scored(column=el2n))"], "2e6 tokens"))
        ['domain', 'el2n', 'time', 'tokens']
    """
    from clframe.selection.budget import column_of
    from clframe.selection.methods import method

    found = {column_of(size)} - {""}
    for written in methods:
        made = method(written)
        if written.partition("(")[0] == "regression":
            found |= {"target"}
            continue
        for option in ("by", "column", "controls"):
            found |= {piece.partition(":")[0].strip() for piece in str(getattr(made, option, "")).split("+")}
        found |= spoken_of([str(inside)]) if (inside := getattr(made, "inside", None)) else set()
    return found - {"cell", "none", "auto", ""}


def _in_parquet(path: str | Sequence[str]) -> set[str]:
    from clframe.selection.pool.parquet import opened
    from clframe.selection.pool.pool import data_files

    files = data_files(path)
    return set(opened(str(files[0])).schema_arrow.names) if files[0].suffix == ".parquet" else set()


def cells_named(words: str, k: int) -> KMeans:
    """How cells are made, from options in words.

    Raises:
        OptionError: an unknown option, or one that breaks its rule.
    """
    from clframe import registry
    from clframe.errors import bad_option
    from clframe.selection.clustering import KMeans

    options = registry.parse(f"kmeans({words})")[1] if words else {}
    if k and "k" in options:
        raise bad_option("k", "given once", options["k"], "Leave it out of --kmeans.")
    found = registry.call("kmeans", "kmeans", KMeans, {**({"k": k} if k else {}), **options})
    assert isinstance(found, KMeans)
    return found


def announce(pool: Pool, how: KMeans | int, jobs: int = 1) -> None:
    """What it will take, on stderr, before it begins; `how` may be the number of cells alone."""
    from clframe.selection.clustering import KMeans

    how = KMeans(k=how) if isinstance(how, int) else how
    cells, memory, disk = how.cells(pool.n), how.memory(pool.n, pool.d) / 1e6, how.disk(pool.n, pool.d) / 1e6
    print(
        f"{pool.name}: {pool.n:,} rows of {pool.d} numbers; with {cells:,} cells up to about {memory:,.0f} MB of memory"
        f"{f' in each of {jobs} processes' * (jobs > 1)}{f', {disk:,.0f} MB of files' * (disk > 0)} and "
        f"{2 * pool.n * pool.d * cells / 1e9:,.0f} billion operations to assign them, where cells are needed",
        file=sys.stderr,
    )
