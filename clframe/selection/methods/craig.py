"""CRAIG: medoids of gradients, each weighted by how many rows it stands for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from clframe.selection.choice import Ask, Choice
from clframe.selection.methods.greedy_cover import greedy_cover
from clframe.selection.methods.parts import parts, taken


@final
@dataclass(frozen=True)
class Craig:
    """The m rows to whose gradients those of all others are near, found greedily within each label.

        S = argmin_{|S| = m} sum_i min_{j in S} ||g_i - g_j||,   w_j = how many rows i have j as their nearest in S
        || sum_i g_i - sum_{j in S} w_j g_j ||  <=  sum_i min_{j in S} ||g_i - g_j||

    g_i is the embedding. Embed each sample by its gradient, or by what bounds how much two gradients differ: the error of the
    softmax, p_i - e_{y_i}, alone or multiplied with the features. The manifest has the right side over n as distance, and the left
    side over n as gradient_error.

    The choice is not random: it says nothing of the mean loss but for the bound. Cost: O(N_h^2 d) for a label of N_h rows; without
    labels that is all rows.

    Args:
        by: what the choice is made within: "auto", the column "label" if there is one; "none"; "cell"; or the name of a column.

    Raises:
        OptionError: no such column; more labels than rows to choose.
        DataError: an embedding that is not finite; the rows are named.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> choice = Craig()(Ask(pool_of([[0.0], [1.0], [2.0], [9.0], [9.5]]), size=2, seed=0))
        >>> choice.rows.tolist(), choice.weight.tolist(), choice.facts["distance"]  # (2 + 1 + 0 + 0 + 0.5) / 5
        ([2, 3], [3.0, 2.0], 0.7)

    Reference: Mirzasoleiman, Bilmes, Leskovec, "Coresets for data-efficient training of machine learning models", ICML 2020.

    Differences:
        1. The first row is the medoid, as the greedy choice has it for any constant distance to the empty set.
        2. Of rows with the same gradient each that is chosen stands for itself at least; none has weight 0.
    """

    by: str = "auto"

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        of, found = parts(ask, self.by)
        rows, weight, gain, distance, gap = [], [], [], 0.0, np.zeros(ask.pool.d)
        for part in found:
            g = taken(ask.pool, part.rows)
            cover = greedy_cover(g, part.size)
            rows.append(part.rows[cover.chosen])
            weight.append(cover.sizes.astype(np.float64))
            gain.append(cover.gain)
            distance += float(cover.distance.sum())
            gap += g.sum(axis=0) - cover.sizes @ g[cover.chosen]
        n = ask.pool.n
        facts = {"parts": len(found), "distance": distance / n, "gradient_error": float(np.linalg.norm(gap)) / n}
        choice = Choice.fixed(np.concatenate(rows), np.concatenate(weight), np.concatenate(gain), **facts)
        return replace(choice, stratum=of[choice.rows])
