"""Stratified sampling: of each part of the pool a simple random sample, or what another method chooses there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import numpy as np

from clframe.errors import bad_option, unknown_name
from clframe.seeding import seed_for
from clframe.selection.choice import Ask, Choice
from clframe.selection.clustering import KMeans, cluster
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.estimate import over_strata, stratified_mean
from clframe.selection.losses import Losses
from clframe.selection.methods import method
from clframe.selection.methods.allocation import allocate
from clframe.selection.methods.strata import Strata, floors, sizes_of, spans, strata, within
from clframe.selection.methods.uniform import smallest
from clframe.selection.pool.subset import subset_of

ALLOCATIONS = ("proportional", "equal", "neyman")
NAMED = 100
"""Strata that the manifest lists one by one, at most."""


@final
@dataclass(frozen=True)
class Stratified:
    """m_h of the N_h rows of every stratum h: all sets of m_h rows alike, or as another method chooses them.

        m_h ~ N_h            "proportional"
        m_h ~ 1              "equal"
        m_h ~ N_h S_h        "neyman", with S_h the standard deviation of the losses of a pilot within the stratum
        w_i = N_h / m_h,   mean = sum_h N_h / N mean_h

    Args:
        by: "cell", for cells of k-means; the name of a column, such as label; "NAME:12", its quantiles; several with a plus, as in
            "label+generation" (`strata` says what they are called).
        allocation: as above.
        floor: rows that every stratum has at least, if it has so many; or {"NAME": rows} for some of them, and 1 for the others.
        pilot: rows, drawn uniformly, whose losses are looked at for "neyman"; 0: a fifth of the size.
        inside: how rows are chosen inside each stratum, as `select` is told it: "sensitivity(mixture=0.5)", "k-center", ...; it
            sees the rows of the stratum alone, and makes its own cells of them.

    Raises:
        OptionError: an option breaks its rule; more strata than rows to choose.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> pool = pool_of(np.zeros((100, 1)), label=[0] * 90 + [1] * 10)
        >>> choice = Stratified(by="label", floor=3)(Ask(pool, size=10, seed=0))
        >>> np.bincount(choice.stratum).tolist(), sorted(set(choice.weight.round(2).tolist()))
        ([7, 3], [3.33, 12.86])

    Reference: Cochran, "Sampling Techniques", 1977, chapter 5; Neyman, 1934.
    """

    by: str = "cell"
    allocation: str = "proportional"
    floor: int | Mapping[str, int] = 1
    pilot: int = 0
    inside: str = "uniform"

    def __post_init__(self) -> None:
        if self.allocation not in ALLOCATIONS:
            raise unknown_name("allocation", self.allocation, ALLOCATIONS)
        if isinstance(self.floor, int) and self.floor < 1:
            raise bad_option("floor", "a positive integer", self.floor, "Give floor=1.")
        method(self.inside)

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        stratum, names = strata(ask, self.by)
        sizes = sizes_of(stratum, len(names))
        spread, facts = self._spread(ask, stratum, len(names))
        share = {"proportional": sizes.astype(float), "equal": np.ones(len(sizes)), "neyman": sizes * spread}[self.allocation]
        taken = allocate(ask.size, sizes, share, floors(self.floor, names, sizes), self.by)
        if len(names) <= NAMED and self.by != "cell":
            ends = spans(ask, self.by, stratum, len(names))
            lines = zip(names, taken.tolist(), sizes.tolist(), ends, strict=True)
            facts = {**facts, "by": self.by, "of_strata": {name: {"chosen": m, "rows": n, **span} for name, m, n, span in lines}}
        if self.inside != "uniform":
            return _inside(ask, self.inside, stratum, taken, names, facts)
        return stratified(ask, stratum, sizes, taken, **facts)

    def _spread(self, ask: Ask, stratum: Strata, count: int) -> tuple[Numbers, dict[str, Any]]:
        """S_h of each stratum from the pilot, drawn towards that of all where it has few rows."""
        if self.allocation != "neyman":
            return np.ones(count), {}
        losses = ask.needed_losses("stratified(allocation=neyman)")
        rows = smallest(ask.pool.n, min(ask.pool.n, self.pilot or max(2, ask.size // 5)), seed_for(ask.seed, "pilot"))
        values, of = losses(rows), stratum[rows].astype(np.int64)
        number = np.bincount(of, minlength=count)
        mean = np.bincount(of, weights=values, minlength=count) / np.maximum(number, 1)
        square = np.bincount(of, weights=(values - mean[of]) ** 2, minlength=count)
        pooled = square.sum() / max(1, len(rows) - int((number > 0).sum()))
        return np.sqrt((square + 4 * pooled) / (np.maximum(number - 1, 0) + 4)) + 1e-12, {"pilot": len(rows)}


def stratified(ask: Ask, stratum: Strata, sizes: Rows, taken: Rows, **facts: Any) -> Choice:
    """`taken` (H,) of the `sizes` (H,) rows of each stratum, by random numbers that belong to the rows."""
    rows = within(stratum, sizes, taken, seed_for(ask.seed, "uniform"))
    of = stratum[rows].astype(np.int64)
    expected = taken[of] / sizes[of]
    estimate = None
    if ask.losses is not None:
        estimate = stratified_mean(ask.losses(rows), of, {h: int(n) for h, n in enumerate(sizes) if n})
    facts = {**facts, "strata": int((sizes > 0).sum()), "least_in_a_stratum": int(taken[sizes > 0].min())}
    ones = np.ones(len(rows), dtype=np.int64)
    return Choice(rows, 1 / expected, expected, ones, of, expected, estimate, facts)


def _inside(ask: Ask, written: str, stratum: Strata, taken: Rows, names: Sequence[str], facts: Mapping[str, Any]) -> Choice:
    """What a method chooses of each stratum by itself, put together."""
    of, made = np.asarray(stratum), list[Choice]()
    groups = np.split(np.argsort(of, kind="stable").astype(np.int64), np.cumsum(np.bincount(of, minlength=len(names)))[:-1])
    for name, rows, size in zip(names, groups, taken, strict=True):
        if not size:
            continue
        losses = None if ask.losses is None else Losses(partial(_of_part, ask.losses, rows), len(rows))
        part, seed = subset_of(ask.pool, rows), seed_for(ask.seed, "stratum", name)
        choice = method(written)(Ask(part, int(size), seed, losses, partial(cluster, part, KMeans(), seed)))
        made.append(replace(choice, rows=rows[choice.rows]))
    estimates = [c.estimate for c in made if c.estimate is not None]
    estimate = over_strata(estimates, [len(rows) for rows in groups if len(rows)]) if len(estimates) == len(made) else None
    rows = np.concatenate([c.rows for c in made])
    order = np.argsort(rows)
    fields = {field: np.concatenate([getattr(c, field) for c in made])[order] for field in ("weight", "expected", "count", "score")}
    found = {**facts, "strata": len(made), "least_in_a_stratum": int(taken[taken > 0].min())}
    return Choice(rows=rows[order], stratum=of[rows[order]].astype(np.int64), estimate=estimate, facts=found, **fields)


def _of_part(losses: Losses, rows: Rows, some: Rows) -> Numbers:
    return losses(rows[some])
