"""Importance resampling: rows of a pool that are like a sample of a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.seeding import seed_for
from clframe.selection.choice import Ask, Choice
from clframe.selection.draws.hashing import hashed


@final
@dataclass(frozen=True)
class ImportanceResampling:
    """m distinct rows, drawn one after another in proportion to how much more probable each is in the target than in the pool.

        the m largest of   log w_i + G_i,   w_i = p_target(i) / p_pool(i),   G_i = -ln(-ln u_i),   u_i uniform, of its row

    which is the same as drawing with probabilities w_i / sum w from the rows that are left, m times. The column holds log w_i; a
    constant added to it changes nothing. For texts, `clframe.selection.texts` computes it.

    What is drawn is like the target, and not like the pool: all weights are n / m, and no mean over the pool can be estimated. The
    target is met as long as m is well below effective_rows, (sum w)^2 / sum w^2, which is in the manifest: beyond it, rows that are
    unlike the target fill the rest.

    Args:
        column: of log w_i.

    Raises:
        OptionError: no such column.
        DataError: a value that is not finite.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> pool = pool_of(np.zeros((1000, 1)), target_log_ratio=np.repeat([2.0, -2.0], 500))
        >>> choice = ImportanceResampling()(Ask(pool, size=100, seed=0))
        >>> int((choice.rows < 500).sum()), round(choice.facts["effective_rows"])  # e^2 : e^-2, that is 98 : 2
        (98, 518)

    Reference: Xie, Santurkar, Ma, Liang, "Data selection for language models via importance resampling", NeurIPS 2023; Efraimidis,
        Spirakis, "Weighted random sampling with a reservoir", 2006, for the m largest.
    """

    column: str = "target_log_ratio"

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        n, m = ask.pool.n, ask.size
        ratio = ask.pool.numbers(self.column)
        key = ratio - np.log(-np.log(hashed(np.arange(n), seed_for(ask.seed, "importance-resampling"))))
        rows = np.argpartition(-key, m - 1)[:m]
        w = np.exp(ratio - ratio.max())
        facts = {
            "effective_rows": float(w.sum() ** 2 / (w**2).sum()),
            "mean_log_ratio": float(ratio[rows].mean()),
            "mean_log_ratio_of_pool": float(ratio.mean()),
        }
        return Choice.fixed(rows, np.full(m, n / m), ratio[rows], **facts)
