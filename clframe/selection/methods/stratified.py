"""Stratified sampling: a simple random sample of each part of the pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from clframe.errors import bad_option, unknown_name
from clframe.seeding import seed_for
from clframe.selection.choice import Ask, Choice
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.draws.hashing import hashed
from clframe.selection.estimate import stratified_mean
from clframe.selection.methods.uniform import smallest

ALLOCATIONS = ("proportional", "equal", "neyman")


@final
@dataclass(frozen=True)
class Stratified:
    """m_h of the N_h rows of every stratum h, all sets of m_h rows alike.

        m_h ~ N_h            "proportional"
        m_h ~ 1              "equal"
        m_h ~ N_h S_h        "neyman", with S_h the standard deviation of the losses of a pilot within the stratum
        w_i = N_h / m_h,   mean = sum_h N_h / N mean_h

    Args:
        by: "cell", for cells of k-means, or the name of a column, such as label.
        allocation: as above.
        floor: rows that every stratum has at least, if it has so many.
        pilot: rows, drawn uniformly, whose losses are looked at for "neyman"; 0: a fifth of the size.

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
    floor: int = 1
    pilot: int = 0

    def __post_init__(self) -> None:
        if self.allocation not in ALLOCATIONS:
            raise unknown_name("allocation", self.allocation, ALLOCATIONS)
        if self.floor < 1:
            raise bad_option("floor", "a positive integer", self.floor, "Give floor=1.")

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        stratum, names = strata(ask, self.by)
        sizes = np.bincount(stratum, minlength=len(names))
        spread, facts = self._spread(ask, stratum, len(names))
        share = {"proportional": sizes.astype(float), "equal": np.ones(len(sizes)), "neyman": sizes * spread}[self.allocation]
        taken = allocate(ask.size, sizes, share, self.floor, self.by)
        return stratified(ask, stratum, taken, within(stratum, taken, seed_for(ask.seed, "uniform")), **facts)

    def _spread(self, ask: Ask, stratum: Rows, count: int) -> tuple[Numbers, Mapping[str, int]]:
        """S_h of each stratum from the pilot, drawn towards that of all where it has few rows."""
        if self.allocation != "neyman":
            return np.ones(count), {}
        losses = ask.needed_losses("stratified(allocation=neyman)")
        rows = smallest(ask.pool.n, min(ask.pool.n, self.pilot or max(2, ask.size // 5)), seed_for(ask.seed, "pilot"))
        values, of = losses(rows), stratum[rows]
        number = np.bincount(of, minlength=count)
        mean = np.bincount(of, weights=values, minlength=count) / np.maximum(number, 1)
        square = np.bincount(of, weights=(values - mean[of]) ** 2, minlength=count)
        pooled = square.sum() / max(1, len(rows) - int((number > 0).sum()))
        return np.sqrt((square + 4 * pooled) / (np.maximum(number - 1, 0) + 4)) + 1e-12, {"pilot": len(rows)}


def stratified(ask: Ask, stratum: Rows, taken: Rows, rows: Rows, **facts: Any) -> Choice:
    """The choice of these rows, `taken` of each stratum."""
    sizes, of = np.bincount(stratum, minlength=len(taken)), stratum[rows].astype(np.int64)
    expected = (taken / sizes)[of]
    estimate = None
    if ask.losses is not None:
        estimate = stratified_mean(ask.losses(rows), of, dict(enumerate(sizes.tolist())))
    facts = {**facts, "strata": len(taken), "least_in_a_stratum": int(taken.min())}
    ones = np.ones(len(rows), dtype=np.int64)
    return Choice(rows, 1 / expected, expected, ones, of, expected, estimate, facts)


def strata(ask: Ask, by: str) -> tuple[Rows, list[str]]:
    """The stratum of each row (n,), and what they are called."""
    column = ask.clustering.cell if by == "cell" else ask.pool.column(by)
    values, found = np.unique(column, return_inverse=True)  # where rows are equal, a cell can be empty
    return found.reshape(-1).astype(np.int64), [str(v) for v in values]


def allocate(size: int, sizes: Rows, share: Numbers, floor: int | Rows, by: str) -> Rows:
    """How many rows of each stratum: in proportion to `share`, at least `floor`, at most all it has, `size` in sum.

    Raises:
        OptionError: the floors alone are more than that.

    Example:
        >>> allocate(10, np.array([90, 10, 2]), np.array([90.0, 10.0, 2.0]), 2, "label").tolist()
        [6, 2, 2]
    """
    low = np.minimum(floor, sizes)
    if low.sum() > size:
        rule = f"at least {int(low.sum())}, {floor} for each of the {len(sizes)} strata of {by!r}"
        raise bad_option("size", rule, size, "Give a larger size, or fewer strata.")
    taken = low.astype(np.float64)
    free = np.ones(len(sizes), dtype=bool)
    while True:  # what is at its floor or full leaves the rest to the others
        room = size - taken[~free].sum()
        ideal = share * room / max(share[free].sum(), 1e-300)
        bounded = np.clip(ideal, low, sizes)
        moved = free & (bounded != ideal)
        over = (bounded[free].sum() - room) if moved.any() else 0.0
        fixed = moved & ((ideal < low) if over >= 0 else (ideal > sizes))
        taken[free] = bounded[free]
        if not fixed.any():
            break
        free &= ~fixed
    return _whole(taken, size, low, sizes)


def _whole(ideal: Numbers, size: int, low: Rows, sizes: Rows) -> Rows:
    """Whole numbers with this sum, by largest remainders."""
    found = np.clip(np.floor(ideal + 1e-9).astype(np.int64), low, sizes)
    while (rest := size - int(found.sum())) != 0:
        gap = ideal - found
        can = found < sizes if rest > 0 else found > low
        order = np.argsort(np.where(can, -gap if rest > 0 else gap, np.inf), kind="stable")[: min(abs(rest), int(can.sum()))]
        found[order] += 1 if rest > 0 else -1
    return found


def within(stratum: Rows, taken: Rows, seed: int) -> Rows:
    """Of each stratum the rows with the smallest random numbers, as many as are to be taken, in ascending order."""
    rows = np.arange(len(stratum), dtype=np.int64)
    order = np.lexsort((hashed(rows, seed), stratum))
    starts = np.concatenate([[0], np.cumsum(np.bincount(stratum, minlength=len(taken)))[:-1]])
    rank = np.arange(len(order)) - starts[stratum[order]]
    return np.sort(order[rank < taken[stratum[order]]]).astype(np.int64)
