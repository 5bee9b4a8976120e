"""Rows by a score that each has: the largest, the smallest, or drawn in proportion to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from clframe.errors import bad_option, unknown_name
from clframe.seeding import seed_for
from clframe.selection.choice import Ask, Choice
from clframe.selection.draws import Draw, Scores, systematic
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.draws.hashing import hashed
from clframe.selection.estimate import Estimate, drawn_mean, together
from clframe.selection.methods.parts import Part, parts

HOW = ("top", "proportional")


@final
@dataclass(frozen=True)
class TopScored:
    """The m rows with the largest (or smallest) value of a column, or rows drawn in proportion to it.

        "top":            the m_h largest s_i of each stratum h,           w_i = N_h / m_h
        "proportional":   m_h distinct rows, pi_i = min(1, p_i / tau_h),   w_i = 1 / pi_i,   p_i = (1 - a) q_i / sum_h q + a / N_h

    s_i is the value of row i, and q_i is s_i, or (largest value - s_i) where small ones are wanted. The m_h are in proportion to
    the N_h. Of equal values those with the smallest random numbers are taken, one of which belongs to each row.

    The top of a pool is not a sample of it, and its weights estimate nothing; where a small share is kept, a random choice has been
    found to train better. Rows that are drawn estimate the mean loss without bias. `clframe.selection.scores` computes columns to
    choose by: margin (take the smallest), entropy, EL2N, GraNd, forgetting events.

    Args:
        column: of the score.
        largest: whether large scores are wanted.
        how: as above.
        by: strata: "none", "cell" for cells of k-means, or the name of a column, such as label.
        mixture: a, in [0, 1], for "proportional".

    Raises:
        OptionError: an option breaks its rule; no such column; more strata than rows to choose.
        DataError: a score that is not finite, or one that is negative and is to be drawn in proportion to.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> pool = pool_of(np.zeros((6, 1)), margin=[0.9, 0.1, 0.8, 0.3, 0.7, 0.6], label=[0, 0, 0, 1, 1, 1])
        >>> ask = Ask(pool, size=2, seed=0)
        >>> TopScored("margin", largest=False)(ask).rows.tolist(), TopScored("margin", by="label")(ask).rows.tolist()
        ([1, 3], [0, 4])

    Reference: Settles, "Active learning literature survey", 2009, for margin and entropy; Paul, Ganguli, Dziugaite, "Deep learning
        on a data diet", 2021; Toneva et al., "An empirical study of example forgetting", ICLR 2019; Ayed, Hayou, "Data pruning and
        neural scaling laws: fundamental limitations of score-based algorithms", 2023, for what the top of a pool cannot do.

    Differences:
        1. The papers train on the top alone, with equal weights; without strata that is what "top" gives.
        2. "proportional" is none of theirs: it is here because it keeps the mean loss.
    """

    column: str = "score"
    largest: bool = True
    how: str = "top"
    by: str = "none"
    mixture: float = 0.1

    def __post_init__(self) -> None:
        if self.how not in HOW:
            raise unknown_name("how", self.how, HOW)
        if not 0 <= self.mixture <= 1:
            raise bad_option("mixture", "a share in [0, 1]", self.mixture, "Give mixture=0.1.")

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        drawn = self.how == "proportional"
        score = ask.pool.numbers(self.column, least=0.0 if drawn and self.largest else None)
        of, found = parts(ask, self.by, floor=2 if drawn else 1)
        wanted = score if self.largest else score.max() - score
        choice = self._proportional(ask, wanted, of, found) if drawn else self._top(ask, wanted, of, found)
        facts = {"strata": len(found), "mean_score": float(score[choice.rows].mean()), "mean_score_of_pool": float(score.mean())}
        return replace(choice, stratum=of[choice.rows], score=score[choice.rows], facts=facts)

    def _top(self, ask: Ask, wanted: Numbers, of: Rows, found: list[Part]) -> Choice:
        tie = hashed(np.arange(ask.pool.n), seed_for(ask.seed, "scored"))
        first = [part.rows[np.lexsort((tie[part.rows], -wanted[part.rows]))[: part.size]] for part in found]
        weight = [np.full(part.size, len(part.rows) / part.size) for part in found]
        rows = np.concatenate(first)
        return Choice.fixed(rows, np.concatenate(weight), wanted[rows])

    def _proportional(self, ask: Ask, wanted: Numbers, of: Rows, found: list[Part]) -> Choice:
        draws = []
        for h, part in enumerate(found):
            here = systematic(Scores.known(wanted[part.rows], self.mixture), part.size, seed_for(ask.seed, "scored", h))
            draws.append(replace(here, rows=part.rows[here.rows]))
        order = np.argsort(np.concatenate([d.rows for d in draws]))
        rows, count, expected = (np.concatenate([getattr(d, a) for d in draws])[order] for a in ("rows", "count", "expected"))
        whole = Draw(rows, count, expected, ask.size, replaced=False)
        estimate = None
        if ask.losses is not None:
            values = ask.losses(rows)
            each = [(len(p.rows), values[np.searchsorted(rows, d.rows)], d) for p, d in zip(found, draws, strict=True)]
            estimate = summed([(n, drawn_mean(d, v, n)) for n, v, d in each], drawn_mean(whole, values, ask.pool.n))
        return Choice.drawn(whole, wanted[rows], estimate)


def summed(strata: list[tuple[int, Estimate]], whole: Estimate) -> Estimate:
    """The mean over all strata from that of each, of so many rows.

    Where a stratum has but one row that was not certain, and so says nothing of its error, the error is that of the same rows as
    one draw without strata, which is too large rather than too small.

    Example:
        >>> summed([(30, Estimate(1.0, 0.1, 9)), (10, Estimate(5.0, np.inf, 0))], Estimate(2.0, 0.4, 10))
        Estimate(mean=2.0, error=0.4, freedom=10)
    """
    if not all(np.isfinite(e.error) for _, e in strata):
        return whole
    return together([(float(n), e) for n, e in strata])
