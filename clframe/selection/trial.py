"""How well methods estimate a mean loss that is known: many draws of each, beside as many of uniform."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.errors import DataError, bad_option
from clframe.selection.choice import Ask
from clframe.selection.clustering import KMeans, cluster
from clframe.selection.losses import Losses
from clframe.selection.methods import method
from clframe.selection.pool import Pool


@final
@dataclass(frozen=True)
class Trial:
    """A method at a size, over repeats.

    Attributes:
        method, size: what was tried.
        error: root mean square error of the mean loss, as a share of it; None where the method gives no estimate.
        low, high: 95 % interval of that (chi-square).
        held: share of repeats in which the truth lay in the method's own 95 % interval.
        half: mean half width of that interval, as a share of the mean loss.
        queries: mean number of losses that were looked at.
    """

    method: str
    size: int
    error: float | None
    low: float | None
    high: float | None
    held: float | None
    half: float | None
    queries: float


def trials(
    pool: Pool,
    sizes: Sequence[int],
    methods: Sequence[str],
    *,
    repeats: int = 50,
    k: int = 0,
    seed: int = 0,
    tell: Callable[[str, int, int], object] | None = None,
) -> Iterator[Trial]:
    """Try methods on a pool with a column "loss"; "uniform" is always among them. Losses count as if each was asked for.

    Args:
        pool: with the loss of every row.
        sizes: rows to choose.
        methods: in words.
        repeats: draws of each.
        k: cells; made once and shared.
        seed: of the cells, and of the first draw.
        tell: progress.

    Raises:
        DataError: there is no such column.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> x = np.random.default_rng(0).normal(size=(2000, 2))
        >>> found = list(trials(pool_of(x, loss=np.exp(x[:, 0])), [100], ["stratified"], repeats=20, k=20))
        >>> [t.method for t in found], found[1].error < found[0].error
        (['uniform', 'stratified'], True)
    """
    if repeats < 1:
        raise bad_option("repeats", "a positive integer", repeats, "Give repeats=50.")
    if "loss" not in pool.columns:
        raise DataError(f"{pool.name} must have the loss of every row to try methods on; got none. Give --loss COLUMN.")
    loss = pool.numbers("loss", least=0.0)
    cells = cluster(pool, KMeans(k=k), seed)
    truth, every = float(loss.mean()), list(dict.fromkeys(["uniform", *methods]))
    for size in sizes:
        for words in every:
            chooser = method(words)
            estimates, queries = [], []
            for repeat in range(repeats):
                losses = Losses(loss, pool.n)
                choice = chooser(Ask(pool, size, seed + repeat, losses, lambda: cells))
                estimates.append(choice.estimate)
                queries.append(losses.queries)
                if tell is not None:
                    tell(f"{words}, {size}", repeat + 1, repeats)
            known = [e for e in estimates if e is not None]
            if not known or not truth:
                yield Trial(words, size, None, None, None, None, None, float(np.mean(queries)))
                continue
            error = math.sqrt(float(np.mean([(e.mean - truth) ** 2 for e in known]))) / truth
            low, high = _interval(error, len(known))
            held = float(np.mean([e.low <= truth <= e.high for e in known]))
            half = float(np.mean([e.half for e in known])) / truth
            yield Trial(words, size, error, low, high, held, half, float(np.mean(queries)))


def _interval(error: float, repeats: int) -> tuple[float, float]:
    """95 % interval of a root mean square of so many normal errors."""
    from scipy.special import chdtri

    return error * math.sqrt(repeats / float(chdtri(repeats, 0.025))), error * math.sqrt(repeats / float(chdtri(repeats, 0.975)))
