"""The contracts between the rooms. Plain data and protocols; no torch logic.

A `Scenario` is a sequence of `Experience`s; an experience yields (`Step`, `Batch`) pairs; a `Strategy` observes batches and
predicts; a `Source` turns ids into tensors; a `Selector` turns a pool of ids into a weighted subset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples on their way to a strategy.

    Attributes:
        x: inputs (B, *input), float32, normalised, on the run's device.
        y: labels (B,), int64, on the run's device.
        index: ids in the source (B,), int64, on the CPU.
        weight: importance of each sample (B,), or None for equal weights.
        task: task label of each sample (B,), int64, or None where the scenario does not reveal it.
        extra: further tensors per sample: stored logits, features, ...
        mass: what each sample adds to what the loss is divided by (B,); None: its weight, so that the loss is a weighted mean.
    """

    x: Tensor
    y: Tensor
    index: Tensor
    weight: Tensor | None = None
    task: Tensor | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    mass: Tensor | None = None

    @property
    def divisor(self) -> Tensor | None:
        """What each sample adds to what the loss is divided by (B,): its mass, or else its weight; None: 1."""
        return self.weight if self.mass is None else self.mass

    def __len__(self) -> int:
        return len(self.y)


class Step(NamedTuple):
    """Where a stream stands.

    Attributes:
        n: updates completed once this step's batch has been observed, counted from the start of the stream (1, 2, ...).
        experience: index of the experience being trained.
        epoch: pass over the experience, from 0.
        iteration: batch within the epoch, from 0.
        since: updates completed since the experience began (1, 2, ...).
        last: whether this is the last update of the experience.
    """

    n: int
    experience: int
    epoch: int
    iteration: int
    since: int
    last: bool


@dataclass(frozen=True, slots=True)
class Reveals:
    """What a learner may know. A method whose `requires` names something hidden is refused before training.

    Attributes:
        task_train: the task label of each training sample.
        task_test: the task label of each sample to predict (task-incremental learning).
        boundaries: when one experience ends and the next begins.
        classes: which classes the current experience holds.
    """

    task_train: bool = False
    task_test: bool = False
    boundaries: bool = True
    classes: bool = True

    def names(self) -> frozenset[str]:
        """The revealed things by name, to compare with `requires`."""
        return frozenset(n for n in ("task_train", "task_test", "boundaries", "classes") if getattr(self, n))


class Source(Protocol):
    """Labelled samples under ids 0..N-1. Ids and labels are cheap; `fetch` alone touches the data.

    Attributes:
        name: a short name for messages.
        y: labels (N,), int64, in 0..num_classes-1.
        task: task label (N,), int64, or None.
        weight: sample weight (N,), float32, or None.
        input_shape: shape of one sample of `fetch`, such as (1, 28, 28).
        class_names: one per class.
    """

    name: str
    y: Ids
    task: Ids | None
    weight: npt.NDArray[np.float32] | None
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]

    def __len__(self) -> int: ...

    def fetch(self, index: Tensor) -> Tensor:
        """Inputs (B, *input_shape) of the ids (B,), float32, normalised, on the source's device."""
        ...

    def to(self, device: torch.device) -> Source:
        """The same source, delivering on `device`."""
        ...

    def fingerprint(self) -> str:
        """A hash of the content: two sources with equal fingerprints hold the same samples in the same order."""
        ...


class Train(Protocol):
    """All that a strategy ever gets of an experience: no test data, no neighbours, and nothing that the scenario hides.

    Attributes:
        experience: index of the experience; None where boundaries are not revealed.
        classes: class ids of the experience; None where not revealed.
        task: task label of the experience; None where not revealed.
        num_classes: classes of the whole stream, the length of a row of `Strategy.predict`.
        size: training samples in the experience; None where boundaries are not revealed.
        sample_bytes: bytes of one stored sample, for whoever declares the size of a memory.
    """

    experience: int | None
    classes: tuple[int, ...] | None
    task: int | None
    num_classes: int
    size: int | None
    sample_bytes: int

    def fetch(self, index: Tensor) -> Batch:
        """The samples with these ids, which must have been in the stream up to this experience (not beyond)."""
        ...

    def batches(self, size: int, order: Ids | None = None) -> Iterator[Batch]:
        """One pass over this experience's training samples; refused where boundaries are not revealed."""
        ...

    def sample(self, count: int, generator: torch.Generator) -> Ids:
        """At most `count` different ids of this experience, drawn at random; refused where boundaries are not revealed."""
        ...


class Experience(Protocol):
    """One stretch of the stream: its training side, its test ids, and its walk."""

    @property
    def index(self) -> int: ...

    @property
    def train(self) -> Train: ...

    @property
    def test(self) -> Ids: ...

    def steps(self, after: Step | None = None) -> Iterator[tuple[Step, Batch]]:
        """The updates of this experience in order; `after` seeks past a step already done, without touching the data."""
        ...


class Scenario(Protocol):
    """A stream of experiences: a pure function of (source, options, seed)."""

    @property
    def name(self) -> str: ...

    @property
    def reveals(self) -> Reveals: ...

    @property
    def experiences(self) -> Sequence[Experience]: ...

    @property
    def num_classes(self) -> int: ...


@runtime_checkable
class Stateful(Protocol):
    """Whatever must survive a stop. The state is plain: tensors, numbers, strings, lists and dictionaries of them."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@runtime_checkable
class Strategy(Stateful, Protocol):
    """A way to learn from a stream."""

    requires: frozenset[str]

    def begin(self, train: Train) -> None:
        """An experience begins. Called again on resume, before `load_state_dict`, to bind to the experience in progress."""
        ...

    def observe(self, batch: Batch) -> Mapping[str, Tensor]:
        """One iteration: learn from the batch; return the named, detached loss terms."""
        ...

    def end(self, train: Train) -> None:
        """The experience is over."""
        ...

    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Scores (B, C) of the inputs; must not change anything."""
        ...


@dataclass(frozen=True, slots=True)
class Selection:
    """A weighted subset of a pool of ids.

    Attributes:
        index: chosen ids (k,), int64.
        weight: weight of each (k,), float64; sums of weight x value estimate sums over the pool.
        probability: inclusion probability of each (k,), float64, in (0, 1].
    """

    index: Ids
    weight: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]


class Selector(Protocol):
    """Coresets and replay memories speak one language."""

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> Selection:
        """Choose at most `size` ids of the pool."""
        ...


@dataclass(frozen=True, slots=True)
class Pool:
    """What a selector chooses from: ids (n,), and labels (n,) or features (n, d) where there are some."""

    index: Ids
    y: Ids | None = None
    features: npt.NDArray[np.floating[Any]] | None = None
