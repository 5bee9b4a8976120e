"""GradMatch: few weighted gradients that add up to the mean gradient, by orthogonal matching pursuit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from clframe.errors import bad_option
from clframe.selection.choice import Ask, Choice
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.methods.parts import parts, taken


@final
@dataclass(frozen=True)
class GradMatch:
    """Rows and weights w >= 0 whose gradients add up to those of all rows, found greedily within each label of N_h rows.

        u = argmin_{u >= 0} || sum_{j in S} u_j g_j - b ||^2 + lambda ||u||^2,   b = mean g,   lambda = ridge mean ||g||^2
        S grows by the rows of the largest <g_i, b - sum_j u_j g_j>,   w_j = N_h u_j

    g_i is the embedding: the gradient of each sample, of the last layer, for example. Without a ridge d rows are enough, and hardly
    more are found; with one, all that are asked for. Weights do not add up to n: rows are taken that point where the mean does, and
    fewer of these make up its length.

    The choice is not random, and says nothing of the mean loss. It has fewer rows than were asked for where no more are of use: a
    row of weight 0 is left out, and the search ends when no row brings the sum nearer. Cost of each refit: O(N_h d), and a problem
    of non-negative least squares with as many unknowns as rows so far.

    Args:
        ridge: lambda, as a multiple of the mean squared length of a gradient.
        refits: of the weights, at most, within each label; where there are more rows to choose, several are taken between two.
        by: what the choice is made within: "auto", the column "label" if there is one; "none"; "cell"; or the name of a column.

    Raises:
        OptionError: an option breaks its rule; no such column; more labels than rows to choose; a refit that does not settle.
        DataError: an embedding that is not finite; the rows are named.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> choice = GradMatch(ridge=0)(Ask(pool_of([[6.0, 0.0], [0.0, 3.0], [-1.0, -1.0], [1.0, 1.0]]), size=2, seed=0))
        >>> choice.rows.tolist(), choice.weight.round(6).tolist(), choice.facts["gradient_error"] < 1e-12  # 4 b = (6, 3)
        ([0, 1], [1.0, 1.0], True)

    Reference: Killamsetty, Sivasubramanian, Ramakrishnan, De, Iyer, "GRAD-MATCH: gradient matching based data subset selection for
        efficient deep model training", ICML 2021, algorithm 2.

    Differences:
        1. lambda is a multiple of the mean squared length, so that it means the same for gradients of any scale.
        2. Rows are not filled up at random where fewer are of use; the manifest has how many are missing.
        3. Of rows, not of mini-batches of them.
    """

    ridge: float = 0.01
    refits: int = 100
    by: str = "auto"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.ridge) and self.ridge >= 0):
            raise bad_option("ridge", "zero or positive", self.ridge, "Give ridge=0.01.")
        if self.refits < 1:
            raise bad_option("refits", "a positive integer", self.refits, "Give refits=100.")

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        of, found = parts(ask, self.by)
        rows, weight, gap, total = [], [], np.zeros(ask.pool.d), np.zeros(ask.pool.d)
        for part in found:
            g = taken(ask.pool, part.rows)
            chosen, u = matched(g, part.size, self.ridge, self.refits)
            rows.append(part.rows[chosen])
            weight.append(len(g) * u)
            total += g.sum(axis=0)
            gap += g.sum(axis=0) - weight[-1] @ g[chosen]
        every, n = np.concatenate(rows), ask.pool.n
        error, length = float(np.linalg.norm(gap)) / n, float(np.linalg.norm(total)) / n
        facts = {"parts": len(found), "gradient": length, "gradient_error": error, "missing": ask.size - len(every)}
        choice = Choice.fixed(every, np.concatenate(weight), np.concatenate(weight) / n, **facts)
        return replace(choice, stratum=of[choice.rows])


def matched(g: Numbers, size: int, ridge: float, refits: int) -> tuple[Rows, Numbers]:
    """At most `size` rows of g (N, d), and u > 0 with sum_j u_j g_j near the mean of g; one row at least.

    Example:
        >>> rows, u = matched(np.array([[2.0, 0.0], [0.0, 2.0]]), 2, ridge=0.0, refits=10)
        >>> rows.tolist(), u.round(6).tolist()
        ([0, 1], [0.5, 0.5])
    """
    target, squares = g.mean(axis=0), (g**2).sum(axis=1)
    lam, least = ridge * float(squares.mean()), 1e-10 * math.sqrt(float(squares.max() * (target**2).sum()))
    rows, u, step = np.empty(0, dtype=np.int64), np.empty(0), math.ceil(size / refits)
    while len(rows) < size:
        pull = g @ (target - u @ g[rows])
        pull[rows] = -np.inf
        new = np.argsort(-pull, kind="stable")[: min(step, size - len(rows))]
        new = new[pull[new] > least]
        if not len(new):
            break
        rows = np.concatenate([rows, new])
        u = nonnegative(g[rows], target, lam)
    if not (u > 0).any():  # the mean is 0: no row at all is nearest to it
        return np.array([int(np.argmin(squares))]), np.ones(1)
    return rows[u > 0], u[u > 0]


def nonnegative(g: Numbers, target: Numbers, lam: float) -> Numbers:
    """argmin_{u >= 0} ||u g - target||^2 + lam ||u||^2 for rows g (m, d) -> (m,).

    Raises:
        OptionError: it does not settle, as rows are too much alike.

    Example:
        >>> nonnegative(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([2.0, -1.0]), 1.0).round(6).tolist()
        [1.0, 0.0]
    """
    from scipy.optimize import nnls

    stacked = np.concatenate([g.T, math.sqrt(lam) * np.eye(len(g))]) if lam else g.T
    wanted = np.concatenate([target, np.zeros(len(g))]) if lam else target
    try:
        found: Numbers = nnls(stacked, wanted)[0]
    except RuntimeError as error:
        raise bad_option("ridge", "large enough for the weights to settle", lam, "Give ridge=0.01 or more.") from error
    return found
