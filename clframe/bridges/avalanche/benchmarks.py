"""Any clframe scenario as an Avalanche benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from avalanche.benchmarks import CLScenario
from avalanche.benchmarks.scenarios.generic_scenario import EagerCLStream

from clframe.bridges.avalanche.experiences import BridgedExperience, ClassOrder, classes_of, labelled, targets_of
from clframe.bridges.avalanche.samples import SourceSamples
from clframe.errors import CompositionError
from clframe.scenarios.catalog import build
from clframe.scenarios.order import AsGiven, Shuffled
from clframe.scenarios.stream import Stream
from clframe.types import Ids, Source


def benchmark(stream: str | Stream, *, seed: int = 0) -> CLScenario[Any]:
    """A clframe scenario as an Avalanche benchmark: a train and a test stream, and "valid" where samples are held out.

    No data is copied: row i of Avalanche's data set is id i of the source, so that `scenario(benchmark(stream))` has the same
    source, ids and tests. Inputs are kept in memory, normalised, where all fit into 1 GiB, else read when they are asked for.
    Experiences have everything that Avalanche's classic ones have (classes, task labels, the order of classes), so that its old
    strategies run on them as well.

    Args:
        stream: a scenario, or the name of one with options as elsewhere.
        seed: root seed of a stream that is given by name.

    Raises:
        CompositionError: a stream with weights of samples, which Avalanche does not know, or one made for an upper bound (joint,
            cumulative), whose order is no list of experiences.

    Example:
        >>> from clframe.bridges.avalanche import benchmark, scenario
        >>> made = benchmark("split-digits")
        >>> len(made.train_stream), made.train_stream[1].classes_in_this_experience  # doctest: +ELLIPSIS
        (5, [...])
        >>> x, y, task = made.train_stream[0].dataset[0]
        >>> tuple(x.shape), task
        ((1, 8, 8), 0)

    Differences:
        1. Task labels that the scenario does not reveal are 0 everywhere, as in Avalanche's class-incremental benchmarks.
        2. Avalanche draws its own batches. A stream whose order is fixed keeps it with `strategy.train(experience, shuffle=False)`.
    """
    stream = build(stream, seed=seed) if isinstance(stream, str) else stream
    _refuse(stream)
    train, test = SourceSamples(stream.data.train), SourceSamples(stream.data.test)
    told = stream.reveals.task_train or stream.reveals.task_test
    tasks = [0] * len(stream) if stream.tasks is None or not told else list(stream.tasks)
    y: Source = stream.data.train
    seen = [classes_of(y.y[ids]) for ids in stream.segments]
    order = ClassOrder.of(seen, stream.num_classes)
    streams = [_stream("train", train, stream.segments, tasks, order), _stream("test", test, stream.tests, tasks, order)]
    if stream.validation and all(map(len, stream.validation)):
        streams.append(_stream("valid", train, stream.validation, tasks, order))
    made = CLScenario(streams)
    made.n_classes_per_exp, made.classes_order, made.name = order.n_classes_per_exp, order.classes_order, stream.name
    return made


def _stream(
    name: str, leaf: SourceSamples, segments: Sequence[Ids], tasks: Sequence[int], order: ClassOrder
) -> EagerCLStream[BridgedExperience]:
    targets, y = targets_of(leaf.targets), np.asarray(leaf.targets)
    experiences = [
        BridgedExperience(labelled(leaf, targets, task, ids), k, classes_of(y[ids]), task, order)
        for k, (ids, task) in enumerate(zip(segments, tasks, strict=True))
    ]
    return EagerCLStream(name, experiences)


def _refuse(stream: Stream) -> None:
    if stream.data.train.weight is not None or (stream.curation is not None and stream.curation.weight is not None):
        raise CompositionError(
            f"an Avalanche benchmark knows no weights of samples; {stream.name!r} has some. Choose the samples with weights=none, "
            "or leave the weights out of the data set."
        )
    if not isinstance(stream.order, Shuffled | AsGiven):
        raise CompositionError(
            f"an Avalanche benchmark is a list of experiences; {stream.name!r} comes in the order {type(stream.order).__name__}, "
            "made for an upper bound. Give the stream itself, and train it with avalanche.training.JointTraining."
        )
