"""Independent draws with replacement."""

from __future__ import annotations

import numpy as np

from clframe.selection.draws.draw import Draw
from clframe.selection.draws.scores import Scores
from clframe.selection.pool.pool import BLOCK


def iid(scores: Scores, size: int, random: np.random.Generator) -> Draw:
    """`size` independent draws, row i with probability p_i each time; rows that come again are counted.

    Every draw is one uniform number, looked up in the cumulative sum of the probabilities: first which block, then which row.

    Args:
        scores: p.
        size: m.
        random: m uniform numbers are taken from it.

    Example:
        >>> draw = iid(Scores.known(np.array([0.0, 1.0, 3.0])), 8, np.random.default_rng(0))
        >>> draw.rows.tolist(), int(draw.count.sum()), draw.expected.tolist()
        ([1, 2], 8, [2.0, 6.0])
    """
    starts = range(0, scores.n, BLOCK)
    total, mixture = scores.total, scores.mixture if scores.total else 1.0
    widths = np.array([min(BLOCK, scores.n - start) for start in starts], dtype=np.float64)
    masses = mixture * widths / scores.n + ((1 - mixture) * scores.sums / total if total else 0.0)
    ends = np.cumsum(masses)
    drawn = np.sort(random.random(size)) * ends[-1]
    block = np.minimum(np.searchsorted(ends, drawn, side="right"), len(ends) - 1)
    rows, expected = [], []
    for b in np.unique(block).tolist():
        start = starts[b]
        p = scores.read(start, min(start + BLOCK, scores.n))
        inside = np.cumsum(p)
        place = (drawn[block == b] - (ends[b] - masses[b])) / masses[b] * inside[-1]
        found = np.searchsorted(inside, place, side="right")
        last = int(np.flatnonzero(p)[-1])
        found = np.minimum(found, last)
        rows.append(start + found)
        expected.append(size * p[found])
    every, each = np.concatenate(rows), np.concatenate(expected)
    distinct, first, count = np.unique(every, return_index=True, return_counts=True)
    return Draw(distinct.astype(np.int64), count.astype(np.int64), each[first], size, replaced=True)
