"""Look at a few losses, estimate the error of each way to choose, and take the least: uniform unless another is clearly better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
from clframe.selection.methods.uniform import Uniform, smallest

MIXTURES = (0.5, 0.2, 0.1)
RESAMPLES = 200


@final
@dataclass(frozen=True)
class Auto:
    """Draw a pilot uniformly; from its losses estimate the variance of the mean under every candidate; draw the rest by the least.

        V(p) = (1/n^2) sum_i l_i^2 / p_i - mean^2      for probabilities p, by n / P times the sum over the P rows of the pilot

    Candidates are equal probabilities, and p = (1 - a) q / sum q + a / n with q = lhat + lambda v as in `Adaptive`, or q the column
    "proxy" if there is one, each with a = 0.5, 0.2 and 0.1. Guesses are made from one half of the pilot and tried on the other, so
    that none looks good by chance on what it was made from. A candidate other than uniform is taken only if its variance is below
    that of uniform by more than one standard error of their difference (bootstrap over the pilot).

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
        >>> pool, losses = pool_of(x), Losses(np.exp(2 * x[:, 0]), 5000)
        >>> choice = Auto()(Ask(pool, 800, 0, losses, lambda: cluster(pool, KMeans(k=50), seed=0)))
        >>> choice.facts["chosen"], losses.queries == len(choice.rows)
        ('cells, a=0.1', True)

    Reference: none; Neyman, 1938, for sampling in two phases.
    """

    pilot: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.pilot < 1:
            raise bad_option("pilot", "a share in (0, 1)", self.pilot, "Give pilot=0.3.")

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        first = round(self.pilot * ask.size)
        if ask.losses is None or first < 20 or ask.size == ask.pool.n:
            why = "no losses to look at" if ask.losses is None else f"{ask.size} rows are too few to look at some first"
            why = "all rows are asked for" if ask.size == ask.pool.n else why
            return _with(Uniform()(ask), {"chosen": "uniform", "reason": why})
        n, cells = ask.pool.n, ask.clustering
        rows = smallest(n, first, seed_for(ask.seed, "uniform"))  # they are among those of `Uniform`
        values = ask.losses(rows)
        table = compared(rows, values, candidates(ask, cells, rows, values), n, ask.seed)
        best = min(table, key=lambda name: table[name]["variance"])
        gain = table[best]
        if best == "uniform" or gain["less"] <= gain["error"]:
            why = "no candidate's variance is below that of uniform by more than its error"
            return _with(Uniform()(ask), {"chosen": "uniform", "reason": why, "candidates": table, "pilot": first})
        scores = final_scores(ask, cells, best, rows, values)
        rest = iid(scores, ask.size - first, rng(ask.seed, "auto"))
        seen = Draw(rows, np.ones(first, dtype=np.int64), np.full(first, first / n), first, replaced=False)
        parts = [(first, drawn_mean(seen, values, n)), (rest.size, drawn_mean(rest, ask.losses(rest.rows), n))]
        share = 100 * gain["variance"] / table["uniform"]["variance"]
        why = f"its variance is {share:.0f} % of that of uniform, by {first} losses"
        facts = {"chosen": best, "reason": why, "candidates": table, "pilot": first, "cost": cells.cost}
        return merged([seen, rest], together([(float(m), e) for m, e in parts]), facts)


def _with(choice: Choice, facts: Mapping[str, Any]) -> Choice:
    return Choice(**{**vars(choice), "facts": {**choice.facts, **facts}})


def candidates(ask: Ask, cells: Clustering, rows: Rows, values: Numbers) -> dict[str, Numbers]:
    """p of each row of the pilot (P,), times n, by name; each guess made from the half that the row is not in."""
    found = {"uniform": np.ones(len(rows))}
    half = np.arange(len(rows)) % 2 == 0  # rows are in the order of the pool, so both halves are spread over it
    for a in MIXTURES:
        p = np.empty(len(rows))
        for own in (half, ~half):
            guess = cell_means(rows[~own], values[~own], cells)
            lam = slope(rows[~own], values[~own], guess, cells)
            p[own] = guided(cells, guess, lam, a).at(rows[own])
        found[f"cells, a={a:g}"] = p * ask.pool.n
        if ask.proxy is not None:
            found[f"proxy, a={a:g}"] = Scores.known(ask.proxy, a).at(rows) * ask.pool.n
    return found


def compared(rows: Rows, values: Numbers, found: Mapping[str, Numbers], n: int, seed: int) -> dict[str, dict[str, float]]:
    """The variance of one draw under each candidate, how much less than that of uniform it is, and the error of that."""
    squares = np.stack([values**2 / p for p in found.values()])  # (candidates, P)
    variance = squares.mean(1) - values.mean() ** 2
    again = rng(seed, "auto", "bootstrap").integers(len(values), size=(RESAMPLES, len(values)))
    less = squares[0][again].mean(1)[None] - squares[:, again].mean(2)
    return {
        name: {"variance": float(variance[i]), "less": float(variance[0] - variance[i]), "error": float(less[i].std(ddof=1))}
        for i, name in enumerate(found)
    }


def final_scores(ask: Ask, cells: Clustering, name: str, rows: Rows, values: Numbers) -> Scores:
    """The candidate, made from the whole pilot."""
    kind, _, mixture = name.partition(", a=")
    if kind == "proxy":
        assert ask.proxy is not None
        return Scores.known(ask.proxy, float(mixture))
    guess = cell_means(rows, values, cells)
    return guided(cells, guess, slope(rows, values, guess, cells), float(mixture))
