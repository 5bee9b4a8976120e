"""Fixed real share: so much of every generation's data is real."""

from __future__ import annotations

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
    latest,
    need_real,
    training,
)
from clframe.seeding import rng


@final
@dataclass(frozen=True)
class FixedReal:
    """A fixed share of real rows, the rest from the last generation, at fixed compute.

        round(share size) real rows, at least one, and the rest of the last generation, both uniformly without replacement

    Rows weigh so much that the share of the loss that is real is as asked for, also where there are fewer real rows than that, or
    the share is none of whole rows. The first generation trains on real rows alone.

    Args:
        share: of real rows, in (0, 1].
        size: rows to train on; 0 for as many as there are real ones.

    Raises:
        OptionError: an option breaks its rule.
        DataError: no real data is left.

    Example:
        >>> from types import SimpleNamespace as Row
        >>> there = [Row(id="real", kind="real", generation=0, rows=8), Row(id="g1", kind="synthetic", generation=1, rows=8)]
        >>> [(part.id, len(part.rows)) for part in FixedReal(share=0.25)(there, seed=0).parts]
        [('real', 2), ('g1', 6)]

    Reference: Alemohammad et al., "Self-consuming generative models go MAD", ICLR 2024, the synthetic augmentation loop.

    Differences:
        1. Compute is fixed; there all real rows are used beside the synthetic ones.
    """

    share: float = 0.5
    size: int = 0
    needs_scores = False

    def __post_init__(self) -> None:
        check_size(self.size)
        check_share("share", self.share, "share=0.5", of_all_real=True)

    def __call__(self, shards: Sequence[Shard], seed: int, scores: Scores | None = None) -> Training:
        """Choose."""
        need_real("fixed-real", shards)
        random = rng(seed, "fixed-real")
        real, last = np.flatnonzero(is_real(shards)), np.flatnonzero(latest(shards))
        size = first_size(shards, self.size)
        if not len(last):
            return training(shards, random.choice(real, min(size, len(real)), replace=False))
        wanted = max(1, round(self.share * size))
        some = random.choice(real, min(wanted, len(real)), replace=False)
        others = random.choice(last, min(size - wanted, len(last)), replace=False)
        real_mass = self.share * size if len(others) else size
        weight = np.concatenate([_weight(real_mass, some), _weight(size - real_mass, others)])
        return training(shards, np.concatenate([some, others]), weight)


def _weight(mass: float, taken: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Equal weights of the rows taken, with this sum."""
    return np.full(len(taken), mass / max(len(taken), 1))
