"""Accumulate: everything that there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.generations.policies.interface import Scores, Shard, Training, need_real, training


@final
@dataclass(frozen=True)
class Accumulate:
    """All rows, real and synthetic, of all generations: data_n = data_{n-1} and the samples of model n - 1.

    In the linear model E_n = E_1 sum_{i<=n} 1 / i^2, which stays below pi^2 / 6 = 1.645 E_1. Model n trains on n times as many rows
    as the first.

    Raises:
        DataError: no real data is left.

    Example:
        >>> from types import SimpleNamespace as Row
        >>> there = [Row(id="real", kind="real", generation=0, rows=3), Row(id="g1", kind="synthetic", generation=1, rows=2)]
        >>> len(Accumulate()(there, seed=0))
        5

    Reference: Gerstgrasser et al., "Is model collapse inevitable? Breaking the curse of recursion by accumulating real and
        synthetic data", COLM 2024.

    Differences: none known.
    """

    needs_scores = False

    def __call__(self, shards: Sequence[Shard], seed: int, scores: Scores | None = None) -> Training:
        """Choose."""
        need_real("accumulate", shards)
        return training(shards, np.arange(sum(shard.rows for shard in shards)))
