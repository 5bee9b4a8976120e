"""Look at a few losses, estimate the error of each way to choose, and take the least that is clearly better than the usual one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from clframe.errors import bad_option
from clframe.seeding import rng, seed_for
from clframe.selection.choice import Ask, Choice
from clframe.selection.clustering import Clustering
from clframe.selection.draws import Draw, Scores, iid
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.estimate import drawn_mean, together
from clframe.selection.methods.adaptive import cell_means, guided, merged, slope
from clframe.selection.methods.allocation import allocate
from clframe.selection.methods.auto_words import reason
from clframe.selection.methods.greg import Greg, controls
from clframe.selection.methods.strata import strata
from clframe.selection.methods.stratified import stratified
from clframe.selection.methods.uniform import Uniform, smallest

MIXTURES = (0.5, 0.2)
RESAMPLES = 200
LEAST = 20
"""Rows of a pilot that something can be told from."""


@final
@dataclass(frozen=True)
class Auto:
    """Draw a pilot uniformly; from its losses estimate the variance of the mean under every candidate; go on with the least.

    Candidates, and the variance of M draws times M, of which a share f is the pilot:

        uniform                          s^2
        stratified by the cells          the mean of s_h^2 within cells
        calibrated (see `Greg`)          the mean square of what is left of the loss after the column "proxy", if there is one
        drawn by q                       f s^2 + (1 - f) V,   V = (1/n^2) sum_i l_i^2 / p_i - mean^2

    with p = (1 - a) q / sum q + a / n for a = 0.5 and 0.2, and q = lhat + lambda v as in `Adaptive`, or q the column "proxy".
    Guesses lhat are made from one half of the pilot and tried on the other, so that none looks good by chance on what it was made
    from. The usual choice is uniform, or calibrated where that has the smaller variance: a coefficient costs next to nothing where
    the proxy tells nothing. Another candidate is taken only if its variance is below that of the usual choice by more than two
    standard errors of their difference (bootstrap over the pilot).

    The pilot is part of what is chosen, and its losses count: no loss is asked for but those of the rows chosen. Where uniform is
    best, the choice is that of `Uniform`. Numbers and reason stand in the manifest.

    Args:
        pilot: share of the rows that is drawn uniformly first, in (0, 1).

    Raises:
        OptionError: an option breaks its rule.

    Example:
        >>> from clframe.selection.clustering import KMeans, cluster
        >>> from clframe.selection.losses import Losses
        >>> from clframe.selection.pool import pool_of
        >>> x = np.random.default_rng(0).normal(size=(5000, 4))
        >>> pool, losses = pool_of(x), Losses(np.exp(x[:, 0]), 5000)
        >>> choice = Auto()(Ask(pool, 800, 0, losses, lambda: cluster(pool, KMeans(k=50), seed=0)))
        >>> choice.facts["chosen"], losses.queries == len(choice.rows)
        ('stratified', True)

    Reference: none; Neyman, 1938, for sampling in two phases.
    """

    pilot: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.pilot < 1:
            raise bad_option("pilot", "a share in (0, 1)", self.pilot, "Give pilot=0.3.")

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        first = round(self.pilot * ask.size)
        if ask.losses is None:
            return _with(Uniform()(ask), chosen="uniform", reason="there are no losses to look at")
        if ask.size == ask.pool.n or first < LEAST:
            small = (
                f"a pilot of {first} rows is too small to tell anything from, which needs a size of {math.ceil(LEAST / self.pilot)}"
            )
            few = "all rows are asked for" if ask.size == ask.pool.n else small
            return _with(Uniform()(ask), chosen="uniform", reason=few)
        rows = smallest(ask.pool.n, first, seed_for(ask.seed, "uniform"))  # they are among those of `Uniform`
        values = ask.losses(rows)
        found = squares(ask, rows, values, first / ask.size)
        usual = min(("uniform", "calibrated") if "calibrated" in found else ("uniform",), key=lambda name: found[name].mean())
        table = compared(found, usual, ask.seed)
        best = min(table, key=lambda name: table[name]["variance"])
        chosen = best if table[best]["less"] > 2 * table[best]["error"] else usual
        why = reason(table, best, chosen, usual, first)
        return _with(continued(ask, chosen, rows, values), chosen=chosen, reason=why, candidates=table, beside=usual, pilot=first)


def squares(ask: Ask, rows: Rows, values: Numbers, share: float) -> dict[str, Numbers]:
    """What each row of the pilot adds to the variance of each candidate, which is the mean of these (P,)."""
    cells, plain = ask.clustering, (values - values.mean()) ** 2 * len(values) / max(1, len(values) - 1)
    found = {"uniform": plain}
    if cells.k + len(rows) <= ask.size:  # room for a row of each cell beside the pilot
        found["stratified"] = _within_cells(cells.cell[rows], values, plain)
    proxy = ask.proxy
    if proxy is not None:
        x = controls(ask, "proxy", rows)[0]
        rest = values - x @ np.linalg.lstsq(x, values, rcond=None)[0]
        found["calibrated"] = rest**2 * len(values) / max(1, len(values) - x.shape[1])
    guesses: dict[str, Numbers] = {}
    for a in MIXTURES:
        guesses[f"cells, a={a:g}"] = _crossed(cells, rows, values, a)
        if proxy is not None:
            guesses[f"proxy, a={a:g}"] = Scores.known(proxy, a).at(rows)
    for name, p in guesses.items():
        found[name] = share * plain + (1 - share) * (values**2 / (p * ask.pool.n) - values.mean() ** 2)
    return found


def compared(found: Mapping[str, Numbers], usual: str, seed: int) -> dict[str, dict[str, float]]:
    """The variance of each candidate, how much less than that of the usual one it is, and the standard error of that."""
    less = np.stack([found[usual] - own for own in found.values()])
    again = rng(seed, "auto", "bootstrap").integers(less.shape[1], size=(RESAMPLES, less.shape[1]))
    errors = [float(own[again].mean(1).std(ddof=1)) for own in less]
    return {
        name: {"variance": float(own.mean()), "less": float(gap.mean()), "error": error}
        for (name, own), gap, error in zip(found.items(), less, errors, strict=True)
    }


def continued(ask: Ask, name: str, rows: Rows, values: Numbers) -> Choice:
    """The choice by a candidate; the pilot is part of it."""
    assert ask.losses is not None
    cells, first, n = ask.clustering, len(rows), ask.pool.n
    if name == "uniform":
        return Uniform()(ask)
    if name == "calibrated":
        return Greg(controls="proxy")(ask)
    if name == "stratified":  # the pilot has the smallest random numbers of every cell
        stratum, names = strata(ask, "cell")
        sizes, had = cells.sizes, np.bincount(stratum[rows], minlength=len(names))
        taken = allocate(ask.size, sizes, sizes.astype(float), np.maximum(1, had), "cell")
        return stratified(ask, stratum, sizes, taken)
    kind, _, mixture = name.partition(", a=")
    if kind == "proxy":
        assert ask.proxy is not None
        scores = Scores.known(ask.proxy, float(mixture))
    else:
        guess = cell_means(rows, values, cells)
        scores = guided(cells, guess, slope(rows, values, guess, cells), float(mixture))
    pilot = Draw(rows, np.ones(first, dtype=np.int64), np.full(first, first / n), first, replaced=False)
    rest = iid(scores, ask.size - first, rng(ask.seed, "auto"))
    parts = [(float(first), drawn_mean(pilot, values, n)), (float(rest.size), drawn_mean(rest, ask.losses(rest.rows), n))]
    return merged([pilot, rest], together(parts), {})


def _within_cells(cell: np.ndarray[Any, np.dtype[np.int32]], values: Numbers, alone: Numbers) -> Numbers:
    """Squares around the mean of the cell, unbiased for the variance within; `alone` where a cell has one row."""
    number = np.bincount(cell)
    mean = np.bincount(cell, weights=values) / np.maximum(number, 1)
    own = number[cell]
    found: Numbers = np.where(own > 1, (values - mean[cell]) ** 2 * own / np.maximum(own - 1, 1), alone)
    return found


def _crossed(cells: Clustering, rows: Rows, values: Numbers, mixture: float) -> Numbers:
    """p of each row of the pilot by what the half of the pilot that it is not in says."""
    p, half = (
        np.empty(len(rows)),
        np.arange(len(rows)) % 2 == 0,
    )  # rows are in the order of the pool: both halves are spread over it
    for own in (half, ~half):
        guess = cell_means(rows[~own], values[~own], cells)
        p[own] = guided(cells, guess, slope(rows[~own], values[~own], guess, cells), mixture).at(rows[own])
    return p


def _with(choice: Choice, **facts: Any) -> Choice:
    return replace(choice, facts={**choice.facts, **facts})
