"""Alarms that need every pair of rows, or cells of both kinds of rows: density, coverage, the Vendi score, MAUVE."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from clframe.generations.alarms import density, exchange, mauve, variance, vendi
from clframe.generations.alarms.data import Data, Embeddings, some
from clframe.generations.alarms.measured import Measured
from clframe.generations.alarms.thresholds import Thresholds
from clframe.seeding import rng
from clframe.selection.clustering import KMeans, cluster
from clframe.selection.pool import pool_of


def of_neighbours(data: Data, limits: Thresholds) -> Iterator[Measured]:
    """Density and coverage on some of the rows."""
    real, made = _drawn(data, limits.near_rows, limits)
    n, m, k = len(real), len(made), limits.neighbours
    if n <= k:
        return
    among = density.distances(np.concatenate([real, made]).astype(np.float64))
    whole = density.expected_coverage(n, m, k)

    def both(r: exchange.Rows, g: exchange.Rows) -> tuple[float, float]:
        dense, covered = density.density_and_coverage(among, r, g, k)
        return dense, covered / whole

    random, order = rng(limits.seed, "alarms", "density"), np.arange(n + m)
    values = both(order[:n], order[n:])
    dealt = (random.permutation(n + m) for _ in range(limits.exchanges))
    chance = np.array([both(one[:n], one[n:]) for one in dealt])
    told = (
        f"generated rows in the neighbourhoods of {n:,} real ones, 1 for the same distribution: lower where they lie off",
        f"real rows with a generated one among their neighbours, of those to be expected, {whole:.0%}",
    )
    for i, name in enumerate(("density", "coverage")):
        yield Measured(name, values[i], chance[:, i], "low", told[i])


def of_vendi(data: Data, limits: Thresholds) -> Iterator[Measured]:
    """The Vendi score of as many generated as real rows."""
    many = min(limits.near_rows, *(len(x) for x in (data.made, data.halves(limits.seed)[1]) if x is not None))
    real, made = _drawn(data, many, limits)
    base = data.halves(limits.seed)[0].astype(np.float64)
    x = np.concatenate([real, made]).astype(np.float64) - base.mean(axis=0)
    x = x @ variance.leading(x)

    def ratio(r: exchange.Rows, g: exchange.Rows) -> float:
        return vendi.vendi_score(x[g]) / vendi.vendi_score(x[r])

    yield _measured("vendi_ratio", ratio, many, limits, f"effective number of different rows, over that of {many:,} real ones")


def of_mauve(data: Data, limits: Thresholds) -> Iterator[Measured]:
    """MAUVE over cells of real and generated rows together, a tenth as many as rows of one kind."""
    assert data.made is not None
    many = min(limits.mauve_rows, len(data.made), len(data.halves(limits.seed)[1]))
    real, made = _drawn(data, many, limits)
    if many < 20:
        return
    x = np.concatenate([real, made]).astype(np.float64)
    x = x @ variance.leading(x, most=x.shape[1])
    cells = cluster(pool_of(x.astype(np.float32)), KMeans(k=many // 10), limits.seed)
    counts = [np.bincount(cells.cell[part], minlength=cells.k) for part in (slice(0, many), slice(many, 2 * many))]
    few = "" if many >= mauve.ENOUGH else f"; of {many:,} rows of each kind, fewer than {mauve.ENOUGH:,}: compare with chance only"
    chance = exchange.of_counts(mauve.mauve, counts[0], counts[1], limits.exchanges, rng(limits.seed, "alarms", "mauve"))
    yield Measured("mauve", mauve.mauve(counts[0], counts[1]), chance, "low", f"1 for the same shares of {cells.k:,} cells{few}")


def _drawn(data: Data, most: int, limits: Thresholds) -> tuple[Embeddings, Embeddings]:
    assert data.made is not None
    random = rng(limits.seed, "alarms", "drawn", most)
    return some(data.halves(limits.seed)[1], most, random), some(data.made, most, random)


def _measured(name: str, of: Callable[[exchange.Rows, exchange.Rows], float], half: int, limits: Thresholds, told: str) -> Measured:
    order = np.arange(2 * half)
    chance = exchange.of_rows(of, half, half, limits.exchanges, rng(limits.seed, "alarms", name))
    return Measured(name, of(order[:half], order[half:]), chance, "low", told)
