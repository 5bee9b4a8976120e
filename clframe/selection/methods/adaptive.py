"""Sensitivity sampling in rounds: what earlier rounds saw of a cell guides the next; no losses of centres are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from clframe.errors import bad_option
from clframe.seeding import rng
from clframe.selection.choice import Ask, Choice
from clframe.selection.clustering import Clustering
from clframe.selection.draws import Draw, Scores, iid
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.estimate import Estimate, drawn_mean, together

PRIOR = 2.0
"""How many rows the mean of all cells counts as, in the mean of one cell."""


@final
@dataclass(frozen=True)
class Adaptive:
    """Rows drawn in rounds; the losses of the rounds before say where to look.

        lhat_i = (sum of losses seen in i's cell + 2 mean of all seen) / (their number + 2)        nothing seen: all rows alike
        lambda = least squares of |l - lhat| on v, over all rows seen,   q = lhat + lambda v,   p_t = (1 - a) q / sum q + a / n
        w_i = sum of 1 / (M p_t(i)) over the rounds t in which i was drawn,   M draws in all

    Every round is unbiased given those before, so the weighted sum is, too, although p_t depends on what was drawn. All draws
    count, so that no more losses are asked for than rows are drawn.

    Args:
        rounds: the first draws uniformly; all have the same number of draws.
        mixture: a, in (0, 1].

    Raises:
        OptionError: an option breaks its rule, or there are no losses.

    Example:
        >>> from clframe.selection.clustering import KMeans, cluster
        >>> from clframe.selection.losses import Losses
        >>> from clframe.selection.pool import pool_of
        >>> x = np.random.default_rng(0).normal(size=(2000, 4))
        >>> pool, losses = pool_of(x), Losses(np.exp(x[:, 0]), 2000)
        >>> choice = Adaptive()(Ask(pool, 300, 0, losses, lambda: cluster(pool, KMeans(k=40), seed=0)))
        >>> int(choice.count.sum()), losses.queries == len(choice.rows)
        (300, True)

    Reference: Axiotis et al., ICML 2024, for "a small number of adaptive rounds".

    Differences:
        1. Rounds in the form in which they are exactly unbiased; the paper's own could not be read.
    """

    rounds: int = 3
    mixture: float = 0.2

    def __post_init__(self) -> None:
        if self.rounds < 2:
            raise bad_option("rounds", "at least 2, of which the first looks around", self.rounds, "Give rounds=3, or use uniform.")
        if not 0 < self.mixture <= 1:
            raise bad_option("mixture", "a share in (0, 1]", self.mixture, "Give mixture=0.2.")

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        losses, cells, n = ask.needed_losses("adaptive"), ask.clustering, ask.pool.n
        budgets = [len(part) for part in np.array_split(np.arange(ask.size), self.rounds)]
        rows, values, draws, parts, lam = np.empty(0, dtype=np.int64), np.empty(0), [], [], 0.0
        for t, budget in enumerate(b for b in budgets if b):
            guess = cell_means(rows, values, cells)
            lam = slope(rows, values, guess, cells)
            scores = guided(cells, guess, lam, self.mixture) if t else Scores(n, lambda a, b: np.ones(b - a))
            draw = iid(scores, budget, rng(ask.seed, "adaptive", t))
            found = losses(draw.rows)
            rows, values = np.concatenate([rows, draw.rows]), np.concatenate([values, found])
            draws.append(draw)
            parts.append((float(budget), drawn_mean(draw, found, n)))
        return merged(draws, together(parts), {"rounds": len(draws), "lambda": lam, "cost": cells.cost})


def cell_means(rows: Rows, values: Numbers, cells: Clustering) -> Numbers:
    """The mean loss seen in each cell, drawn towards that of all (k,)."""
    if not len(rows):
        return np.ones(cells.k)
    of = cells.cell[rows]
    number, total = np.bincount(of, minlength=cells.k), np.bincount(of, weights=values, minlength=cells.k)
    found: Numbers = (total + PRIOR * values.mean()) / (number + PRIOR)
    return found


def slope(rows: Rows, values: Numbers, guess: Numbers, cells: Clustering) -> float:
    """lambda by least squares of what the guess is off by on the distance."""
    far = cells.distance[rows].astype(np.float64)
    square = float((far**2).sum())
    return float((np.abs(values - guess[cells.cell[rows]]) * far).sum()) / square if square else 0.0


def guided(cells: Clustering, guess: Numbers, lam: float, mixture: float) -> Scores:
    """p in proportion to guess + lambda v."""
    return Scores(len(cells.cell), lambda a, b: guess[cells.cell[a:b]] + lam * cells.far(a, b), mixture)


def merged(draws: list[Draw], estimate: Estimate, facts: dict[str, Any]) -> Choice:
    """Draws one after another as one choice of M draws: a row's weights add up, and so does how often it was expected."""
    size = sum(d.size for d in draws)
    every = np.concatenate([d.rows for d in draws])
    rows, place = np.unique(every, return_inverse=True)
    place = place.reshape(-1)
    weight = np.bincount(place, weights=np.concatenate([d.weight * d.size for d in draws])) / size
    count = np.bincount(place, weights=np.concatenate([d.count for d in draws])).astype(np.int64)
    return Choice(rows, weight, count / weight, count, 0 * count, count / weight, estimate, facts)
