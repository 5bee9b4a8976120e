"""Which methods differ: mean ranks over blocks, the Friedman test, and the Nemenyi critical difference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import f, friedmanchisquare, rankdata, studentized_range

from clframe.errors import DataError, bad_option


@dataclass(frozen=True, slots=True)
class Differences:
    """Mean ranks of k methods over N blocks, and how far apart two of them must lie.

    Attributes:
        ranks: method -> mean rank, the best first; 1 is the best that can be.
        blocks: N.
        statistic, p: of the Friedman test with scipy's correction for ties.
        p_f: of its F form (Iman and Davenport), which is less conservative.
        critical: the Nemenyi critical difference of two mean ranks.
        alpha: the level of both.
        cliques: largest sets of methods that are not told apart, each in order of rank; sets of one are left out.
        lost: method -> blocks where it has no score, and so the last rank.
    """

    ranks: Mapping[str, float]
    blocks: int
    statistic: float
    p: float
    p_f: float
    critical: float
    alpha: float
    cliques: tuple[tuple[str, ...], ...]
    lost: Mapping[str, int]

    @property
    def rejected(self) -> bool:
        """Whether the Friedman test says that the methods differ at all."""
        return self.p < self.alpha


def differences(
    scores: Mapping[str, Sequence[float | None]], maximise: bool = True, alpha: float = 0.05
) -> tuple[Differences | None, str]:
    """Compare methods by their ranks within blocks.

    A block is one scenario with one evaluation seed. Seeds of one scenario are not independent data sets: they share the samples,
    so with few scenarios the test says whether the order holds over class orders and initial weights, and nothing about other
    data. With r_ij the rank of method j in block i (ties share their mean rank) and R_j its mean over i:

        chi2 = 12 N / (k (k + 1)) (sum_j R_j^2 - k (k + 1)^2 / 4)      on k - 1 degrees of freedom, divided by the tie correction
        F    = (N - 1) chi2 / (N (k - 1) - chi2)                       on k - 1 and (k - 1)(N - 1)
        CD   = q_alpha sqrt(k (k + 1) / (6 N)),   q_alpha the studentized range quantile of k means, infinite df, over sqrt(2)

    Two methods whose mean ranks differ by CD or less are not told apart; where the Friedman test does not reject, no two are.

    Args:
        scores: method -> one score a block, in the same order for all; None where it has none (its run diverged): it gets the
            last rank there, shared with others that have none.
        maximise: whether more is better.
        alpha: level of the test and of the critical difference, in (0, 1).

    Returns:
        The comparison, or None; and why there is none, "" where there is one.

    Raises:
        DataError: the methods have different numbers of blocks, or a score is not finite.
        OptionError: alpha outside its rule.

    Example: a method that is best in all ten blocks is told apart from the last one, not from the second.
        >>> found, why = differences({"a": [0.9] * 10, "b": [0.8] * 10, "c": [0.7] * 10})
        >>> found.ranks, round(found.critical, 3), found.cliques, why
        ({'a': 1.0, 'b': 2.0, 'c': 3.0}, 1.048, (('a', 'b'), ('b', 'c')), '')
        >>> differences({"a": [0.9], "b": [0.8], "c": [0.7]})[1]
        'one block alone cannot say which differences hold: give more evaluation seeds or scenarios'

    Reference: Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006, section 3.2.2.

    Differences:
        1. The blocks of the paper are independent data sets; see above.
        2. Its chi2 is not corrected for ties.
        3. It has a score of every method on every data set; here one without a score is last.
    """
    if not 0 < alpha < 1:
        raise bad_option("alpha", "in (0, 1)", alpha, "Give alpha=0.05.")
    table = _table(scores, maximise)
    if table.shape[0] < 3:
        return None, f"a comparison by ranks needs at least three methods; there {'is' if len(table) == 1 else 'are'} {len(table)}"
    if table.shape[1] < 2:
        reason = "one block alone cannot say which differences hold" if table.shape[1] else "there is no block with a score"
        return None, f"{reason}: give more evaluation seeds or scenarios"
    ranks = rankdata(table, axis=0)
    if (ranks == ranks[0]).all():
        return None, "all methods have the same score in every block, so there is no order to test"
    (k, n), mean = ranks.shape, ranks.mean(axis=1)
    test = friedmanchisquare(*ranks)
    statistic, rest = float(test.statistic), n * (k - 1) - float(test.statistic)
    p_f = float(f.sf((n - 1) * statistic / rest, k - 1, (k - 1) * (n - 1))) if rest > 1e-9 else 0.0
    critical = float(studentized_range.ppf(1 - alpha, k, np.inf)) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))
    by_method = dict(zip(scores, mean.tolist(), strict=True))
    ordered = {m: by_method[m] for m in sorted(by_method, key=lambda m: by_method[m])}
    p, lost = float(test.pvalue), {m: sum(v is None for v in values) for m, values in scores.items()}
    width = critical if p < alpha else math.inf
    cliques = _cliques(ordered, width)
    return Differences(ordered, n, statistic, p, p_f, critical, alpha, cliques, {m: c for m, c in lost.items() if c}), ""


def _table(scores: Mapping[str, Sequence[float | None]], maximise: bool) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Scores (k, N), less is better, rounded so that equals are equal; infinite where there is none."""
    counts = {len(values) for values in scores.values()}
    if len(counts) > 1:
        raise DataError(
            f"Methods must have one score a block each; got {sorted(counts)} scores. Give None where a method has none in a block."
        )
    sign = -1.0 if maximise else 1.0
    known = [[math.inf if v is None else sign * v for v in values] for values in scores.values()]
    wrong = [v for values in scores.values() for v in values if v is not None and not math.isfinite(v)]
    if wrong:
        raise DataError(f"Scores must be finite or None; got {wrong[0]}. Give None where a method has none.")
    return np.array(known, dtype=np.float64).reshape(len(scores), counts.pop() if counts else 0).round(12)


def _cliques(ranks: Mapping[str, float], width: float) -> tuple[tuple[str, ...], ...]:
    """Largest stretches of the ordered methods that are no wider than this."""
    names, values, found, reached = list(ranks), list(ranks.values()), [], 0
    for start, low in enumerate(values):
        stop = max(i + 1 for i, value in enumerate(values) if value - low <= width + 1e-12)
        if stop - start > 1 and stop > reached:
            found.append(tuple(names[start:stop]))
        reached = max(reached, stop)
    return tuple(found)
