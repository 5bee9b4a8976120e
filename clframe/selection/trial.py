"""How well methods estimate a mean loss that is known: many draws of each, beside as many of uniform."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, final

import numpy as np

from clframe.errors import DataError, RunError, bad_option
from clframe.selection.choice import Ask, Choice, Method
from clframe.selection.clustering import KMeans, cluster
from clframe.selection.draws.draw import Numbers
from clframe.selection.losses import Losses
from clframe.selection.methods import method
from clframe.selection.pool import Pool

COMPARISON = "compare.json"
LEAST = 5
"""Draws of each without which nothing is drawn: an interval of fewer says nothing."""

Tell = Callable[[str, int, int], object]


@final
@dataclass(frozen=True)
class Trial:
    """A method at a size, over repeats.

    Attributes:
        method, size: what was tried.
        error: root mean square error of the mean loss, as a share of it; None where the method gives no estimate.
        low, high: 95 % interval of that (chi-square).
        held: share of repeats in which the truth lay in the method's own 95 % interval.
        half: mean half width of that interval, as a share of the mean loss; None where one has no ends.
        queries: mean number of losses that were looked at.
        repeats: draws; 1 where the method is not random.
    """

    method: str
    size: int
    error: float | None
    low: float | None
    high: float | None
    held: float | None
    half: float | None
    queries: float
    repeats: int = 1


@final
@dataclass(frozen=True)
class Comparison:
    """Trials of one pool, as `clframe select compare --out` writes them.

    Attributes:
        trials: of each method at each size, uniform among them.
        repeats: draws of each method that is random.
        pool: name, rows and hash of the pool.
        mean: its mean loss.
        k, seed: as they were given; k is 0 for the usual number of cells.

    Example:
        >>> from tempfile import mkdtemp
        >>> from clframe.selection.pool import pool_of
        >>> pool = pool_of(np.arange(40.0).reshape(40, 1), loss=np.arange(40.0))
        >>> found = Comparison.of(pool, trials(pool, [10], [], repeats=5, k=2), repeats=5, k=2)
        >>> Comparison.read(found.save(mkdtemp())) == found, found.mean
        (True, 19.5)
    """

    trials: tuple[Trial, ...]
    repeats: int
    pool: Mapping[str, Any]
    mean: float
    k: int = 0
    seed: int = 0

    @classmethod
    def of(cls, pool: Pool, tried: Iterator[Trial], *, repeats: int, k: int = 0, seed: int = 0) -> Comparison:
        """All trials of a pool, made one after another."""
        about = {"name": pool.name, "rows": pool.n, "columns": sorted(pool.columns), "hash": pool.fingerprint()}
        return cls(tuple(tried), repeats, about, float(known(pool).mean()), k, seed)

    @classmethod
    def read(cls, path: str | Path) -> Comparison:
        """From a file, or from compare.json in a folder.

        Raises:
            DataError: it is not such a file.
        """
        place = Path(path) / COMPARISON if Path(path).is_dir() else Path(path)
        remedy = "Write it with clframe select compare --out."
        try:
            found = json.loads(place.read_text(encoding="utf-8"))
            each = tuple(Trial(**trial) for trial in found.pop("trials"))
            made = cls(each, **{f.name: found[f.name] for f in fields(cls) if f.name != "trials"})
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            got = f"{type(error).__name__}: {error}" if isinstance(error, TypeError | KeyError) else error
            raise DataError(f"{place} must be a comparison of methods; got {got}. {remedy}") from error
        if not any(t.method == "uniform" for t in each):
            raise DataError(f"{place} must have trials of uniform; got none. {remedy}")
        return made

    def over_uniform(self, trial: Trial) -> float | None:
        """The error of a trial over that of uniform with as many losses; None where one of them has none.

            error / (error_uniform sqrt(m / queries)),   by the square root law from uniform's m losses

        Example:
            >>> uniform = Trial("uniform", 100, 0.10, None, None, None, None, 100)
            >>> other = Trial("sensitivity", 100, 0.04, None, None, None, None, 400)
            >>> round(Comparison((uniform, other), 50, {}, 1.0).over_uniform(other), 3)
            0.8
        """
        uniform = next((t.error for t in self.trials if t.size == trial.size and t.method == "uniform"), None)
        return trial.error / uniform * math.sqrt(trial.queries / trial.size) if uniform and trial.error is not None else None

    def save(self, path: str | Path) -> Path:
        """Write it, whole or not at all; into a folder as compare.json.

        Raises:
            RunError: it cannot be written.
        """
        place = Path(path) / COMPARISON if Path(path).is_dir() or not Path(path).suffix else Path(path)
        part = place.with_name(f".{place.name}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            os.replace(part, place)
        except OSError as error:
            raise RunError(f"{place} must be a file that can be written; got {error}. Give another --out.") from error
        return place


def trials(
    pool: Pool,
    sizes: Sequence[int],
    methods: Sequence[str],
    *,
    repeats: int = 50,
    k: int = 0,
    seed: int = 0,
    tell: Tell | None = None,
) -> Iterator[Trial]:
    """Try methods on a pool with a column "loss"; "uniform" is always among them. Losses count as if each was asked for.

    Args:
        pool: with the loss of every row.
        sizes: rows to choose.
        methods: in words.
        repeats: draws of each; a method that is not random is tried once.
        k: cells; made once and shared.
        seed: of the cells, and of the first draw.
        tell: progress.

    Raises:
        DataError: there is no such column.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> x = np.random.default_rng(0).normal(size=(2000, 2))
        >>> tried = trials(pool_of(x, loss=np.exp(x[:, 0])), [100], ["stratified", "k-center"], repeats=20, k=20)
        >>> uniform, stratified, covering = tried
        >>> stratified.error < uniform.error, stratified.repeats, covering.error, covering.repeats
        (True, 20, None, 1)
    """
    if repeats < 1:
        raise bad_option("repeats", "a positive integer", repeats, "Give repeats=50.")
    loss, every = known(pool), {words: method(words) for words in dict.fromkeys(["uniform", *methods])}
    for size in sizes:
        Ask(pool, size, seed)  # a size that breaks the rule is refused before cells are made
    cells = cluster(pool, KMeans(k=k), seed)

    def choose(chooser: Method, size: int, repeat: int) -> tuple[Choice, int]:
        losses = Losses(loss, pool.n)
        return chooser(Ask(pool, size, seed + repeat, losses, lambda: cells)), losses.queries

    for size in sizes:
        for words, chooser in every.items():
            found: list[tuple[Choice, int]] = []
            wanted = repeats
            while len(found) < wanted:
                found.append(choose(chooser, size, len(found)))
                wanted = 1 if np.isnan(found[0][0].expected).all() else repeats
                if tell is not None:
                    tell(f"{words}, {size}", len(found), wanted)
            yield _trial(words, size, found, float(loss.mean()))


def known(pool: Pool) -> Numbers:
    """The loss of every row.

    Raises:
        DataError: there is no such column, or it breaks a rule.
    """
    if "loss" not in pool.columns:
        raise DataError(f"{pool.name} must have the loss of every row to try methods on; got none. Give --loss COLUMN.")
    return pool.numbers("loss", least=0.0)


def _trial(words: str, size: int, found: Sequence[tuple[Choice, int]], truth: float) -> Trial:
    queries, estimates = float(np.mean([q for _, q in found])), [c.estimate for c, _ in found if c.estimate is not None]
    if not estimates or not truth:
        return Trial(words, size, None, None, None, None, None, queries, len(found))
    error = math.sqrt(float(np.mean([(e.mean - truth) ** 2 for e in estimates]))) / truth
    low, high = _interval(error, len(estimates))
    held = float(np.mean([e.low <= truth <= e.high for e in estimates]))
    half = float(np.mean([e.half for e in estimates])) / truth
    return Trial(words, size, error, low, high, held, half if math.isfinite(half) else None, queries, len(found))


def _interval(error: float, repeats: int) -> tuple[float, float]:
    """95 % interval of a root mean square of so many normal errors."""
    from scipy.special import chdtri

    return error * math.sqrt(repeats / float(chdtri(repeats, 0.025))), error * math.sqrt(repeats / float(chdtri(repeats, 0.975)))
