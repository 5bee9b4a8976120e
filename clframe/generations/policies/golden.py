"""The golden ratio: how much real data should weigh beside the samples of the last model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.generations.policies.interface import Scores, Shard, Training, check_share, is_real, latest, need_real, training


@final
@dataclass(frozen=True)
class Golden:
    """All real rows and those of the last generation, with a fixed share of the loss for the real ones.

        loss = w mean_{real} l_i + (1 - w) mean_{last generation} l_i,  w = 1 / phi = 0.618
        weight of a real row: w N / N_real, of a synthetic one (1 - w) N / N_last,  N = N_real + N_last, so that the mean is 1

    Args:
        weight: w, in (0, 1].

    Raises:
        OptionError: the weight is not a share, or 0.
        DataError: no real data is left.

    Example:
        >>> from types import SimpleNamespace as Row
        >>> there = [Row(id="real", kind="real", generation=0, rows=10), Row(id="g1", kind="synthetic", generation=1, rows=30)]
        >>> found = Golden()(there, seed=0)
        >>> round(float(found.parts[0].weight.sum() / found.weight.sum()), 3), round(float(found.weight.mean()), 3)
        (0.618, 1.0)

    Reference: He, Xu and Cheng, "Golden ratio weighting prevents model collapse", arXiv 2502.18049: in some of their settings
        the best weight of real data is 1 / phi.

    Differences:
        1. The same real data in every generation; there each generation has fresh real data.
    """

    weight: float = 0.6180339887498949
    needs_scores = False

    def __post_init__(self) -> None:
        check_share("weight", self.weight, "weight=0.618", of_all_real=True)

    def __call__(self, shards: Sequence[Shard], seed: int, scores: Scores | None = None) -> Training:
        """Choose."""
        need_real("golden", shards)
        real, last = np.flatnonzero(is_real(shards)), np.flatnonzero(latest(shards))
        if not len(last):
            return training(shards, real)
        total = len(real) + len(last)
        weight = np.concatenate(
            [np.full(len(real), self.weight * total / len(real)), np.full(len(last), (1 - self.weight) * total / len(last))]
        )
        return training(shards, np.concatenate([real, last]), weight)
