"""What the alarms look at: arrays, from wherever they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
import numpy.typing as npt

from clframe.generations.alarms.alarm import Floats
from clframe.generations.alarms.duplicates import Hashes
from clframe.seeding import rng

Embeddings = npt.NDArray[np.float32]


def _no_hashes() -> Hashes:
    return np.zeros(0, np.uint64)


@final
@dataclass(frozen=True, kw_only=True)
class Data:
    """Real rows and those of one generation. What is left out rings no alarm.

    Attributes:
        generation: of the generated rows.
        trained: rows that their model was trained on; 0 where it is not known.
        losses: by generation, of each held-out real row under its model (m,); see `heldout_loss`.
        real, made: embeddings (n, d), (m, d); None where there are none.
        outside: embeddings of real rows that no model was trained on (h, d); None: half of `real` is compared with, and cells are
            made of the other half.
        real_texts, made_texts: texts.
        training, rows: hashes of the rows that the model was trained on, and of its own (t,), (m,).
    """

    generation: int = 1
    trained: int = 0
    losses: Mapping[int, Floats] = field(default_factory=dict)
    real: Embeddings | None = None
    made: Embeddings | None = None
    outside: Embeddings | None = None
    real_texts: Sequence[str] = ()
    made_texts: Sequence[str] = ()
    training: Hashes = field(default_factory=_no_hashes)
    rows: Hashes = field(default_factory=_no_hashes)

    def halves(self, seed: int) -> tuple[Embeddings, Embeddings]:
        """Real rows that cells and directions are found by, and other ones to compare with, so that these and generated rows of
        the same distribution can exchange places."""
        assert self.real is not None
        if self.outside is not None:
            return self.real, self.outside
        order = rng(seed, "alarms", "halves").permutation(len(self.real))
        middle = len(order) // 2
        return self.real[order[:middle]], self.real[order[middle:]]


def some(x: Embeddings, most: int, random: np.random.Generator) -> Embeddings:
    """At most so many rows, drawn without replacement, in their order."""
    return x if len(x) <= most else x[np.sort(random.choice(len(x), most, replace=False))]
