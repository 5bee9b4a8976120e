"""Every check of a strategy catches the mistake that it is there for: one broken part or strategy, or more, for each."""

from __future__ import annotations

import gc
import itertools
import random
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from clframe.selection import Memory, Reservoir
from clframe.strategies import Part, Recipe, Setup, View
from clframe.testing import checks_for, run_checks
from clframe.testing.runner import EVERYTHING, STRATEGY
from clframe.types import Batch, Train


class Calm(Part):
    """A penalty on large logits of the new samples. Reference: none, this is for tests."""

    name = "calm"

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        return {"logits": 0.01 * view.logits[view.new].clamp(-10, 10).square().mean()}


class Plain:
    """A whole strategy: the lower bound."""

    requires: frozenset[str] = frozenset()

    def __init__(self, setup: Setup) -> None:
        self.model, self.optimizer = setup.model, setup.optimizer(setup.model.parameters())

    def begin(self, train: Train) -> None:
        self.model.begin(train.classes, train.task)
        self.model.train()

    def observe(self, batch: Batch) -> Mapping[str, Tensor]:
        loss = functional.cross_entropy(self.model(batch.x, batch.task), batch.y)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return {"ce": loss.detach()}

    def end(self, train: Train) -> None: ...

    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        return self.model(x, task)  # type: ignore[no-any-return]

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


class Unseeded(Calm):
    def penalty(self, view: View) -> Mapping[str, Tensor]:
        return {"noise": view.logits.clamp(-5, 5).mean() * float(np.random.default_rng().random())}


class SeededByHand(Calm):
    def __init__(self) -> None:
        self.dice = torch.Generator().manual_seed(0)


class IgnoresEverything(Plain):
    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        torch.nn.init.zeros_(self.model.head.weight)
        for p in self.model.parameters():
            p.data.zero_()
            p.requires_grad_(False)
        self.model.head.weight.requires_grad_(True)

    def observe(self, batch: Batch) -> Mapping[str, Tensor]:
        return {"ce": torch.zeros(())}


class CountsItsExams(Plain):
    asked = 0

    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        self.asked += 1
        return super().predict(x, task)

    def observe(self, batch: Batch) -> Mapping[str, Tensor]:
        for group in self.optimizer.param_groups:
            group["lr"] = 0.01 / (1 + self.asked)
        return super().observe(batch)


class HooksTheModel(Calm):
    def bind(self, model: Any, generator: torch.Generator) -> None:
        super().bind(model, generator)
        self._passes = 0
        model.backbone.register_forward_hook(self._count)

    def _count(self, *args: object) -> None:
        self._passes += 1

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        return {"logits": view.logits.clamp(-5, 5).square().mean() * (self._passes % 7) * 0.01}


class CountsInSecret(Calm):
    _count = 0

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        self._count += 1
        return {"logits": 0.001 * self._count * view.logits.clamp(-5, 5).square().mean()}


class CountsSinceItBegan(CountsInSecret):
    def begin(self, train: Train) -> None:
        self._count = 0


class AnchorsInSecret(Calm):
    _anchor: Tensor | None = None
    requires = frozenset({"boundaries"})

    def end(self, train: Train) -> None:
        self._anchor = self.model.head.weight.detach().clone()

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        return {} if self._anchor is None else {"pull": (self.model.head.weight - self._anchor).square().sum()}


class CountsInPublic(Calm):
    count = 0

    def absorb(self, view: View) -> None:
        self.count += 1


class AssumesItsBatchSize(Calm):
    def penalty(self, view: View) -> Mapping[str, Tensor]:
        return {"logits": 0.001 * (view.logits.clamp(-5, 5) - torch.zeros(8, 6)).square().mean()}


class NumbersItself(Calm):
    counter = itertools.count()

    def __init__(self) -> None:
        self.name = f"calm{next(self.counter)}"


class WritesToTheBatch(Calm):
    def absorb(self, view: View) -> None:
        view.batch.x[view.new].zero_()


class WritesToTheQuestions(Plain):
    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        return self.model(x.add_(0.01), task)  # type: ignore[no-any-return]


class ChangesWeightsInPenalty(Calm):
    def penalty(self, view: View) -> Mapping[str, Tensor]:
        self.model.head.weight.data.mul_(0.99)
        return {}


class MovesTheNormalisation(Calm):
    def absorb(self, view: View) -> None:
        with torch.no_grad():
            self.model(view.batch.x, view.batch.task)


class LeavesTheMode(Calm):
    def end(self, train: Train) -> None:
        self.model.eval()


class EmptiesOthers(Calm):
    def absorb(self, view: View) -> None:
        view.model.head.bias.grad.zero_()


class DrainsTheOther(Calm):
    def absorb(self, view: View) -> None:
        if "conformance-witness" in view.groups:
            for memory in (o for o in gc.get_objects() if type(o) is Reservoir):
                memory.seen += 1


class KeepsASet(Calm):
    state = ("labels",)

    def __init__(self) -> None:
        self.labels: set[int] = set()

    def absorb(self, view: View) -> None:
        self.labels |= set(view.batch.y.tolist())


