"""Choose a weighted subset of a pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from clframe.data.hashing import fingerprint
from clframe.errors import DataError, bad_option
from clframe.selection.choice import Ask, Choice, Method
from clframe.selection.clustering import Clustering, KMeans, cluster
from clframe.selection.coreset import FORMAT, Coreset, certificate
from clframe.selection.losses import Losses, Oracle
from clframe.selection.methods import method as named
from clframe.selection.pool import Pool

Tell = Callable[[str, int, int], object]
"""Called with (what is done, rows done, rows in all)."""


def select(
    pool: Pool,
    size: int,
    method: str | Method = "auto",
    *,
    loss: npt.NDArray[Any] | Oracle | Losses | None = None,
    seed: int = 0,
    k: int = 0,
    kmeans: KMeans | None = None,
    clustering: Clustering | None = None,
    tell: Tell | None = None,
) -> Coreset:
    """Choose `size` samples of a pool, with weights, and say what they tell of the mean loss.

    Args:
        pool: see `pool_of` and `open_pool`.
        size: how many.
        method: a name, a name with options ("sensitivity(mixture=0.5)"), or a `Method`.
        loss: of each row (n,), or a function that returns the losses of rows (k,) -> (k,); by default the column "loss" of the
            pool, if it has one. Only the losses of rows that a method asks for are looked at, and these are counted.
        seed: root of all random numbers.
        k: cells of k-means, for methods that need them; 0: by the size of the pool.
        kmeans: more about it; then k must be 0.
        clustering: cells that were made before, of the same pool.
        tell: progress.

    Raises:
        OptionError: a wrong option.
        DataError: embeddings or losses that break a rule, where they are read (the rows are named); a clustering of another pool.

    Example:
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
    how = kmeans or KMeans(k=k)
    how.cells(pool.n)
    chooser = named(method) if isinstance(method, str) else method

    @cache
    def cells() -> Clustering:
        return clustering or cluster(pool, how, seed, None if tell is None else lambda done, whole: tell("cells", done, whole))

    ask = Ask(pool, size, seed, losses, cells)
    choice = chooser(ask)
    made = cells() if cells.cache_info().currsize else None
    return Coreset(pool.id_of(choice.rows), choice, _manifest(ask, chooser, method, choice, made))


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
    pool["hash"] = ask.pool.fingerprint()
    key = fingerprint(ask.pool.id_of(choice.rows), choice.weight, name, repr(options), ask.seed)
    return {
        "format": FORMAT,
        "key": key,
        "clframe": version("clframe"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "pool": pool,
        "method": name,
        "options": options,
        "size": ask.size,
        "seed": ask.seed,
        "rows": len(choice.rows),
        "queries": 0 if ask.losses is None else ask.losses.queries,
        "clustering": None if cells is None else {**cells.how, "cost": cells.cost, "cells_chosen_from": _covered(choice, cells)},
        **certificate(choice),
        "facts": dict(choice.facts),
    }


def _covered(choice: Choice, cells: Clustering) -> int:
    return len(np.unique(cells.cell[choice.rows]))
