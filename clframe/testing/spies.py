"""Scenarios and parts that write down what is done to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clframe.models import Network
from clframe.scenarios import Stream, StreamExperience
from clframe.snapshot import copied
from clframe.strategies import Learner, Part, View
from clframe.testing.compare import difference
from clframe.testing.outcome import require
from clframe.types import Batch, Ids, Reveals, Source, Step, Train

HOOKS = ("begin", "recall", "criterion", "penalty", "project", "constrain", "absorb", "end")

ITS_OWN = {"project": "gradients", "constrain": "weights"}
"""What a hook is there to write, beside the part itself."""


@dataclass
class Spied:
    """A stream that hands out nothing but the contract, and checks what a strategy does with it.

    Attributes:
        stream: the stream.
        delivered: ids of the batches handed out so far.
    """

    stream: Stream
    delivered: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """That of the stream."""
        return self.stream.name

    @property
    def reveals(self) -> Reveals:
        """That of the stream."""
        return self.stream.reveals

    @property
    def num_classes(self) -> int:
        """That of the stream."""
        return self.stream.num_classes

    @property
    def experiences(self) -> Sequence[SpiedExperience]:
        """Those of the stream, disguised."""
        return [SpiedExperience(self, e, e.index) for e in self.stream.experiences]


@dataclass
class SpiedExperience:
    """An experience whose batches must come back as they were handed out."""

    spy: Spied
    real: StreamExperience
    index: int

    @property
    def train(self) -> SpiedTrain:
        """The training side, and nothing beside it."""
        return SpiedTrain(self.spy, self.real.train, self.index)

    @property
    def test(self) -> Ids:
        """The test ids, which a strategy never sees."""
        return self.real.test

    @property
    def test_source(self) -> Source:
        """Where the test ids lie."""
        return self.real.test_source

    def steps(self, after: Step | None = None) -> Iterator[tuple[Step, Batch]]:
        """The stream's steps; after each, the batch is compared with what it was."""
        for step, batch in self.real.steps(after):
            self.spy.delivered.update(batch.index.tolist())
            before = contents(batch)
            yield step, batch
            changed = difference(before, contents(batch))
            require(changed is None, f"the batch of update {step.n} was changed by observe: batch.{changed}")


class SpiedTrain:
    """Only what `clframe.types.Train` promises; ids must have been delivered, or be of the experience in progress."""

    def __init__(self, spy: Spied, real: Train, index: int) -> None:
        self._spied = (spy, real, index)
        self.experience, self.classes, self.task = real.experience, real.classes, real.task
        self.num_classes, self.size, self.sample_bytes = real.num_classes, real.size, real.sample_bytes

    def fetch(self, index: Tensor) -> Batch:
        """The samples with these ids."""
        spy, real, k = self._spied
        allowed = set(spy.delivered)
        if spy.reveals.boundaries:
            allowed |= set(spy.stream.segments[k].tolist())
        early = sorted(set(index.tolist()) - allowed)
        require(
            not early,
            f"during experience {k} the strategy fetched ids that had not been in the stream yet, such as {early[:3]}",
        )
        return real.fetch(index)

    def batches(self, size: int, order: Ids | None = None) -> Iterator[Batch]:
        """One pass over the experience's samples."""
        spy, real, k = self._spied
        known = set(spy.stream.segments[k].tolist()) | spy.delivered
        early = sorted(set(np.asarray(order).tolist()) - known) if order is not None else []
        require(not early, f"during experience {k} the strategy asked for batches of ids it had not seen, such as {early[:3]}")
        return real.batches(size, order)

    def sample(self, count: int, generator: torch.Generator) -> Ids:
        """Ids of the experience."""
        return self._spied[1].sample(count, generator)


def contents(batch: Batch) -> dict[str, Any]:
    """A copy of everything in a batch."""
    fields = {"x": batch.x, "y": batch.y, "index": batch.index, "weight": batch.weight, "task": batch.task}
    return copied({**fields, "extra": dict(batch.extra)})  # type: ignore[no-any-return]


def guard(learner: Learner, part: Part) -> None:
    """From now on, each hook of the part is followed by a check that it wrote to nothing but the part itself."""
    for hook in HOOKS:
        setattr(part, hook, _guarded(learner, part, hook))


def _guarded(learner: Learner, part: Part, hook: str) -> Callable[[Any], Any]:
    real = getattr(part, hook)

    def call(argument: Any) -> Any:
        before = _surroundings(learner, part, argument)
        returned = real(argument)
        after = _surroundings(learner, part, argument)
        if (own := ITS_OWN.get(hook)) is not None:
            before[own] = after[own]
        changed = difference(before, after)
        require(changed is None, f"{part.name}.{hook} wrote to something that is not its own: {changed}")
        return returned

    return call


def _surroundings(learner: Learner, part: Part, argument: Any) -> dict[str, Any]:
    model: Network = learner.model
    batch = argument.batch if isinstance(argument, View) else argument
    return copied(  # type: ignore[no-any-return]
        {
            "weights": model.state_dict(),
            "modes": [m.training for m in model.modules()],
            "trainable": [p.requires_grad for p in model.parameters()],
            "gradients": [p.grad for p in model.parameters()],
            "optimizer": learner.optimizer.state_dict()["state"],
            "batch": contents(batch) if isinstance(batch, Batch) else None,
            "outputs": [argument.features, argument.logits] if isinstance(argument, View) else None,
            "other parts": {p.name: p.state_dict() for p in learner.parts if p is not part},
        }
    )