class LosesHalf(Calm):
    state = ("labels",)
    labels: tuple[int, ...] = ()

    def absorb(self, view: View) -> None:
        self.labels = (*self.labels[-4:], int(view.batch.y[0]))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.labels = tuple(self.labels[:1])


class Hoards(Calm):
    state = ("ids",)

    def __init__(self) -> None:
        self.ids: list[int] = []

    def absorb(self, view: View) -> None:
        self.ids.extend(view.batch.index[view.new].tolist())


class RemembersEveryModel(Calm):
    state = ("models",)
    requires = frozenset({"boundaries"})

    def __init__(self) -> None:
        self.models: list[Tensor] = []

    def end(self, train: Train) -> None:
        self.models.append(self.model.head.weight.detach().clone())


class DeclaresItsModels(RemembersEveryModel):
    grows = frozenset({"experiences"})


class Understates(RemembersEveryModel):
    grows = frozenset({"experiences"})

    def state_bytes(self) -> int:
        return 0


class Overfull(Reservoir):
    def __len__(self) -> int:
        return self.seen


class HoldsAnOverfullMemory(Calm):
    def bind(self, model: Any, generator: torch.Generator) -> None:
        super().bind(model, generator)
        self.memory: Memory = Overfull(5, generator)

    def absorb(self, view: View) -> None:
        self.memory.update(view.batch.index, view.batch.y)


class FetchesAhead(Calm):
    def begin(self, train: Train) -> None:
        if train.experience is None:
            train.fetch(torch.arange(100))


class ReadsTheStream(Calm):
    def begin(self, train: Train) -> None:
        self._upcoming = train._stream  # type: ignore[attr-defined]


class MisspellsARequirement(Calm):
    requires = frozenset({"boundary"})


class ForgetsThemLater(Plain):
    requires = frozenset({"boundaries"})

    def end(self, train: Train) -> None:
        self.requires = frozenset()


class Infinite(Calm):
    def penalty(self, view: View) -> Mapping[str, Tensor]:
        return {"inverse": 1.0 / (view.logits.sum() * 0.0)}


class ReturnsTheGraph(Plain):
    def observe(self, batch: Batch) -> Mapping[str, Tensor]:
        return {**super().observe(batch), "extra": self.model(batch.x, batch.task).mean()}


class ReturnsNumbers(Plain):
    def observe(self, batch: Batch) -> Mapping[str, Tensor]:
        return {name: float(value) for name, value in super().observe(batch).items()}  # type: ignore[misc]


class ReturnsNothing(Plain):
    def observe(self, batch: Batch) -> Mapping[str, Tensor]:
        super().observe(batch)
        return {}


class ScoresTooFew(Plain):
    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        return super().predict(x, task)[:, :2]


class ComparesSamples(Plain):
    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        scores = super().predict(x, task)
        return scores - scores.mean(0)


class DrawsFromTorch(Calm):
    def penalty(self, view: View) -> Mapping[str, Tensor]:
        return {"noise": torch.rand(()) * 0.01 * view.logits.clamp(-5, 5).mean()}


class DrawsFromNumpy(Calm):
    def begin(self, train: Train) -> None:
        np.random.rand()  # noqa: NPY002


class DrawsFromPython(Calm):
    def end(self, train: Train) -> None:
        random.random()


class DrawsWhenMade(Plain):
    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        torch.rand(1)


class NeedsAllClasses(Calm):
    def begin(self, train: Train) -> None:
        if train.classes is not None and train.task is None and len(train.classes) < train.num_classes:
            raise ValueError("too few classes")


class ForgetsTheTask(Calm):
    def absorb(self, view: View) -> None:
        self.model.head(view.features.detach())


class NeedsNewClasses(Calm):
    def begin(self, train: Train) -> None:
        if train.classes is not None and len(train.classes) == train.num_classes:
            raise ValueError("no new class")


class NeedsClassesInSecret(Calm):
    def end(self, train: Train) -> None:
        list(train.classes)  # type: ignore[arg-type]


class LosesAnOption(Calm):
    """It keeps `rate` under another name. Reference: none."""

    def __init__(self, rate: float = 0.1) -> None:
        self._rate = rate

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        return {}


class ChangesAnOption(Calm):
    def __init__(self, rate: float = 0.1) -> None:
        self.rate = rate * 2


class Undocumented(Part):
    name = "undocumented"


class HalfDocumented(Part):
    """It says nothing of its option. Reference: none."""

    name = "half"

    def __init__(self, rate: float = 0.1) -> None:
        self.rate = rate


class Unsourced(Part):
    """Something from somewhere."""

    name = "unsourced"


class DeclaresNonsense(Calm):
    known_failures: ClassVar[Mapping[str, str]] = {"is perfect": "nothing is"}


