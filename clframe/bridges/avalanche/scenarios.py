"""Any Avalanche benchmark as a clframe scenario."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from avalanche.benchmarks import CLScenario, OnlineCLExperience

from clframe.bridges.avalanche.ids import values
from clframe.bridges.avalanche.source import source_of
from clframe.data import Dataset
from clframe.errors import DataError, bad_option
from clframe.scenarios.explicit import check_tasks
from clframe.scenarios.order import AsGiven, Order, Shuffled
from clframe.scenarios.stream import Stream
from clframe.types import Ids, Reveals

Data = Any
"""An `AvalancheDataset`."""


def scenario(
    benchmark: CLScenario[Any],
    *,
    train: Iterable[Any] | None = None,
    name: str | None = None,
    reveals: Reveals | None = None,
    transforms: str = "train",
) -> Stream:
    """Any Avalanche benchmark as a scenario: its experiences, test sets, task labels and transforms.

    One source lies over Avalanche's data set. Ids are the rows of what was wrapped, such as torchvision's MNIST; where the
    experiences do not hold all of its rows, they are the ranks of those that they hold. A sample that comes twice has one id.
    Labels are read without inputs; inputs are read through Avalanche's transforms when they are asked for, and kept in memory where
    all of them fit into 1 GiB.

    - Training and test experience k belong together. A single test experience is that of every training experience.
    - The small experiences of `split_online_stream` become the batches of the experience that they were split from: walk the stream
      with `batch_size` as large as they are. Those that do not know where they come from (`split_continuous_linear_decay_stream`)
      are shared out evenly among the test experiences.
    - A stream "valid", as of `benchmark_with_validation_stream`, becomes the validation samples.
    - Task labels are revealed, in training and in the test, where experiences have different ones.

    Args:
        benchmark: with a `train_stream` and a `test_stream`.
        train: another training stream over the same samples, such as `split_online_stream(benchmark.train_stream, 10)`.
        name: name in reports; by default that of the scenario which `benchmark` was given, or "avalanche".
        reveals: what a learner may know, instead of what follows from the benchmark.
        transforms: those of training samples: "train", or "eval".

    Raises:
        DataError: streams that do not belong together, an experience without samples or with several task labels, inputs that are
            no tensors, or transforms that draw at random.
        OptionError: an unknown kind of transforms, or a benchmark without a training or a test stream.

    Example:
        >>> from avalanche.benchmarks import tensors_benchmark
        >>> from clframe.bridges.avalanche import scenario
        >>> import torch
        >>> parts = [(torch.randn(20, 4), torch.arange(20) % 2 + 2 * k) for k in range(3)]
        >>> made = tensors_benchmark(train_tensors=parts, test_tensors=parts, task_labels=[0, 0, 0])
        >>> stream = scenario(made, name="three parts")
        >>> stream, [e.classes for e in stream.experiences]
        (Stream('three parts': 3 experiences, 60 training samples of three parts), [(0, 1), (2, 3), (4, 5)])

    Differences:
        1. Transforms that draw at random, such as a random crop, are refused: a source delivers the same input each time, so that a
           run can be repeated and resumed. `transforms="eval"` leaves them out.
        2. Batches come in clframe's order, from the run's seed, not from torch's global generator.
    """
    return with_places(benchmark, train, name, reveals, transforms)[0]


def with_places(
    benchmark: CLScenario[Any], train: Iterable[Any] | None, name: str | None, reveals: Reveals | None, transforms: str
) -> tuple[Stream, Sequence[int]]:
    """The scenario, and for each of Avalanche's training experiences the one that it belongs to; arguments as in `scenario`."""
    if transforms not in ("train", "eval"):
        raise bad_option("transforms", "'train' or 'eval'", transforms, "Give transforms='eval'.")
    name = name or str(getattr(benchmark, "name", "avalanche"))
    parts = paired(list(train if train is not None else stream_named(benchmark, "train")), list(stream_named(benchmark, "test")))
    held = list(benchmark.streams["valid"]) if "valid" in benchmark.streams else []
    if held and len(held) != len(parts.train):
        raise DataError(
            f"the validation stream of {name!r} must be as long as the training stream, {len(parts.train)}; got {len(held)}. "
            "Leave the stream 'valid' out of the benchmark."
        )
    taught = [data for some in parts.train for data in some]
    for k, data in enumerate([*taught, *parts.test]):
        if len(data) == 0:
            which = f"training experience {k}" if k < len(taught) else f"test experience {k - len(taught)}"
            raise DataError(f"{which} of {name!r} must hold at least one sample; got 0. Leave it out of the benchmark.")
    test, tests = source_of(name, parts.test, "eval")
    source, ids = source_of(name, [*taught, *(e.dataset for e in held)], transforms, len(test.class_names))
    if len(source.class_names) > len(test.class_names):
        test, tests = source_of(name, parts.test, "eval", len(source.class_names))
    found = iter(ids)
    segments = [np.concatenate([next(found) for _ in some]) for some in parts.train]
    tasks, told = _tasks(name, parts, reveals)
    if told.task_train or told.task_test:
        check_tasks(segments, tasks or [], len(source))
    tested = [tests[k % len(tests)] for k in range(len(segments))]
    data = Dataset(name, source, test, allow_missing=True)
    further: dict[str, Any] = {"validation": list(found), "order": parts.order, "online": parts.online}
    return Stream(name, data, segments, tested, told, tasks, **further), parts.places


