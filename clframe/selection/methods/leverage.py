"""Leverage scores: rows whose embedding no others are like are drawn more often, as least squares needs them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.errors import bad_option
from clframe.selection.choice import Ask, Choice
from clframe.selection.clustering.kmeans import checked
from clframe.selection.draws import Scores
from clframe.selection.draws.draw import Numbers
from clframe.selection.methods.by_scores import by_scores, check
from clframe.selection.pool import Pool
from clframe.selection.pool.vectors import Floats


@final
@dataclass(frozen=True)
class Leverage:
    """Rows drawn in proportion to their leverage in a linear regression on the embedding.

        s_i = x_i' (X'X + lambda I)^-1 x_i,   p_i = (1 - a) s_i / sum_j s_j + a / n,   w_i = count_i / (m p_i)

    x_i is the embedding, with a 1 behind it if there is an intercept; lambda is not added for that 1. sum_j s_j is the effective
    dimension: without a ridge, the rank of X. Columns that others add up to count for nothing: where X'X has no inverse, its
    pseudo-inverse stands for it.

    What is drawn with these weights keeps the losses ||X b - y||^2 of all b at once, so that weighted least squares on it comes
    close to that on all rows. No loss and no target is looked at. Cost: two passes over the pool, n d^2 multiplications.

    Args:
        ridge: lambda, in the units of X'X.
        intercept: whether the regression has one.
        mixture: a, in [0, 1].
        draw: "iid" with replacement, or "systematic" for distinct rows.

    Raises:
        OptionError: an option breaks its rule.
        DataError: an embedding that is not finite; the rows are named.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> x = np.concatenate([np.full((98, 1), 1.0), [[9.0], [-9.0]]])  # two rows far from all others
        >>> choice = Leverage(draw="systematic")(Ask(pool_of(x), size=20, seed=0))
        >>> choice.rows[-2:].tolist(), choice.weight[-2:].tolist(), round(choice.facts["effective_dimension"], 6)
        ([98, 99], [1.0, 1.0], 2.0)

    Reference: Drineas, Mahoney, Muthukrishnan, "Sampling algorithms for l2 regression and applications", 2006; Alaoui, Mahoney,
        "Fast randomized kernel ridge regression with statistical guarantees", 2015, for the ridge.

    Differences:
        1. A share of equal probabilities, as of Ma, Mahoney, Yu, "A statistical perspective on algorithmic leveraging", 2015, who
           take a tenth. For numbers see `Regression`.
        2. Exact scores, from X'X in double precision, not estimates from a random projection.
    """

    ridge: float = 0.0
    intercept: bool = True
    mixture: float = 0.5
    draw: str = "iid"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.ridge) and self.ridge >= 0):
            raise bad_option("ridge", "zero or positive", self.ridge, "Give ridge=0.")
        check(self.mixture, self.draw, usual=0.5)

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        score = leverage(ask.pool, self.ridge, self.intercept)
        facts = {"effective_dimension": float(score.sum()), "largest_leverage": float(score.max())}
        return by_scores(ask, Scores.known(score, self.mixture), self.draw, "leverage", **facts)


def leverage(pool: Pool, ridge: float = 0.0, intercept: bool = True) -> Numbers:
    """The leverage s_i of each row (n,), block by block.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> leverage(pool_of([[3.0], [4.0]]), intercept=False).round(3).tolist()  # 9 / 25 and 16 / 25
        [0.36, 0.64]
    """
    width = pool.d + intercept
    gram = np.zeros((width, width))
    for block in pool.blocks():
        x = design(checked(block), intercept)
        gram += x.T @ x
    gram[np.arange(pool.d), np.arange(pool.d)] += ridge
    root = inverse_root(gram)
    score = np.empty(pool.n)
    for block in pool.blocks():
        score[block.start : block.start + len(block.x)] = ((design(block.x, intercept) @ root) ** 2).sum(axis=1)
    return score


def design(x: Floats, intercept: bool) -> Numbers:
    """Embeddings in double precision, with a 1 behind them if there is an intercept (b, d or d + 1)."""
    wide = x.astype(np.float64)
    return np.concatenate([wide, np.ones((len(x), 1))], axis=1) if intercept else wide


def inverse_root(gram: Numbers) -> Numbers:
    """R with R R' = the pseudo-inverse of G, up to the scale of columns, by which G is divided first (d, rank).

    Directions with less than the rounding error of single precision are left out: the embeddings hold no more.

    Example:
        >>> inverse_root(np.array([[4.0, 0.0], [0.0, 0.0]])).tolist()
        [[0.5], [0.0]]
    """
    size = np.sqrt(np.diag(gram))
    scale = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    values, vectors = np.linalg.eigh(gram * scale[:, None] * scale[None])
    kept = values > values[-1] * len(gram) * float(np.finfo(np.float32).eps) ** 2
    root: Numbers = scale[:, None] * vectors[:, kept] / np.sqrt(values[kept])
    return root
