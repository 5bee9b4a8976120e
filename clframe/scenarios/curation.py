"""What is known of a stream whose experiences train on coresets: the weights of the chosen samples, and how they were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from clframe.data.hashing import fingerprint
from clframe.types import Ids


@final
@dataclass(frozen=True, eq=False)
class Curation:
    """Weights of the training samples of a stream, and what they are for.

        "loss":      batch B has the loss  sum_{i in B} w_i l_i / |B|:  the sum of the weights divides nothing
        "batches":   m samples are drawn into an epoch, i of them  m w_i / sum_j w_j  times on average, and weigh 1 in the loss

    Attributes:
        facts: how the samples were chosen, for the spec of a run.
        weight: of every training id (N,), float32, 0 for those that were not chosen; None where all weigh the same.
        used: what for.

    Example:
        >>> half = Curation({}, np.array([0.0, 1.5, 0.5, 1.0], dtype=np.float32), "batches")
        >>> drawn = [half.drawn(np.array([1, 2, 3]), np.random.default_rng(seed)) for seed in range(1000)]
        >>> (np.bincount(np.concatenate(drawn)) / 1000).round(1).tolist()
        [0.0, 1.5, 0.5, 1.0]
    """

    facts: Mapping[str, Any]
    weight: npt.NDArray[np.float32] | None = field(default=None, repr=False)
    used: Literal["loss", "batches"] = "loss"

    @property
    def in_loss(self) -> npt.NDArray[np.float32] | None:
        """The weights that multiply losses (N,), where there are such."""
        return self.weight if self.used == "loss" else None

    @property
    def repeats(self) -> bool:
        """Whether samples come more than once in an epoch."""
        return self.weight is not None and self.used == "batches"

    def drawn(self, ids: Ids, random: np.random.Generator, in_time: bool = False) -> Ids:
        """The ids of an epoch (m,): as they are, or m of them in proportion to the weights.

        A systematic draw: sample i comes floor or ceil of m w_i / sum_j w_j times. It takes the samples in the order in which they
        are given, so that no order of theirs can be in step with it where that is random.

        Args:
            ids: in the order of the stream (m,).
            random: one uniform number and one order are taken from it.
            in_time: leave a repeated sample where it is, because the order of time is the point.
        """
        if self.weight is None or not self.repeats:
            return ids
        ends = np.cumsum(self.weight[ids], dtype=np.float64)
        ends *= len(ids) / ends[-1]
        ends[-1] = len(ids)
        times = np.diff(np.floor(ends + random.random()), prepend=0.0).astype(np.int64)
        repeated = np.repeat(ids, times)
        return repeated if in_time else random.permutation(repeated)

    def fingerprint(self) -> str:
        """A hash of the weights and of what they are for."""
        return fingerprint("curation", self.used, "equal" if self.weight is None else self.weight)

    def __str__(self) -> str:
        """In a sentence, for people."""
        told = {"loss": "weighted loss", "batches": "weighted batches", "none": "equal weights"}[str(self.facts["weights"])]
        chosen, of = sum(self.facts["chosen"]), sum(self.facts["of"])
        asked = f", {self.facts['queries']:,} losses asked for" if self.facts["queries"] else ""
        return f"Coresets: {chosen:,} of {of:,} training samples by {self.facts['method']}, {told}{asked}"