@dataclass(frozen=True)
class Parts:
    """The data sets of a stream: those of each training experience, and the test sets.

    Attributes:
        train: of each experience, its data sets in order: one, or those of the small experiences that it was split into.
        test: as many, or one for all.
        boundaries: whether a learner may know where an experience ends.
        online: whether each sample comes once, in the order given.
        places: of each training experience that Avalanche has, the clframe experience that it belongs to.
    """

    train: Sequence[Sequence[Data]]
    test: Sequence[Data]
    boundaries: bool = True
    online: bool = False
    places: Sequence[int] = ()

    @property
    def order(self) -> Order:
        """Online streams come in the order given."""
        return AsGiven() if self.online else Shuffled()


def paired(train: Sequence[Any], test: Sequence[Any]) -> Parts:
    """Which training experiences belong to which test set.

    Raises:
        DataError: they cannot belong together.
    """
    tests, small = [e.dataset for e in test], all(isinstance(e, OnlineCLExperience) for e in train)
    if not train or not tests:
        raise DataError("a benchmark must have training and test experiences; got none of one kind. Give it both streams.")
    if small:
        knows = all(e.access_task_boundaries for e in train)
        where = _origins(train, len(tests))
        groups = [[e.dataset for e, k in zip(train, where, strict=True) if k == at] for at in range(max(where) + 1)]
        if len(tests) in (1, len(groups)):
            return Parts(groups, tests, boundaries=knows, online=True, places=where)
        train = groups
    elif len(tests) in (1, len(train)):
        return Parts([[e.dataset] for e in train], tests, places=range(len(train)))
    raise DataError(
        f"a benchmark must have one test experience for each training experience, or one for all; got {len(tests)} for "
        f"{len(train)}. Give it a test stream of that length, or one that is joined."
    )


def stream_named(benchmark: CLScenario[Any], name: str) -> Iterable[Any]:
    """The training or the test stream, also of an `OnlineCLScenario`.

    Raises:
        OptionError: there is none.
    """
    streams = benchmark.streams
    for known in (name, f"{name}_online", f"original_{name}"):
        if known in streams:
            found: Iterable[Any] = streams[known]
            return found
    raise bad_option("benchmark", f"a benchmark with a stream {name!r}", sorted(streams), "Give benchmark_from_datasets both.")


def _origins(train: Sequence[Any], tests: int) -> list[int]:
    """The experience that each small one was split from, by order of appearance; an even share where none knows it."""
    origins = [e.logging().origin_experience for e in train]
    if any(origin is None for origin in origins):
        return [i * tests // len(train) for i in range(len(train))]
    number: dict[int, int] = {}
    return [number.setdefault(id(origin), len(number)) for origin in origins]


def _tasks(name: str, parts: Parts, reveals: Reveals | None) -> tuple[tuple[int, ...] | None, Reveals]:
    """The task label of each experience, and what is revealed."""
    known: dict[int, Ids] = {}
    labels = [[int(t) for data in some for t in _labels(data, known)] for some in parts.train]
    tested = [list(_labels(data, known)) for data in parts.test]
    plain = Reveals(boundaries=parts.boundaries, classes=parts.boundaries)
    if len({t for some in labels for t in some}) == 1 and reveals is None:
        return None, plain
    several = next((k for k, some in enumerate(labels) if len(set(some)) > 1), None)
    told = reveals if reveals is not None else Reveals(True, True, parts.boundaries, parts.boundaries)
    if several is not None and (told.task_train or told.task_test):
        raise DataError(
            f"an experience of {name!r} must have one task label; experience {several} has {sorted(set(labels[several]))}. "
            "Give reveals=Reveals() to hide the labels."
        )
    if several is not None:
        return None, told
    tasks = tuple(some[0] for some in labels)
    for k, some in enumerate(tested if told.task_test else []):
        if {int(t) for t in some} != {tasks[k]} or len(tested) < len(tasks):
            raise DataError(
                f"the test of an experience of {name!r} must have its task label; experience {k} trains with {tasks[k]} and is "
                f"tested with {sorted({int(t) for t in some})}. Give reveals=Reveals(task_train=True) to hide it in the test."
            )
    return tasks, told


def _labels(data: Data, known: dict[int, Ids]) -> Ids:
    """The task labels that occur in a data set; 0 where it has none."""
    attribute = getattr(data, "targets_task_labels", None)
    return np.zeros(1, dtype=np.int64) if attribute is None else np.unique(values(attribute, known))
