"""Accumulate and subsample: a uniform subset of everything, of the same size each time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

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
from clframe.seeding import rng


@final
@dataclass(frozen=True)
class AccumulateSubsample:
    """A uniform subset of all rows, without replacement, at fixed compute, with at least a share of real rows.

        S = size rows of all, uniformly;  if fewer than f = ceil(real_floor size) of them are real: f real rows, uniformly, and
        size - f of the others, uniformly

    In the linear model without a floor E_n rises to (pi^2 / 2 - 2) E_1 = 2.935 E_1 (`clframe.generations.theory`).
    The expected share of real rows without a floor is 1 / n, so that a floor of 0.1 acts from about the tenth generation on.

    Args:
        size: rows to train on; 0 for as many as there are real ones. Everything is taken where there is less.
        real_floor: least share of real rows, as far as there are so many.

    Raises:
        OptionError: an option breaks its rule.
        DataError: no real data is left.

    Example:
        >>> from types import SimpleNamespace as Row
        >>> there = [Row(id="real", kind="real", generation=0, rows=30), Row(id="g1", kind="synthetic", generation=1, rows=3000)]
        >>> [len(part.rows) for part in AccumulateSubsample(real_floor=0.5)(there, seed=0).parts]
        [15, 15]

    Reference: Kazdan et al., "Collapse or thrive? Perils and promises of synthetic data in a self-generating world", ICML 2025,
        where it is accumulate-subsample.

    Differences:
        1. The floor of real rows; real_floor=0 is the published workflow.
    """

    size: int = 0
    real_floor: float = 0.1
    needs_scores = False

    def __post_init__(self) -> None:
        check_size(self.size)
        check_share("real_floor", self.real_floor, "real_floor=0.1")

    def __call__(self, shards: Sequence[Shard], seed: int, scores: Scores | None = None) -> Training:
        """Choose."""
        need_real("accumulate-subsample", shards)
        real = is_real(shards)
        size = min(first_size(shards, self.size), len(real))
        random = rng(seed, "accumulate-subsample")
        rows = random.choice(len(real), size, replace=False)
        floor = min(math.ceil(self.real_floor * size), int(real.sum()))
        if real[rows].sum() < floor:
            others = np.flatnonzero(~real)
            kept = random.choice(np.flatnonzero(real), floor, replace=False)
            rows = np.concatenate([kept, random.choice(others, min(size - floor, len(others)), replace=False)])
        return training(shards, rows)
