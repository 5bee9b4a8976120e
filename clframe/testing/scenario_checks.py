"""What every scenario must do: be a pure function of options and seed, read no data when built, hide what it says it hides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch

from clframe.data import TensorSource
from clframe.errors import CompositionError
from clframe.scenarios import Stream
from clframe.testing.outcome import NotApplicable, require
from clframe.testing.subject import ScenarioSubject
from clframe.types import Step

BATCH = 16


def pure_function_of_its_seed(subject: ScenarioSubject) -> None:
    """Built twice with one seed it is the same stream, id for id; another seed gives another; global generators stay."""
    before = torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    first, again, other = (subject.build(seed) for seed in (0, 0, 1))
    require(before == (before[0], str(np.random.get_state())), "building it draws from numpy's global generator.")  # noqa: NPY002
    require(torch.equal(before[0], torch.get_rng_state()), "building it draws from torch's global generator.")
    require(first.fingerprint() == again.fingerprint(), "two streams built with the same seed have different fingerprints.")
    require(first.fingerprint() != other.fingerprint(), "streams built with seeds 0 and 1 have the same fingerprint.")
    for k, (one, two) in enumerate(zip(first.experiences, again.experiences, strict=True)):
        require(_ids(first, k) == _ids(again, k), f"experience {k} brings other ids when the stream is built again.")
        require(np.array_equal(one.test, two.test), f"experience {k} has other test ids when the stream is built again.")
    require(any(_ids(first, k) != _ids(other, k) for k in range(len(first))), "seeds 0 and 1 bring the same ids in the same order.")


def ids_are_in_range(subject: ScenarioSubject) -> None:
    """Training, validation and test ids are int64 and exist in their sources; no test id comes twice in an experience."""
    stream = subject.build(0)
    kinds = (
        ("training", stream.segments, stream.data.train),
        ("validation", stream.validation, stream.data.train),
        ("test", stream.tests, stream.data.test),
    )
    for what, arrays, source in kinds:
        for k, ids in enumerate(arrays):
            require(ids.dtype == np.int64, f"{what} ids of experience {k} must be int64; got {ids.dtype}.")
            inside = len(ids) == 0 or (ids.min() >= 0 and ids.max() < len(source))
            require(bool(inside), f"{what} ids of experience {k} must be in 0..{len(source) - 1}; got {ids.min()} to {ids.max()}.")
            twice = what == "test" and len(np.unique(ids)) < len(ids)
            require(not twice, f"a test id of experience {k} comes twice.")


def every_experience_has_updates(subject: ScenarioSubject) -> None:
    """Every experience has updates and tests; its order is as long as promised; steps are counted and the last is marked."""
    stream = _walked(subject)
    n = 0
    for k, experience in enumerate(stream.experiences):
        for epoch in range(stream.epochs):
            promised = stream.order.length(stream.segments, k, epoch, stream.epochs)
            brought = len(stream.order.ids(stream.segments, k, epoch, stream.epochs, stream.seed))
            require(promised == brought, f"the order of experience {k} promises {promised} ids and brings {brought}.")
        require(len(experience.test) > 0, f"experience {k} has no test samples.")
        steps = [step for step, _ in experience.walk()]
        require(len(steps) > 0, f"experience {k} has no update.")
        counted = [s.n for s in steps] == list(range(n + 1, stream.starts[k + 1] + 1))
        require(counted, f"the updates of experience {k} must be {n + 1} to {stream.starts[k + 1]}; got {[s.n for s in steps]}.")
        marked = [s.last for s in steps] == [False] * (len(steps) - 1) + [True]
        require(marked, f"experience {k} does not mark its last update, and it alone, as the last.")
        n += len(steps)


def validation_is_held_out(subject: ScenarioSubject) -> None:
    """No validation sample is trained on in any experience."""
    stream = subject.build(0)
    if not any(len(ids) for ids in stream.validation):
        raise NotApplicable("no validation split; check it with validation=0.2")
    walked = stream.walked(batch_size=BATCH)
    trained = {i for k in range(len(walked)) for batch in _ids(walked, k) for i in batch}
    leaked = sorted(trained & {int(i) for ids in stream.validation for i in ids})
    require(not leaked, f"{len(leaked)} validation samples are trained on, such as id {leaked[0] if leaked else None}.")


def seeking_is_exact(subject: ScenarioSubject) -> None:
    """Walked from after any step, an experience brings exactly the rest of what it brings from the start."""
    stream = _walked(subject)
    for experience in (stream.experiences[0], stream.experiences[len(stream) - 1]):
        whole = [(step, ids.tolist()) for step, ids in experience.walk()]
        for position in sorted({0, 1, len(whole) // 2, len(whole) - 2, len(whole) - 1} & set(range(len(whole)))):
            rest = [(step, ids.tolist()) for step, ids in experience.walk(after=whole[position][0])]
            require(
                rest == whole[position + 1 :],
                f"experience {experience.index}, continued after step {whole[position][0].n}, brings other samples.",
            )


def building_reads_no_data(subject: ScenarioSubject) -> None:
    """Building it, its ids and a seek fetch no sample: a step fetches its batch and nothing else."""
    probe = subject.build(0)
    with _counted(TensorSource, type(probe.data.train), type(probe.data.test)) as fetched:
        stream = _walked(subject)
        for k in range(len(stream)):
            _ids(stream, k)
        require(not fetched, f"building and walking its ids fetched samples {len(fetched)} times.")
        last = stream.starts[1]
        if last > 1:
            after = Step(last - 1, 0, 0, 0, last - 1, False)
            batches = [batch for _, batch in stream.experiences[0].steps(after=after)]
            most = max(fetched, default=0)
            require(
                len(batches) == 1 and most <= BATCH,
                f"a seek to the last step fetched {most} samples for {len(batches)} batches.",
            )


def hides_what_it_says(subject: ScenarioSubject) -> None:
    """What `reveals` leaves out is None in the training view and in batches; later samples and hidden passes are refused."""
    stream = _walked(subject)
    reveals = stream.reveals
    for k, experience in enumerate(stream.experiences):
        train = experience.train
        known = {"experience": reveals.boundaries, "size": reveals.boundaries, "task": reveals.task_train}
        known["classes"] = reveals.classes and reveals.boundaries
        for name, revealed in known.items():
            value = getattr(train, name)
            require((value is not None) == revealed, f"train.{name} of experience {k} is {value!r}, but reveals is {reveals}.")
        _, batch = next(experience.steps())
        require((batch.task is not None) == reveals.task_train, f"batches of experience {k} have task {batch.task}, but {reveals}.")
    _refuses_what_it_hides(stream)


def _refuses_what_it_hides(stream: Stream) -> None:
    train = stream.experiences[0].train
    if not stream.reveals.boundaries:
        try:
            next(train.batches(1))
        except CompositionError:
            return
        require(False, "train.batches gives a pass over the experience although boundaries are hidden.")
    later = np.setdiff1d(np.concatenate([stream.segments[-1]]), np.concatenate(list(stream.segments[:1])))
    if len(stream) == 1 or len(later) == 0 or stream.first_experience[later].max() == 0:
        return
    late = later[stream.first_experience[later] > 0][:1]
    try:
        train.fetch(torch.from_numpy(late))
    except CompositionError:
        return
    require(False, f"train.fetch of experience 0 gives the sample {int(late[0])}, which comes only later.")


def _walked(subject: ScenarioSubject) -> Stream:
    stream = subject.build(0)
    return stream.walked(batch_size=BATCH, epochs=1 if stream.online else 2)


def _ids(stream: Stream, k: int) -> list[list[int]]:
    return [ids.tolist() for _, ids in stream.experiences[k].walk()]


@contextmanager
def _counted(*sources: type) -> Iterator[list[int]]:
    """Inside, the number of ids of every call of `fetch` of these classes is written down."""
    fetched: list[int] = []

    def counting(real: Any) -> Any:
        def fetch(self: Any, index: torch.Tensor) -> torch.Tensor:
            fetched.append(len(index))
            found: torch.Tensor = real(self, index)
            return found

        return fetch

    with ExitStack() as stack:
        for source in dict.fromkeys(sources):
            stack.enter_context(mock.patch.object(source, "fetch", counting(source.fetch)))  # type: ignore[attr-defined]
        yield fetched
