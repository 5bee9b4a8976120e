"""A draw of exactly m distinct rows with given inclusion probabilities."""

from __future__ import annotations

import heapq

import numpy as np

from clframe.errors import bad_option
from clframe.selection.draws.draw import Draw, Numbers
from clframe.selection.draws.hashing import hashed
from clframe.selection.draws.scores import Scores
from clframe.selection.pool.pool import BLOCK


def systematic(scores: Scores, size: int, seed: int) -> Draw:
    """m distinct rows, row i with probability pi_i = min(1, p_i / tau), where tau makes these add up to m.

    The pi_i are laid one after another on a line, block by block and in a random order within each, and the rows that cover
    u, u + 1, ..., u + m - 1 are taken, with u uniform in (0, 1).

    Args:
        scores: p.
        size: m <= n.
        seed: of u and of the order, which belongs to the rows.

    Raises:
        OptionError: more rows than can be drawn.

    Example:
        >>> draw = systematic(Scores.known(np.array([9.0, 1.0, 1.0, 1.0])), 2, seed=0)
        >>> len(draw.rows), draw.rows[0], draw.expected.round(3).tolist()
        (2, np.int64(0), [1.0, 0.333])

    Reference: Hartley, Rao, "Sampling with unequal probabilities and without replacement", 1962.
    """
    tau = threshold(scores, size)
    begin = float(hashed(np.array([-2]), seed)[0])
    rows, expected, along = [], [], 0.0
    for start in range(0, scores.n, BLOCK):
        stop = min(start + BLOCK, scores.n)
        pi = np.minimum(1.0, scores.read(start, stop) / tau)
        order = np.argsort(hashed(np.arange(start, stop), seed), kind="stable")
        ends = along + np.cumsum(pi[order])
        before = np.concatenate([[along], ends[:-1]])
        taken = np.floor(ends - begin) > np.floor(before - begin)
        chosen = order[taken]
        rows.append(start + chosen)
        expected.append(pi[chosen])
        along = float(ends[-1])
    every, each = np.concatenate(rows), np.concatenate(expected)
    order = np.argsort(every)
    return Draw(every[order].astype(np.int64), np.ones(len(every), dtype=np.int64), each[order], size, replaced=False)


def threshold(scores: Scores, size: int) -> float:
    """tau with sum_i min(1, p_i / tau) = size.

    Raises:
        OptionError: fewer rows than that have a probability above 0.

    Example:
        >>> round(threshold(Scores.known(np.array([9.0, 1.0, 1.0, 1.0])), 2), 4)  # the first is certain, the others share one
        0.25
    """
    largest: list[float] = []
    positive, total = 0, 0.0
    for start in range(0, scores.n, BLOCK):
        p = scores.read(start, min(start + BLOCK, scores.n))
        positive, total = positive + int((p > 0).sum()), total + float(p.sum())
        top = np.partition(p, -size)[-size:] if size < len(p) else p
        largest = heapq.nlargest(size, [*largest, *top.tolist()]) if largest else sorted(top.tolist(), reverse=True)
    if size > positive:
        raise bad_option("size", f"at most the {positive:,} rows that can be drawn", size, "Give a smaller size, or a mixture.")
    return _least(np.array(largest[:size]), total, size)


def _least(largest: Numbers, total: float, size: int) -> float:
    """With c certain rows the others share size - c: the least c for which no other is certain, too."""
    taken = np.concatenate([[0.0], np.cumsum(largest)])
    for c in range(size):
        tau = (total - taken[c]) / (size - c)
        if largest[c] <= tau * (1 + 1e-12):
            return float(tau)
    return float(largest[-1])
