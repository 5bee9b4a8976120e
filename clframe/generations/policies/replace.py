"""Replace: each model trains on what the one before it made, and on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.errors import bad_option
from clframe.generations.policies.interface import Scores, Shard, Training, is_real, latest, need_real, training


@final
@dataclass(frozen=True)
class Replace:
    """Only the last generation: data_n = samples of model n - 1.

    This is the workflow that collapses. In the linear model the expected error is E_n = n E_1: errors add up, generation after
    generation; in the Gaussian one the variance shrinks by 1 - 1 / T each time, and the tails of the real data are lost for good.
    It is here to be compared with, so it must be allowed explicitly.

    Args:
        allow_collapse: say that this is meant.

    Raises:
        OptionError: it is not allowed.
        DataError: no data at all.

    Example:
        >>> from types import SimpleNamespace as Row
        >>> there = [Row(id="real", kind="real", generation=0, rows=3), Row(id="g1", kind="synthetic", generation=1, rows=3)]
        >>> Replace(allow_collapse=True)(there, seed=0).ids
        ('g1',)

    Reference: Shumailov et al., "AI models collapse when trained on recursively generated data", Nature 631, 2024; named so by
        Gerstgrasser et al., "Is model collapse inevitable?", COLM 2024.

    Differences:
        1. Refused unless it is allowed; published code has it as the default.
    """

    allow_collapse: bool = False
    needs_scores = False

    def __post_init__(self) -> None:
        if not self.allow_collapse:
            raise bad_option(
                "allow_collapse of policy 'replace'",
                "true: each generation would train on the samples of the one before and on no real data, so that errors add up "
                "and rare data is lost for good",
                self.allow_collapse,
                "Take accumulate, or write replace(allow_collapse=true) to see it happen.",
            )

    def __call__(self, shards: Sequence[Shard], seed: int, scores: Scores | None = None) -> Training:
        """Choose."""
        rows = np.flatnonzero(latest(shards))
        if not len(rows):
            need_real("replace", shards)
            rows = np.flatnonzero(is_real(shards))
        return training(shards, rows)
