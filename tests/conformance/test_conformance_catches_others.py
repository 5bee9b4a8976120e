"""Every check of a scenario and of a memory catches the mistake that it is there for; known failures and words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from clframe.cli.main import main
from clframe.data import Dataset, from_arrays
from clframe.errors import OptionError
from clframe.scenarios import AsGiven, Stream, class_incremental
from clframe.scenarios.training_view import TrainView
from clframe.seeding import rng
from clframe.selection import Reservoir
from clframe.strategies import Part
from clframe.testing import NotApplicable, checks_for, run_checks
from clframe.testing.runner import EVERYTHING, MEMORY, SCENARIO
from clframe.types import Ids, Selection


def small(seed: int = 0) -> Dataset:
    x, y = rng(0, "small").random((60, 4)), np.arange(60) % 4
    return from_arrays(x, y, name="small")


def sound(data: Dataset, *, seed: int = 0) -> Stream:
    """Two experiences of `data`, in an order drawn by `seed`."""
    return class_incremental(data, experiences=2, validation=0.2, seed=seed)


def draws_globally(data: Dataset, *, seed: int = 0) -> Stream:
    stream = sound(data, seed=seed)
    return dataclasses.replace(stream, segments=[np.random.permutation(s)[:9] for s in stream.segments])  # noqa: NPY002


def ignores_its_seed(data: Dataset, *, seed: int = 0) -> Stream:
    return sound(data, seed=3)


def only_says_its_seed(data: Dataset, *, seed: int = 0) -> Stream:
    return dataclasses.replace(sound(data, seed=3), seed=seed, order=AsGiven())


def goes_too_far(data: Dataset, *, seed: int = 0) -> Stream:
    stream = sound(data, seed=seed)
    return dataclasses.replace(stream, tests=[ids + 5 for ids in stream.tests])


def repeats_a_test(data: Dataset, *, seed: int = 0) -> Stream:
    stream = sound(data, seed=seed)
    return dataclasses.replace(stream, tests=[np.repeat(ids, 2) for ids in stream.tests])


def narrow(data: Dataset, *, seed: int = 0) -> Stream:
    stream = sound(data, seed=seed)
    return dataclasses.replace(stream, segments=[ids.astype(np.int32) for ids in stream.segments])


@dataclass(frozen=True)
class Nothing:
    """An order that brings nothing in the second experience."""

    def ids(self, segments: Sequence[Ids], k: int, epoch: int, epochs: int, seed: int) -> Ids:
        return segments[k][: 0 if k else None]

    def length(self, segments: Sequence[Ids], k: int, epoch: int, epochs: int) -> int:
        return 0 if k else len(segments[k])


@dataclass(frozen=True)
class Miscounted(Nothing):
    """An order that promises more than it brings."""

    def length(self, segments: Sequence[Ids], k: int, epoch: int, epochs: int) -> int:
        return len(segments[k])


@dataclass(frozen=True)
class Restless(AsGiven):
    """Another order at every call."""

    def ids(self, segments: Sequence[Ids], k: int, epoch: int, epochs: int, seed: int) -> Ids:
        return np.random.default_rng().permutation(segments[k])


def ordered(order: Any) -> Callable[..., Stream]:
    def scenario(data: Dataset, *, seed: int = 0) -> Stream:
        return dataclasses.replace(sound(data, seed=seed), order=order)

    scenario.__name__ = type(order).__name__
    return scenario


def trains_on_validation(data: Dataset, *, seed: int = 0) -> Stream:
    stream = sound(data, seed=seed)
    return dataclasses.replace(stream, validation=[ids[:2] for ids in stream.segments])


def looks_at_the_data(data: Dataset, *, seed: int = 0) -> Stream:
    data.train.fetch(torch.arange(3))
    return sound(data, seed=seed)


class Slow(Stream):
    """A stream that reads all that it skips."""

    def batch(self, index: Tensor) -> Any:
        self.data.train.fetch(torch.arange(len(self.data.train)))
        return super().batch(index)


class TellsTheTask(Stream):
    """A stream whose batches hold the task although it is hidden."""

    @property
    def task_of(self) -> Tensor:  # type: ignore[override]
        return torch.zeros(len(self.data.train), dtype=torch.int64)


class LooseView(TrainView):
    """A view that gives whatever is asked for."""

    def fetch(self, index: Tensor) -> Any:
        return self._stream.batch(index)


class HandsOutTheFuture(Stream):
    """A stream whose views give samples that come only later."""

    @property
    def experiences(self) -> Any:
        honest = sound(self.data, seed=self.seed)
        found = list(super().experiences)
        for e in found:
            e.__dict__["train"] = LooseView(honest, e.index)
        return found


def of_kind(kind: type[Stream]) -> Callable[..., Stream]:
    def scenario(data: Dataset, *, seed: int = 0) -> Stream:
        stream = sound(data, seed=seed)
        return kind(**{f.name: getattr(stream, f.name) for f in dataclasses.fields(stream)})

    scenario.__name__ = kind.__name__
    return scenario


def undocumented(data: Dataset, *, seed: int = 0, speed: float = 1.0) -> Stream:
    """It says nothing of one option; `data` and `seed` are there."""
    return sound(data, seed=seed)


def nonsense(data: Dataset, *, seed: int = 0) -> Stream:
    return sound(data, seed=seed)


nonsense.known_failures = {"is perfect": "nothing is"}  # type: ignore[attr-defined]

SCENARIOS: dict[str, dict[Any, str]] = {
    "pure function of its seed": {
        draws_globally: "numpy's global generator",
        ignores_its_seed: "have the same fingerprint",
        only_says_its_seed: "the same ids in the same order",
        ordered(Restless()): "other ids when the stream is built again",
    },
    "ids are in range": {goes_too_far: "must be in 0..", repeats_a_test: "comes twice", narrow: "must be int64"},
    "every experience has updates": {
        ordered(Nothing()): "experience 1 has no update",
        ordered(Miscounted()): "of experience 1 promises",
    },
    "validation is held out": {trains_on_validation: "validation samples are trained on"},
    "seeking is exact": {ordered(Restless()): "brings other samples"},
    "building reads no data": {looks_at_the_data: "fetched samples 1 times", of_kind(Slow): "a seek to the last step"},
    "hides what it says": {of_kind(TellsTheTask): "have task", of_kind(HandsOutTheFuture): "comes only later"},
    "documented": {undocumented: "speed missing"},
    "known failures are checks": {nonsense: "is perfect"},
}


class Growing(Reservoir):
    def selection(self) -> Selection:
        index = np.arange(self.seen)
        return Selection(index, np.ones(self.seen), np.ones(self.seen))

    def __len__(self) -> int:
        return self.seen


class CountsNothing(Reservoir):
    def update(self, index: Tensor, y: Tensor) -> Tensor:
        slots = super().update(index, y)
        self.seen = 0
        return slots


class DrawsFromTorch(Reservoir):
    def update(self, index: Tensor, y: Tensor) -> Tensor:
        return super().update(index[torch.randperm(len(index))], y)


class WritesToItsInput(Reservoir):
    def update(self, index: Tensor, y: Tensor) -> Tensor:
        slots = super().update(index, y)
        index.zero_()
        return slots


class MisplacesSamples(Reservoir):
    def update(self, index: Tensor, y: Tensor) -> Tensor:
        return super().update(index, y).roll(1)


class ForgetsItsCount(Reservoir):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.seen = self.filled


class RepeatsItself(Reservoir):
    def draw(self, count: int) -> Tensor:
        return self.index[torch.randint(self.filled, (count,), generator=self.generator)]


class KeepsTheNewest(Reservoir):
    """First in, first out, with the probabilities of a reservoir: `size`, `generator`."""

    def update(self, index: Tensor, y: Tensor) -> Tensor:
        kept = torch.cat([self.index[: self.filled], index])[-self.size :]
        self.filled, self.seen = len(kept), self.seen + len(index)
        self.index[: self.filled] = kept
        return torch.arange(self.filled - len(index), self.filled)


class Certain(KeepsTheNewest):
    def selection(self) -> Selection:
        found = super().selection()
        return dataclasses.replace(found, probability=found.probability * 9)


class SaysNothing(Reservoir): ...


class DeclaresNonsense(Reservoir):
    known_failures: ClassVar[Mapping[str, str]] = {"is perfect": "nothing is"}


MEMORIES: dict[str, dict[Any, str]] = {
    "keeps within its size": {Growing: "of size 12 holds 20 ids", CountsNothing: "`seen` is 0"},
    "deterministic": {DrawsFromTorch: "differ"},
    "inputs stay untouched": {WritesToItsInput: "update changed"},
    "state is exact": {ForgetsItsCount: "restored half-way"},
    "slots are where they are said to be": {MisplacesSamples: "are held where others are"},
    "draws what it holds": {RepeatsItself: "gave"},
    "probabilities are honest": {KeepsTheNewest: "standard errors off", Certain: "must lie in (0, 1]"},
    "documented": {SaysNothing: "needs a docstring"},
    "known failures are checks": {DeclaresNonsense: "is perfect"},
}
CASES = [(n, thing, said) for table in (SCENARIOS, MEMORIES) for n, broken in table.items() for thing, said in broken.items()]


@pytest.mark.parametrize(("name", "thing", "said"), CASES, ids=[f"{thing.__name__}: {name}" for name, thing, _ in CASES])
def test_the_check_catches_what_it_is_meant_for(name: str, thing: Any, said: str) -> None:
    options = {} if isinstance(thing, type) else {"data": small()}
    (check,) = (c for c in checks_for(thing, options) if c.name == name)
    found = check.outcome()
    assert found.status == "failed"
    assert said in found.message


def test_every_check_has_something_to_catch() -> None:
    assert {rule.__name__.replace("_", " ") for rule in SCENARIO + EVERYTHING} == set(SCENARIOS)
    assert {rule.__name__.replace("_", " ") for rule in MEMORY + EVERYTHING} == set(MEMORIES)


def test_what_is_sound_passes() -> None:
    assert {o.status for o in run_checks(sound, {"data": small()})} == {"passed"}


class Shaky(Reservoir):
    """Draws with repetition; options `size` and `generator`."""

    known_failures: ClassVar[Mapping[str, str]] = {"draws what it holds": "on purpose", "state is exact": "no longer true"}

    def draw(self, count: int) -> Tensor:
        return self.index[torch.randint(self.filled, (count,), generator=self.generator)]


def test_a_known_failure_is_reported_with_its_reason_and_one_that_passes_is_a_failure() -> None:
    outcomes = {o.name: o for o in run_checks(Shaky)}
    assert outcomes["draws what it holds"].status == "known failure"
    assert "on purpose" in outcomes["draws what it holds"].message
    assert outcomes["state is exact"].status == "failed"
    assert "it passes" in outcomes["state is exact"].message
    (check,) = (c for c in checks_for(Shaky) if c.name == "draws what it holds")
    with pytest.raises(NotApplicable, match="on purpose"):
        check()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("err", "Did you mean 'er'"),
        ("er(sise=3)", "Did you mean 'size'"),
        ("er(size=-3)", "size must be a positive integer"),
        ("nowhere.py:Cls", "path/to/file.py:Name of a file that exists"),
        ("torch.nn:Linear", "a Part, a Strategy"),
        ("math:floor", "floor"),
        ("split-digits(experiences=200)", "experiences must be"),
    ],
)
def test_what_cannot_be_checked_is_answered_with_a_sentence_and_exit_code_2(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OptionError):
        checks_for(words)
    assert main(["check", words]) == 2
    assert said in capsys.readouterr().err


def test_the_command_says_what_failed_and_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fine, bare = "class Fine(Reservoir):\n    'Options size, generator.'\n", "class Bare(Reservoir): ...\n"
    (tmp_path / "mine.py").write_text("from clframe.selection import Reservoir\n" + fine + bare)
    assert main(["check", f"{tmp_path}/mine.py:Fine", "reservoir"]) == 0
    assert "9 passed" in capsys.readouterr().out
    assert main(["check", f"{tmp_path}/mine.py:Fine", f"{tmp_path}/mine.py:Bare"]) == 1
    assert "FAILED documented: " in capsys.readouterr().out


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    assert main(["check", "reservoir", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["reservoir"][0] == {"name": "keeps within its size", "status": "passed", "message": ""}


def test_a_size_that_is_not_given_is_made_small() -> None:
    (check, *_) = checks_for("er")
    assert [part.size for part in check.subject.parts() if isinstance(part, Part)] == [20]
    (check, *_) = checks_for("er(size=70)")
    assert [part.size for part in check.subject.parts() if isinstance(part, Part)] == [70]
