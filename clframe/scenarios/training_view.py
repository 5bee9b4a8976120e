"""What a strategy gets of an experience: its training samples, and nothing that the scenario hides."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from clframe.errors import CompositionError
from clframe.types import Batch, Ids

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.scenarios.stream import Stream


class TrainView:
    """The training side of one experience: see `clframe.types.Train`.

    Attributes:
        experience, size: position and number of samples; None where boundaries are not revealed.
        classes: its classes; None where not revealed.
        task: its task label; None where not revealed.
        num_classes: classes of the whole stream.
        sample_bytes: bytes of one stored sample.
    """

    def __init__(self, stream: Stream, index: int) -> None:
        self._stream, self._index = stream, index
        reveals, experience = stream.reveals, stream.experiences[index]
        self.num_classes = stream.num_classes
        self.experience = index if reveals.boundaries else None
        self.size = len(stream.segments[index]) if reveals.boundaries else None
        self.classes = experience.classes if reveals.classes and reveals.boundaries else None
        self.sample_bytes = getattr(stream.data.train, "sample_bytes", 4 * math.prod(stream.data.train.input_shape))
        self.task = experience.task if reveals.task_train else None
        self._last = index if reveals.boundaries else len(stream) - 1

    def fetch(self, index: Tensor) -> Batch:
        """The samples with these ids. Where boundaries are hidden the view cannot know how far the stream has come, and refuses
        only ids outside the stream; `clframe check` proves that a method asks for nothing that it was not given.

        Raises:
            CompositionError: an id that has not been in the stream yet.
        """
        if (self._stream.first_experience[index.numpy()] > self._last).any():
            raise CompositionError(
                "ids to fetch must have been in the stream already; got one of a later experience. "
                "Keep the ids of the batches that were observed, and fetch only those."
            )
        return self._stream.batch(index)

    def batches(self, size: int, order: Ids | None = None) -> Iterator[Batch]:
        """One pass over the experience's training samples, in stored order or in the given order of ids.

        Raises:
            CompositionError: boundaries are not revealed, so there is no such pass.
        """
        ids = torch.from_numpy(self._ids() if order is None else np.asarray(order))
        for low in range(0, len(ids), size):
            yield self.fetch(ids[low : low + size])

    def sample(self, count: int, generator: torch.Generator) -> Ids:
        """At most `count` different ids of the experience, drawn at random.

        Raises:
            CompositionError: boundaries are not revealed, so there is no such set.
        """
        ids = self._ids()
        chosen: Ids = ids[torch.randperm(len(ids), generator=generator)[:count].numpy()]
        return chosen

    def _ids(self) -> Ids:
        if self.experience is None:
            raise CompositionError(
                "the samples of an experience can be asked for only where boundaries are revealed; this scenario hides them. "
                "Put 'boundaries' into the method's `requires`, or learn from the observed batches only."
            )
        return self._stream.segments[self._index]
