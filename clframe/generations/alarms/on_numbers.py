"""Alarms on losses, embeddings and copies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clframe.generations.alarms import duplicates, entropy, exchange, tail, variance
from clframe.generations.alarms.data import Data, some
from clframe.generations.alarms.heldout_loss import increase, increase_by_chance
from clframe.generations.alarms.measured import Measured
from clframe.generations.alarms.thresholds import Thresholds
from clframe.seeding import rng
from clframe.selection.clustering import KMeans, assign, cluster
from clframe.selection.clustering.nearest import by_faiss
from clframe.selection.pool import pool_of


def of_losses(data: Data, limits: Thresholds) -> Iterator[Measured]:
    """Held-out real loss against the first model and against the one before."""
    ages = sorted(g for g in data.losses if g <= data.generation)
    if len(ages) < 2 or ages[-1] != data.generation:
        return
    now, random = data.losses[data.generation], rng(limits.seed, "alarms", "loss")
    for name, age in (("loss_since_first", ages[0]), ("loss_since_last", ages[-2])):
        before = data.losses[age]
        value, chance = increase(now, before), increase_by_chance(now, before, limits.exchanges, random)
        told = f"real data is predicted {'worse' if value > 0 else 'no worse'} than by generation {age}: {now.mean():.4g}"
        yield Measured(name, value, chance, "high", f"{told} after {before.mean():.4g}")


def of_variance(data: Data, limits: Thresholds) -> Iterator[Measured]:
    """Spread, and volume in the leading directions of real rows."""
    assert data.made is not None
    random = rng(limits.seed, "alarms", "variance")
    base, held = data.halves(limits.seed)
    real, made = (some(x, limits.rows, random).astype(np.float64) for x in (held, data.made))
    if min(len(real), len(made)) < 2:
        return
    times, x = limits.exchanges, np.concatenate([real, made])
    value = variance.trace_ratio(made, real)
    alone = ""
    if data.trained:
        alone = f"; replacing {data.trained:,} rows leaves {variance.by_chance_alone(data.trained, data.generation):.3g} by chance"
    if np.isfinite(value):
        chance = variance.trace_ratio_by_chance(x, len(real), times, random)
        yield Measured("variance_ratio", value, chance, "low", f"spread of generated over real rows{alone}")
    if len(base) < 3:
        return
    along = variance.leading(
        some(base, limits.rows, random).astype(np.float64), most=max(1, min(32, len(real) // 10, len(made) // 10))
    )
    y = x @ along
    volume = variance.determinant_ratio(y[len(real) :], y[: len(real)])
    if np.isfinite(volume):
        chance = exchange.of_rows(lambda r, m: variance.determinant_ratio(y[m], y[r]), len(real), len(made), times, random)
        yield Measured("determinant_ratio", volume, chance, "low", f"spread for each of {along.shape[1]} leading directions")


def of_cells(data: Data, limits: Thresholds) -> Iterator[Measured]:
    """Entropy, empty cells, the rarest cells, lost modes."""
    assert data.made is not None
    base, held = data.halves(limits.seed)
    found = cluster(pool_of(base), KMeans(k=min(limits.cells, len(base))), limits.seed) if len(base) else None
    if found is None or found.k < 2:
        return
    nearest = by_faiss(found.centres)
    real, made = (np.bincount(assign(x, found.centres, nearest)[0], minlength=found.k) for x in (held, data.made))
    rare = tail.rarest(found.sizes)
    told = f"of {found.k:,} cells"
    for name, bad, statistic, means in (
        ("cell_entropy", "low", entropy.entropy_change, f"entropy {told}, less that of real rows: lower where kinds are lost"),
        ("empty_cells", "high", entropy.empty_cells, f"share {told} with real rows that no generated row is in"),
        ("starved_mass", "high", tail.starved, f"share of real rows in cells, {told}, that generated rows hardly reach"),
        (
            "tail_coverage",
            "low",
            lambda r, m: tail.tail_coverage(r, m, rare),
            f"generated over expected rows in the {rare.sum():,} rarest {told}",
        ),
    ):
        random = rng(limits.seed, "alarms", name)
        value = statistic(real, made)
        if np.isfinite(value):
            yield Measured(name, value, exchange.of_counts(statistic, real, made, limits.exchanges, random), bad, means)


def of_near_copies(data: Data, limits: Thresholds) -> Iterator[Measured]:
    """Rows nearly alike to real ones."""
    assert data.real is not None
    assert data.made is not None
    x = np.concatenate([data.real, data.made])
    cells = cluster(pool_of(x), KMeans(spherical=True), limits.seed)
    flags = duplicates.near(cells, x, len(data.real), limits.near)
    yield _copies("near_copies", flags, len(data.real), limits, f"rows with a cosine above {1 - limits.near:.4g} to a real row")


def of_exact_copies(data: Data, limits: Thresholds) -> Iterator[Measured]:
    """Rows equal to a training row."""
    if len(data.training) and len(data.rows):
        flags = np.concatenate([duplicates.repeated(data.training), duplicates.exact(data.rows, data.training)])
        yield _copies("exact_copies", flags, len(data.training), limits, "rows equal to a training row")


def _copies(name: str, flags: duplicates.Flags, real: int, limits: Thresholds, what: str) -> Measured:
    """Copies among the generated rows, and among the real ones by themselves."""
    own, made = (np.bincount(part.astype(np.int64), minlength=2) for part in (flags[:real], flags[real:]))
    random = rng(limits.seed, "alarms", name)
    chance = exchange.of_counts(duplicates.excess, own, made, limits.exchanges, random)
    told = f"{made[1] / made.sum():.1%} {what}, {own[1] / real:.1%} among those themselves"
    return Measured(name, duplicates.excess(own, made), chance, "high", told)
