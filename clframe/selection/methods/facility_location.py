"""Facility location: rows to which those of the pool are near on average."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from clframe.errors import bad_option
from clframe.seeding import seed_for
from clframe.selection.choice import Ask, Choice
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.methods.greedy_cover import CELLS, greedy_cover
from clframe.selection.methods.owners import Owners
from clframe.selection.methods.parts import taken
from clframe.selection.methods.uniform import smallest
from clframe.selection.pool.pool import Pool

FEWEST, TIMES = 20_000, 4
"""Candidates where their number is not given: so many, or so many times the rows to choose."""


@final
@dataclass(frozen=True)
class FacilityLocation:
    """m rows that make the mean distance to the nearest of them small, each the one that lessens it most.

        i_t = argmin_{i in C} sum_{c in C} min(min_{s < t} ||x_c - x_{i_s}||, ||x_c - x_i||)
        w_t = how many rows of the pool have i_t as their nearest chosen one

    C are candidates, drawn uniformly from the pool: only they can be chosen, and the sum is taken over them; the weights are
    counted over all rows. With D the largest distance, the fall of the sum from |C| D is at least 1 - 1/e of the largest fall that
    m candidates can bring. The choice is not random: it says nothing of the mean loss.

    Cost: O(|C|^2 d) for the first two rows, far less for each of the others, and O(n m d) for the weights. Memory: `needed`, and
    8 n bytes. What needs more than the limit is refused before anything is computed.

    Args:
        candidates: |C|; 0: the larger of 20,000 and 4 m, at most n. Give n or more for all rows.
        spherical: scale embeddings to length 1 first, so that distances are those of directions.
        memory: the limit, in GiB.

    Raises:
        OptionError: an option breaks its rule; fewer candidates than rows to choose; more memory needed than the limit.
        DataError: an embedding that is not finite; the rows are named.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> choice = FacilityLocation()(Ask(pool_of([[0.0], [1.0], [2.0], [9.0], [9.5]]), size=2, seed=0))
        >>> choice.rows.tolist(), choice.weight.tolist(), choice.facts["mean_distance"]  # (2 + 1 + 0 + 0 + 0.5) / 5
        ([2, 3], [3.0, 2.0], 0.7)

    The score of a row is by how much it lessened the mean distance over C; the first has none (NaN).

    Reference: Nemhauser, Wolsey, Fisher, "An analysis of approximations for maximizing submodular set functions", 1978; Minoux,
        "Accelerated greedy algorithms for maximizing submodular set functions", 1978; Wei, Iyer, Bilmes, "Submodularity in data
        subset selection and active learning", ICML 2015.

    Differences:
        1. Distances instead of similarities D - ||x - y||: the choice is the same for any D.
        2. Candidates are a sample of the pool, so that cost and memory do not grow with the square of its rows.
        3. Rows have weights; there they have none.
    """

    candidates: int = 0
    spherical: bool = False
    memory: float = 4.0

    def __post_init__(self) -> None:
        if self.candidates < 0:
            raise bad_option("candidates", "a number of rows, or 0 for the usual one", self.candidates, "Leave it out.")
        if not (math.isfinite(self.memory) and self.memory > 0):
            raise bad_option("memory", "a positive number of GiB", self.memory, "Give memory=4.")

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        pool, m = ask.pool, ask.size
        count = min(pool.n, self.candidates or max(FEWEST, TIMES * m))
        if count < m:
            raise bad_option("candidates", f"at least the {m:,} rows to choose", self.candidates, "Leave it out.")
        self._check(count, pool.d, m)
        rows = smallest(pool.n, count, seed_for(ask.seed, "facility-location"))
        found = greedy_cover(embeddings(pool, rows, self.spherical), m)
        owners = Owners(pool, m, self.spherical)
        for row in rows[found.chosen].tolist():
            owners.add(row)
        owners.settle()
        facts: dict[str, Any] = {
            "candidates": count,
            "memory_gib": round(needed(count, pool.d), 3),
            "mean_distance": float(owners.distances.mean()),
            "mean_distance_of_candidates": float(found.distance.mean()),
        }
        return Choice.fixed(np.array(owners.rows), owners.sizes.astype(np.float64), found.gain / count, **facts)

    def _check(self, count: int, d: int, m: int) -> None:
        """Refuse what needs more memory than the limit."""
        need = needed(count, d)
        if need > self.memory:
            fit = int((self.memory - needed(0, d)) * 2**30 / _each(d))
            least = math.ceil(10 * need) / 10
            remedy = f"Give candidates={fit}, or memory={least}." if fit >= m else f"Give memory={least}, or a smaller size."
            raise bad_option("memory", f"at least the {least} GiB that {count:,} candidates need", self.memory, remedy)


def needed(candidates: int, d: int) -> float:
    """GiB that the greedy choice needs at most: four copies of the candidates in double precision, and three tables of distances.

    Example:
        >>> round(needed(20_000, 256), 2), round(needed(1_000_000, 256), 2)
        (0.34, 7.89)
    """
    return (candidates * _each(d) + 24 * CELLS) / 2**30


def _each(d: int) -> int:
    """Bytes for each candidate."""
    return 32 * d + 80


def embeddings(pool: Pool, rows: Rows, spherical: bool) -> Numbers:
    """The embeddings of some rows, in double precision (len(rows), d); of length 1 if spherical, but for those of length 0."""
    x = taken(pool, rows)
    if spherical:
        x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return x
