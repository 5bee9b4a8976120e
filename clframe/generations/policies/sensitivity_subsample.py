"""Sensitivity and subsample: of everything, the rows with large losses more often, with weights that make up for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.errors import OptionError, bad_option
from clframe.generations.policies.interface import (
    Scores,
    Shard,
    Training,
    check_share,
    check_size,
    first_size,
    is_real,
    need_real,
    training,
)


@final
@dataclass(frozen=True)
class SensitivitySubsample:
    """A weighted subset of all rows at fixed compute, chosen by `clframe.selection.select` from what the last model says of them.

        p_i = (1 - a) q_i / sum_j q_j + a / N,   q_i = l_i - min_j l_j by default,   weight_i = count_i / (N p_i)

    so that sum_i weight_i l_i / size estimates the mean loss over all N rows without bias: the objective of `accumulate`, at the
    compute of `accumulate-subsample`. A row that is drawn twice is there once with twice the weight, so fewer rows than `size` may
    be trained on. Losses are shifted to be at least 0 (densities have negative ones). While there is no model yet, or where no more
    rows than `size` are there, all rows are taken.

    Args:
        size: draws; 0 for as many as there are real rows.
        mixture: a, share of equal probabilities, in [0, 1]; no weight is above 1 / a times the draws of its row.
        method: of `select`: "sensitivity" with this mixture, or any other in words, such as "stratified" or "auto".
        known: the losses of all rows are known, so they are the guesses (q above); false: only those at the centres of cells
            are, as in the paper's algorithm.

    Raises:
        OptionError: an option breaks its rule, or scores are missing.
        DataError: no real data is left.

    Example:
        >>> from types import SimpleNamespace as Row
        >>> there = [Row(id="real", kind="real", generation=0, rows=200), Row(id="g1", kind="synthetic", generation=1, rows=800)]
        >>> x = np.random.default_rng(0).normal(size=(1000, 2))
        >>> found = SensitivitySubsample()(there, 0, Scores(x, np.square(x).sum(axis=1)))
        >>> len(found) <= 200, bool(0.7 < found.weight.sum() / 200 < 1.3)
        (True, True)

    Reference: Axiotis et al., ICML 2024, algorithm 1 (see `clframe.selection.methods.sensitivity`). Its use on generations of
        synthetic data is untested in the literature.

    Differences:
        1. With known=True the guess of a loss is the loss itself under the last model, and cells play no part.
    """

    size: int = 0
    mixture: float = 0.5
    method: str = "sensitivity"
    known: bool = True
    needs_scores = True

    def __post_init__(self) -> None:
        from clframe.selection.methods import method

        check_size(self.size)
        check_share("mixture", self.mixture, "mixture=0.5")
        if self.method == "sensitivity" and self.mixture == 0:
            raise bad_option("mixture", "above 0, so that no weight is without a bound", self.mixture, "Give mixture=0.5.")
        method(self._words)

    @property
    def _words(self) -> str:
        return f"sensitivity(mixture={self.mixture})" if self.method == "sensitivity" else self.method

    def __call__(self, shards: Sequence[Shard], seed: int, scores: Scores | None = None) -> Training:
        """Choose."""
        from clframe.selection import pool_of, select

        need_real("sensitivity-subsample", shards)
        size, rows = first_size(shards, self.size), len(is_real(shards))
        if rows <= size:
            return training(shards, np.arange(rows))
        if scores is None:
            raise OptionError("policy 'sensitivity-subsample' must have the scores of all rows; got none. Give scores=Scores(...).")
        loss = scores.loss - min(0.0, float(scores.loss.min()))
        pool = pool_of(scores.embedding, loss=loss, proxy=loss if self.known else None)
        found = select(pool, size, self._words, seed=seed)
        return training(shards, found.rows, found.weights * (size / rows))
