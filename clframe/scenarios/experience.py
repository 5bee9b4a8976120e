"""One experience of a stream, and the sequence of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, overload

import numpy as np
import torch

from clframe.scenarios.order import AsGiven
from clframe.scenarios.training_view import TrainView
from clframe.seeding import rng
from clframe.types import Batch, Ids, Source, Step

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.scenarios.stream import Stream


@dataclass(frozen=True)
class StreamExperience:
    """One stretch of a stream: see `clframe.types.Experience`.

    Attributes:
        stream: the stream that it belongs to.
        index: its position, from 0.
    """

    stream: Stream
    index: int

    @cached_property
    def classes(self) -> tuple[int, ...]:
        """Classes of its training samples, in ascending order."""
        return tuple(np.unique(self.stream.data.train.y[self.stream.segments[self.index]]).tolist())

    @property
    def task(self) -> int | None:
        """Its task label, for whoever describes the stream; a learner asks `train.task`."""
        return None if self.stream.tasks is None else self.stream.tasks[self.index]

    @cached_property
    def train(self) -> TrainView:
        """All that a strategy gets."""
        return TrainView(self.stream, self.index)

    @property
    def test(self) -> Ids:
        """Ids into `test_source`."""
        return self.stream.tests[self.index]

    @property
    def test_source(self) -> Source:
        """The source that `test` counts in."""
        return self.stream.data.test

    def steps(self, after: Step | None = None) -> Iterator[tuple[Step, Batch]]:
        """The updates of this experience, after the step `after` where one is given."""
        walk, ahead = self.walk(after), self.stream.ahead
        while some := list(islice(walk, ahead)):
            yield from zip((step for step, _ in some), self.stream.batches([index for _, index in some]), strict=True)

    def walk(self, after: Step | None = None) -> Iterator[tuple[Step, Tensor]]:
        """The ids of the updates; order = f(seed, "order", experience, epoch), so seeking past `after` reads nothing."""
        stream, k, begin = self.stream, self.index, self.stream.starts[self.index]
        end = stream.starts[k + 1]
        n = begin if after is None else max(begin, after.n)
        reached = begin
        for epoch, iterations in enumerate(stream.iterations(k)):
            if n < reached + iterations:
                ids = stream.order.ids(stream.segments, k, epoch, stream.epochs, stream.seed)
                if stream.curation is not None:
                    ids = stream.curation.drawn(ids, rng(stream.seed, "drawn", k, epoch), in_time=isinstance(stream.order, AsGiven))
                order = torch.from_numpy(ids)
                for i in range(n - reached, iterations):
                    n += 1
                    index = order[i * stream.batch_size : (i + 1) * stream.batch_size]
                    yield Step(n, k, epoch, i, n - begin, n == end), index
            reached += iterations


class Experiences(Sequence[StreamExperience]):
    """The experiences of a stream: `experiences[3]`, `experiences[:3]`, a loop."""

    def __init__(self, stream: Stream, positions: range) -> None:
        self._stream, self._positions = stream, positions

    @overload
    def __getitem__(self, item: int) -> StreamExperience: ...
    @overload
    def __getitem__(self, item: slice) -> Experiences: ...
    def __getitem__(self, item: int | slice) -> StreamExperience | Experiences:
        if isinstance(item, slice):
            return Experiences(self._stream, self._positions[item])
        return StreamExperience(self._stream, self._positions[item])

    def __len__(self) -> int:
        return len(self._positions)
