"""Choose a weighted subset of a pool."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clframe.data.hashing import fingerprint
from clframe.errors import DataError, OptionError, bad_option
from clframe.executors import Executor
from clframe.executors import executor as executor_named
from clframe.selection.budget import Budget, size_of
from clframe.selection.choice import Ask, Choice, Method
from clframe.selection.clustering import Clustering, KMeans, cluster
from clframe.selection.coreset import FORMAT, Coreset, certificate
from clframe.selection.coverage import classes, of_cells, of_column
from clframe.selection.engine import Tell
from clframe.selection.engine_folder import looked_at
from clframe.selection.estimate import skewness
from clframe.selection.losses import Losses, Oracle
from clframe.selection.methods import method as named
from clframe.selection.methods.auto import Auto
from clframe.selection.pool import Pool
from clframe.selection.working import working


def select(
    pool: Pool,
    size: int | str | Budget,
    method: str | Method = "auto",
    *,
    loss: npt.NDArray[Any] | Oracle | Losses | None = None,
    seed: int = 0,
    k: int = 0,
    kmeans: KMeans | None = None,
    clustering: Clustering | None = None,
    executor: str = "auto",
    jobs: int = 1,
    work: str | Path | None = None,
    tell: Tell | None = None,
) -> Coreset:
    """Choose `size` samples of a pool, with weights, and say what they tell of the mean loss.

    Args:
        pool: see `pool_of` and `open_pool`.
        size: how many; "10 %" of them; or what they may cost, as in "2e6 tokens", "10 % of tokens" or "500 MB", by a column of that
            name (`Budget` says how it is met).
        method: a name, a name with options ("sensitivity(mixture=0.5)"), or a `Method`.
        loss: of each row (n,), or a function that returns the losses of rows (k,) -> (k,); by default the column "loss" of the
            pool, if it has one. Only the losses of rows that a method asks for are looked at, and these are counted.
        seed: root of all random numbers.
        k: cells of k-means, for methods that need them; 0: by the size of the pool.
        kmeans: more about it; then k must be 0.
        clustering: cells that were made before, of the same pool.
        executor: what makes the cells, see `clframe.executors.executor`: "auto", "processes", "ray", "ray://HOST:PORT". The choice
            is the same whatever does it.
        jobs: processes.
        work: a folder for what is finished of the cells: the same call goes on from there after it was stopped. It is removed when
            the coreset is saved.
        tell: progress.

    Raises:
        OptionError: a wrong option.
        DataError: embeddings or losses that break a rule, where they are read (the rows are named); a clustering of another pool.
        RunError: a work folder of another job, or one that cannot be written.

    Example:
        >>> import numpy as np
        >>> from clframe.selection import pool_of
        >>> x = np.random.default_rng(0).normal(size=(5000, 8))
        >>> coreset = select(pool_of(x, loss=np.exp(2 * x[:, 0])), size=500, method="auto", k=50)
        >>> coreset.manifest["queries"] <= 500, bool(coreset.mean_loss.low < np.exp(2 * x[:, 0]).mean() < coreset.mean_loss.high)
        (True, True)
    """
    losses = _losses(pool, loss)
    if k and (kmeans or clustering):
        raise bad_option("k", "left out where kmeans or a clustering is given", k, "Leave out one of them.")
    if clustering is not None and len(clustering.cell) != pool.n:
        raise DataError(f"clustering must be of the {pool.n:,} rows of the pool; got {len(clustering.cell):,}. Make it anew.")
    if clustering is not None and work is not None:
        raise bad_option("work", "left out where a clustering is given", str(work), "Leave out one of them.")
    how = kmeans or KMeans(k=k)
    wanted = size if isinstance(size, Budget) else size_of(size, pool)
    chooser = checked(pool, wanted, method, seed=seed, kmeans=how, executor=executor, jobs=jobs, work=work)

    pool.fingerprint()  # embeddings that are not finite are refused before anything is asked for

    @cache
    def cells() -> Clustering:
        return clustering or _cells(pool, how, seed, executor_named(executor, jobs), work, tell)

    def choose(rows: int) -> Choice:
        return chooser(Ask(pool, rows, seed, losses, cells))

    def tried(rows: int) -> Choice:
        try:
            return chooser(Ask(pool, rows, seed, None, cells)) if not isinstance(chooser, Auto) else choose(rows)
        except OptionError:  # a method that needs losses
            return choose(rows)

    spent: dict[str, Any] | None = None
    if isinstance(wanted, Budget):
        wanted, choice, spent = wanted.met(choose, tried)
    else:
        choice = choose(wanted)
    ask = Ask(pool, wanted, seed, losses)
    made = cells() if cells.cache_info().currsize else None
    folder = None if work is None or made is None else Path(work).resolve()
    return Coreset(pool.id_of(choice.rows), choice, _manifest(ask, chooser, method, choice, made) | {"budget": spent}, folder)


def checked(
    pool: Pool,
    size: int | Budget,
    method: str | Method,
    *,
    seed: int,
    kmeans: KMeans,
    executor: str,
    jobs: int,
    work: str | Path | None,
) -> Method:
    """The method, if `select` could begin with these options; nothing is done.

    Raises:
        OptionError: a wrong option.
        RunError: a work folder of another job.
    """
    Ask(pool, size if isinstance(size, int) else 1, seed)
    kmeans.trained_by(pool.n, pool.d)
    executor_named(executor, jobs)
    if work is not None:
        looked_at(work, _key(pool, kmeans, seed))
    return named(method) if isinstance(method, str) else method


def _cells(pool: Pool, how: KMeans, seed: int, executor: Executor, work: str | Path | None, tell: Tell | None) -> Clustering:
    with working(executor, work, _key(pool, how, seed), tell) as engine:
        return cluster(pool, how, seed, engine=engine)


def _key(pool: Pool, how: KMeans, seed: int) -> str:
    """What cells in a work folder are of."""
    return fingerprint("cells", 1, pool.fingerprint(), repr(asdict(how)), seed)


def _losses(pool: Pool, loss: npt.NDArray[Any] | Oracle | Losses | None) -> Losses | None:
    if isinstance(loss, Losses):
        return loss
    if loss is None and "loss" in pool.columns:
        loss = pool.numbers("loss", least=0.0)
    return None if loss is None else Losses(loss, pool.n)


def _manifest(ask: Ask, chooser: Method, written: str | Method, choice: Choice, cells: Clustering | None) -> dict[str, Any]:
    options: dict[str, Any] = asdict(chooser) if is_dataclass(chooser) and not isinstance(chooser, type) else {}
    name = written.partition("(")[0] if isinstance(written, str) else type(chooser).__name__.lower()
    pool = {"name": ask.pool.name, "rows": ask.pool.n, **ask.pool.vectors.describe(), "columns": sorted(ask.pool.columns)}
    pool |= {"hash": ask.pool.fingerprint(), "hash_of": f"shape, ids, columns, {ask.pool.hashed}"}
    key = fingerprint(ask.pool.id_of(choice.rows), choice.weight, name, repr(options), ask.seed)
    return {
        "format": FORMAT,
        "key": key,
        "clframe": version("clframe"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "pool": pool,
        "method": name,
        "options": options,
        "size": int(ask.size),
        "seed": ask.seed,
        "rows": len(choice.rows),
        "queries": 0 if ask.losses is None else ask.losses.queries,
        "clustering": None if cells is None else {**cells.how, "cost": cells.cost},
        **_certified(choice, ask.losses),
        "coverage": _coverage(ask.pool, choice, cells),
        "facts": dict(choice.facts),
    }


def _certified(choice: Choice, losses: Losses | None) -> dict[str, Any]:
    """The certificate, with the skewness of what the chosen rows add to the mean, where their losses were looked at."""
    found = certificate(choice)
    if losses is not None and "mean_loss" in found and losses.knows(choice.rows):
        each = np.repeat(choice.weight / choice.count * losses(choice.rows), choice.count)
        found["mean_loss"]["skewness"] = round(skewness(each), 4)
    return found


def _coverage(pool: Pool, choice: Choice, cells: Clustering | None) -> dict[str, Any]:
    """Of the classes and of the cells, where there are any."""
    named = {} if "label" not in classes(pool)[0] else {"label": of_column(choice, pool, "label").summary()}
    return named | ({} if cells is None else {"cell": of_cells(choice, pool, cells).summary()})