MEANT_FOR: dict[str, dict[Any, str]] = {
    "deterministic": {
        Unseeded: "same seed differ",
        SeededByHand: "calm.dice starts in the same state",
        IgnoresEverything: "seeds 0 and 1 end with the same weights",
    },
    "evaluation is pure": {CountsItsExams: "changed the training", HooksTheModel: "changed the training"},
    "resume is exact": {
        CountsInSecret: "stopped after the first update (n = 1)",
        AnchorsInSecret: "stopped after the last update of an experience (n = 12)",
    },
    "snapshots are exact": {
        CountsInSecret: "put back to where it stood after an experience",
        CountsSinceItBegan: "put back to where it stood after an update",
    },
    "order free": {AssumesItsBatchSize: "RuntimeError", NumbersItself: "another result in the other order"},
    "inputs stay untouched": {WritesToTheBatch: "batch.x", WritesToTheQuestions: "predict changed the inputs"},
    "writes only its own state": {
        ChangesWeightsInPenalty: "calm.penalty wrote to something that is not its own: weights.head.weight",
        MovesTheNormalisation: "calm.absorb wrote to something that is not its own: weights.backbone.2.running_mean",
        LeavesTheMode: "calm.end wrote to something that is not its own: modes",
        EmptiesOthers: "calm.absorb wrote to something that is not its own: gradients",
        DrainsTheOther: "calm.absorb wrote to something that is not its own: other parts.conformance-witness",
    },
    "declares its state": {CountsInPublic: "calm.count"},
    "state is plain": {KeepsASet: "is a set", LosesHalf: "put back, the state differs"},
    "memory is bounded as declared": {
        Hoards: "four times as many samples",
        RemembersEveryModel: "four times as many experiences",
        Understates: "state_bytes() says 0",
        HoldsAnOverfullMemory: "a memory of size 5 holds",
    },
    "sees only what is revealed": {FetchesAhead: "had not been in the stream yet", ReadsTheStream: "_stream"},
    "refuses what hides its requirements": {MisspellsARequirement: "['boundary']", ForgetsThemLater: "must not change"},
    "terms are named and finite": {
        Infinite: "calm/inverse' is inf",
        ReturnsTheGraph: "'extra' holds on to its graph",
        ReturnsNumbers: "must be a scalar tensor",
        ReturnsNothing: "must return its terms by name",
    },
    "predicts a score a class": {
        ScoresTooFew: "got (7, 2)",
        ComparesSamples: "depend on the rest of its batch",
    },
    "global generators stay untouched": {
        DrawsFromTorch: "observe drew from torch's",
        DrawsFromNumpy: "begin drew from numpy's",
        DrawsFromPython: "end drew from Python's",
        DrawsWhenMade: "its construction drew from torch's",
    },
    "runs class incremental": {NeedsAllClasses: "too few classes"},
    "runs task incremental": {ForgetsTheTask: "task must be known"},
    "runs domain incremental": {NeedsNewClasses: "no new class"},
    "runs without boundaries": {NeedsClassesInSecret: "NoneType"},
    "describes itself": {LosesAnOption: "rate", ChangesAnOption: "rate=0.6, but it was given 0.3"},
    "documented": {Undocumented: "needs a docstring", HalfDocumented: "rate missing", Unsourced: "Reference"},
    "known failures are checks": {DeclaresNonsense: "'is perfect', which is no check"},
}
OPTIONS: dict[Any, dict[str, object]] = {ChangesAnOption: {"rate": 0.3}}
CASES = [(name, thing, said) for name, broken in MEANT_FOR.items() for thing, said in broken.items()]


@pytest.mark.parametrize(("name", "thing", "said"), CASES, ids=[f"{thing.__name__}: {name}" for name, thing, _ in CASES])
def test_the_check_catches_what_it_is_meant_for(name: str, thing: Any, said: str) -> None:
    (check,) = (c for c in checks_for(thing, OPTIONS.get(thing)) if c.name == name)
    found = check.outcome()
    assert found.status == "failed"
    assert said in found.message
    with pytest.raises(AssertionError, match=name):
        check()


def test_every_check_of_a_strategy_has_something_to_catch() -> None:
    assert {rule.__name__.replace("_", " ") for rule in STRATEGY + EVERYTHING} == set(MEANT_FOR)


@pytest.mark.parametrize("thing", [Calm, Plain, DeclaresItsModels])
def test_what_is_sound_passes(thing: Any) -> None:
    bad = [o for o in run_checks(thing) if o.status == "failed" and not (o.name == "documented" and thing is DeclaresItsModels)]
    assert not bad, bad


def test_a_mistake_is_not_blamed_on_everything() -> None:
    failed = {
        thing: {o.name for o in run_checks(thing) if o.status == "failed"} for thing in (Hoards, CountsInSecret, DrawsFromNumpy)
    }
    undocumented = {"documented"}  # a subclass has no docstring of its own
    assert failed[Hoards] - undocumented == {"memory is bounded as declared"}
    assert failed[CountsInSecret] - undocumented == {"resume is exact", "snapshots are exact"}
    assert failed[DrawsFromNumpy] - undocumented == {"global generators stay untouched"}


def test_a_recipe_is_checked_as_its_parts() -> None:
    def calm_twice() -> Recipe:
        """A baseline for tests."""
        return Recipe((Calm(), NumbersItself()))

    outcomes = {o.name: o.status for o in run_checks(calm_twice)}
    assert outcomes["documented"] == "passed"
    assert outcomes["order free"] == "failed"
