"""A stream of experiences as index arithmetic over a data set: lists of ids, an order, and what is revealed."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch

from clframe.data import Dataset
from clframe.errors import DataError, bad_option
from clframe.scenarios.curation import Curation
from clframe.scenarios.experience import Experiences
from clframe.scenarios.order import Order, Shuffled
from clframe.types import Batch, Ids, Reveals

if TYPE_CHECKING:
    from torch import Tensor

AHEAD, AHEAD_BYTES = 32, 1 << 20


@dataclass(frozen=True)
class Stream:
    """A scenario: which training ids come in which experience, in which order, and which test ids belong to each.

    Building and slicing copy no data: 1,000 experiences of CIFAR-100 are 50,000 integers. Everything is a pure function of the
    data, these fields and `seed`.

    Attributes:
        name: what the user called it, such as "split-digits".
        data: the data set; `data.train` and `data.test` are its sources.
        segments: ids into `data.train`, one array an experience.
        tests: ids into `data.test`, one array an experience.
        reveals: what a learner may know.
        tasks: task label of each experience.
        validation: ids into `data.train` held out of each experience; empty where no split was asked for.
        order: the order in which an experience's ids come (shuffled anew each epoch by default).
        seed: root of the order.
        batch_size, epochs, device: how `steps` walks; set by `walked`.
        tested_on: what `tests` are, for messages.
        online: each sample once: more than one epoch is refused; set by `once`.
        curation: how the training samples were chosen and what they weigh, where they are a coreset: see `clframe.curation`.

    Example:
        >>> from clframe.scenarios import class_incremental
        >>> stream = class_incremental("digits", experiences=5, class_order="sorted")
        >>> len(stream.experiences), stream.experiences[1].classes
        (5, (2, 3))
        >>> step, batch = next(stream.walked(batch_size=10).experiences[0].steps())
        >>> step.n, tuple(batch.x.shape)
        (1, (10, 1, 8, 8))
    """

    name: str
    data: Dataset
    segments: Sequence[Ids]
    tests: Sequence[Ids]
    reveals: Reveals = field(default_factory=Reveals)
    tasks: Sequence[int] | None = None
    validation: Sequence[Ids] = ()
    order: Order = field(default_factory=Shuffled)
    seed: int = 0
    batch_size: int = 32
    epochs: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    tested_on: str = "test"
    online: bool = False
    curation: Curation | None = None

    def __post_init__(self) -> None:
        if len(self.tests) != len(self.segments):
            raise DataError(
                f"tests must be one array of ids an experience; got {len(self.tests)} for {len(self.segments)} experiences. "
                "Give every experience its test ids."
            )
        for what, arrays in (("training", self.segments), (self.tested_on, self.tests)):
            for k, ids in enumerate(arrays):
                if len(ids) == 0:
                    raise DataError(
                        f"experience {k} of {self.name!r} must hold at least one {what} sample; got 0. "
                        "Ask for fewer experiences, or give it data."
                    )
        for name in ("batch_size", "epochs"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise bad_option(name, "a positive integer", value, f"Give {name}=1 or more.")
        if self.online and self.epochs != 1:
            remedy = "Give epochs=1, or take the stream that is not online."
            raise bad_option("epochs", f"1, because {self.name!r} is online: each sample comes once", self.epochs, remedy)
        if self.online and self.curation is not None and self.curation.repeats:
            rule = f"'loss' or 'none', because {self.name!r} is online: each sample comes once"
            raise bad_option("weights", rule, self.curation.used, "Give weights=loss, or take the stream that is not online.")

    def walked(
        self, *, batch_size: int = 32, epochs: int = 1, device: torch.device | str = "cpu", seed: int | None = None
    ) -> Stream:
        """The same stream, walked in batches of `batch_size`, `epochs` times an experience, with samples on `device`."""
        device = torch.device(device)
        changes = {"batch_size": batch_size, "epochs": epochs, "device": device, "data": self.data.to(device)}
        return dataclasses.replace(self, **changes, seed=self.seed if seed is None else seed)  # type: ignore[arg-type]

    def once(self) -> Stream:
        """The same stream, online: each sample comes once, so that `walked` refuses more than one epoch."""
        return dataclasses.replace(self, online=True)

    def on_validation(self) -> Stream:
        """The same stream tested on its validation split instead of its test set: what tuning may look at."""
        if not self.validation:
            raise bad_option("validation", "a share of each experience's training samples", 0, "Build it with validation=0.1.")
        data = dataclasses.replace(self.data, test=self.data.train)
        return dataclasses.replace(self, data=data, tests=self.validation, tested_on="validation")

    def __repr__(self) -> str:
        samples = sum(len(ids) for ids in self.segments)
        return f"Stream({self.name!r}: {len(self)} experiences, {samples} training samples of {self.data.name})"

    def _repr_html_(self) -> str:
        """For notebooks: the table and the picture of the stream."""
        from clframe.scenarios.describe import html

        return html(self)

    def __getitem__(self, some: slice) -> Stream:
        """The stream of some consecutive experiences, as in `stream[:3]`; their classes and tasks keep their numbers.

        An experience itself is `stream.experiences[3]`.

        Raises:
            OptionError: no experience is left.
        """
        if not isinstance(some, slice):
            raise TypeError(f"a stream is sliced, as in stream[:3]; one experience is stream.experiences[{some!r}]")
        chosen = range(len(self))[some]
        if len(chosen) == 0 or chosen.step != 1:
            rule = f"a stretch of the {len(self)} experiences of {self.name!r}"
            raise bad_option("experiences", rule, f"{some.start}:{some.stop}", "Write [:3], for the first three.")
        begin, end = chosen.start, chosen.stop
        tasks = None if self.tasks is None else [self.tasks[k] for k in chosen]
        held = self.validation[begin:end] if self.validation else ()
        return dataclasses.replace(
            self, segments=self.segments[begin:end], tests=self.tests[begin:end], tasks=tasks, validation=held
        )

    @property
    def num_classes(self) -> int:
        """Classes of the whole stream."""
        return self.data.num_classes

    @property
    def num_tasks(self) -> int:
        """Task labels of the whole stream."""
        return 1 + max(self.tasks) if self.tasks is not None else 1

    @property
    def experiences(self) -> Experiences:
        """The experiences, as a sequence that can be sliced; each is made when it is asked for."""
        return Experiences(self, range(len(self.segments)))

    def __len__(self) -> int:
        return len(self.segments)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Updates completed before each experience, and after the last (K+1,)."""
        return (0, *accumulate(sum(self.iterations(k)) for k in range(len(self))))

    def iterations(self, k: int) -> list[int]:
        """Batches of each epoch of experience k."""
        return [-(-self.order.length(self.segments, k, e, self.epochs) // self.batch_size) for e in range(self.epochs)]

    @cached_property
    def first_experience(self) -> Ids:
        """The experience in which each training id comes first (N,); the number of experiences for one that never comes."""
        first = np.full(len(self.data.train), len(self), dtype=np.int64)
        for k in reversed(range(len(self))):
            first[self.segments[k]] = k
        return first

    @cached_property
    def labels(self) -> Tensor:
        """Labels of the training source (N,), int64, on the device."""
        return torch.from_numpy(np.ascontiguousarray(self.data.train.y)).to(self.device)

    @cached_property
    def task_of(self) -> Tensor | None:
        """Task label of every training id (N,), on the device; None where the learner may not know it."""
        if not self.reveals.task_train or self.tasks is None:
            return None
        table = np.zeros(len(self.data.train), dtype=np.int64)
        for ids, task in zip(self.segments, self.tasks, strict=True):
            table[ids] = task
        return torch.from_numpy(table).to(self.device)

    @cached_property
    def weight_of(self) -> Tensor | None:
        """Weight of every training id (N,), on the device, where the data set or the loss on a coreset has weights."""
        own = self._own_weight
        if self.curation is None or self.curation.in_loss is None:
            return own
        drawn = torch.from_numpy(self.curation.in_loss).to(self.device)
        return drawn if own is None else drawn * own

    @cached_property
    def mass_of(self) -> Tensor | None:
        """What every training id adds to what the loss is divided by (N,): its weight in the data set; None where that is all."""
        if self.curation is None or self.curation.in_loss is None:
            return None
        own = self._own_weight
        return torch.ones(len(self.data.train), device=self.device) if own is None else own

    @property
    def _own_weight(self) -> Tensor | None:
        weight = self.data.train.weight
        return None if weight is None else torch.from_numpy(np.asarray(weight, dtype=np.float32)).to(self.device)

    def batch(self, index: Tensor) -> Batch:
        """The training samples with these ids (B,), on the device."""
        on_device = index if self.device.type == "cpu" else index.to(self.device)
        weight, task, mass = self.weight_of, self.task_of, self.mass_of
        return Batch(
            x=self.data.train.fetch(index),
            y=self.labels.index_select(0, on_device),
            index=index,
            weight=None if weight is None else weight[on_device],
            task=None if task is None else task[on_device],
            mass=None if mass is None else mass[on_device],
        )

    @property
    def ahead(self) -> int:
        """Batches fetched at a time in a walk: as many as 1 MiB of inputs holds, at most 32. It pays where batches are small."""
        bytes_each = 4 * self.batch_size * math.prod(self.data.train.input_shape)
        return max(1, min(AHEAD, AHEAD_BYTES // bytes_each))

    def batches(self, indices: Sequence[Tensor]) -> Iterator[Batch]:
        """What `batch` gives for each of these, with one fetch for all."""
        if len(indices) == 1:
            yield self.batch(indices[0])
            return
        whole, sizes = self.batch(torch.cat(list(indices))), [len(index) for index in indices]
        none = (None,) * len(sizes)
        further = (none if c is None else c.split_with_sizes(sizes) for c in (whole.weight, whole.task, whole.mass))
        inputs, labels = whole.x.split_with_sizes(sizes), whole.y.split_with_sizes(sizes)
        for x, y, index, weight, task, mass in zip(inputs, labels, indices, *further, strict=True):
            yield Batch(x, y, index, weight, task, mass=mass)

    def fingerprint(self) -> str:
        """A hash of the data and of every id: streams with equal fingerprints deliver the same samples in the same order."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.data.fingerprint().encode())
        known: dict[int, tuple[Ids, bytes]] = {}
        for arrays in (self.segments, self.tests, self.validation):
            for ids in arrays:
                if id(ids) not in known:
                    plain = np.ascontiguousarray(ids, dtype=np.int64)
                    known[id(ids)] = ids, hashlib.blake2b(plain.tobytes(), digest_size=16).digest()
                digest.update(known[id(ids)][1])
            digest.update(b"|")
        tasks = None if self.tasks is None else tuple(self.tasks)
        digest.update(repr((self.reveals, tasks, self.order, self.seed, self.tested_on)).encode())
        if self.curation is not None:
            digest.update(self.curation.fingerprint().encode())
        return digest.hexdigest()
