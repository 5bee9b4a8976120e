"""A sample of fixed size from a stream of weighted rows, that can be merged with others: VarOpt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.errors import DataError, bad_option
from clframe.selection.draws.draw import Numbers, Rows


@final
@dataclass(frozen=True)
class Kept:
    """At most k rows of a stream, each with the weight that it stands for.

    The weights of those rows kept that lie in any set add up to the weight of that set in the stream, in expectation; all of them
    add up to that of the stream. Two samples of parts of a stream, kept together (`keep`), are one of the whole.

    Attributes:
        rows: their numbers (m,), m <= k.
        weight: adjusted weights (m,): max(own weight, tau), with tau the largest threshold so far.
    """

    rows: Rows
    weight: Numbers

    @classmethod
    def none(cls) -> Kept:
        """Of a stream that has not begun."""
        return cls(np.empty(0, dtype=np.int64), np.empty(0))


def keep(size: int, random: np.random.Generator, *parts: Kept) -> Kept:
    """Of all rows of some parts keep `size`, row i with probability min(1, w_i / tau), and give those below tau its weight.

        sum_i min(1, w_i / tau) = size

    A new batch is a part, too: `Kept(rows, weights)`. Rows of equal weight are kept as by reservoir sampling: each of n with
    probability size / n.

    Args:
        size: k.
        random: one uniform number and one order are taken from it.
        parts: what was kept before, and what is new.

    Raises:
        OptionError: a size below 1.
        DataError: a weight that is not positive and finite.

    Example:
        >>> random = np.random.default_rng(0)
        >>> held = keep(2, random, Kept(np.arange(4), np.array([10.0, 1.0, 1.0, 2.0])))
        >>> held.rows.tolist()[0], held.weight.tolist(), float(held.weight.sum())
        (0, [10.0, 4.0], 14.0)

    Reference: Cohen, Duffield, Kaplan, Lund, Thorup, "Efficient stream sampling for variance-optimal estimation of subset sums",
        SIAM Journal on Computing 40, 2011.

    Differences:
        1. Rows are dropped in one step, by a systematic draw in a random order, and not one after another. Probabilities and the
           sum of all weights are the same.
    """
    if size < 1:
        raise bad_option("size", "a positive integer", size, "Give size=500.")
    rows, weight = np.concatenate([p.rows for p in parts]), np.concatenate([p.weight for p in parts])
    bad = ~(np.isfinite(weight) & (weight > 0))
    if bad.any():
        raise DataError(f"weights must be positive and finite; got {weight[bad][0]:g} for row {rows[bad][0]}. Leave such rows out.")
    if len(rows) <= size:
        return Kept(rows, weight)
    tau = _threshold(weight, size)
    small = np.flatnonzero(weight < tau)
    order = random.permutation(small)
    ends = np.cumsum(weight[order] / tau)
    ends[-1] = round(ends[-1])  # a whole number, but for rounding
    taken = order[np.diff(np.floor(ends - random.random()), prepend=-1.0) > 0]
    chosen = np.sort(np.concatenate([np.flatnonzero(weight >= tau), taken]))
    return Kept(rows[chosen], np.maximum(weight[chosen], tau))


def _threshold(weight: Numbers, size: int) -> float:
    """tau: with the c largest certain, the others share size - c."""
    largest = np.sort(weight)[::-1]
    rest = largest.sum() - np.concatenate([[0.0], np.cumsum(largest)[: size - 1]])
    tau = rest / (size - np.arange(size))
    return float(tau[np.flatnonzero(largest[:size] <= tau * (1 + 1e-12))[0]])
