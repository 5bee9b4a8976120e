"""What every strategy must do: learn repeatably, be measured without noticing, stop and go on exactly."""

from __future__ import annotations

import inspect
import math
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clframe.checkpoint import Checkpoint, write
from clframe.errors import CompositionError
from clframe.loop import refuse_hidden
from clframe.models import Network
from clframe.pieces import isolated_run
from clframe.scenarios import Stream
from clframe.strategies import Learner
from clframe.testing import worlds
from clframe.testing.compare import PLAIN, copied, difference, held
from clframe.testing.outcome import NotApplicable, require
from clframe.testing.spies import Spied
from clframe.testing.subject import StrategySubject
from clframe.testing.trial import Members, Saves, setup_for, stops, trial
from clframe.types import Batch, Reveals, Step, Strategy


def deterministic(subject: StrategySubject) -> None:
    """Two runs with one seed give the same weights, rows and terms bit for bit; another seed reaches every generator."""
    first, again, other = (trial(subject, subject.world, seed=seed, model=worlds.TOUCHY_MODEL) for seed in (0, 0, 1))
    unlike = first.unlike(again)
    require(unlike is None, f"two runs with the same seed differ in {unlike}. Draw random numbers only from self.generator.")
    require(difference(first.weights, other.weights) is not None, "runs with seeds 0 and 1 end with the same weights.")
    with isolated_run(0, threads=1):
        made = [subject.build(setup_for(subject.world, seed=seed)) for seed in (0, 1)]
    for owner, states in _generators(made[0]).items():
        same = _generators(made[1]).get(owner) == states
        require(not same, f"the generator {owner} starts in the same state whatever the seed is. Seed it from the run's seed.")


def evaluation_is_pure(subject: StrategySubject) -> None:
    """Weights, state and terms are the same whether it is measured at every update, at every fifth or only at boundaries."""
    never = trial(subject, subject.world, model=worlds.TOUCHY_MODEL)
    for plan in ("every", "every(k=5)"):
        measured = trial(subject, subject.world, model=worlds.TOUCHY_MODEL, evaluate=plan)
        for what in ("weights", "strategy"):
            unlike = difference(never.state[what], measured.state[what], what)
            require(unlike is None, f"measuring with plan {plan!r} changed the training: {unlike}. predict must change nothing.")
        require(never.terms == measured.terms, f"measuring with plan {plan!r} changed the loss terms.")


def resume_is_exact(subject: StrategySubject) -> None:
    """Stopped after any of five updates and loaded into a fresh strategy, a run ends as if it had never stopped."""
    streams = [subject.world, *([worlds.worlds()["hidden boundaries"]] if not subject.requires else [])]
    for stream in dict.fromkeys(s.reveals for s in streams):
        world = next(s for s in streams if s.reveals == stream)
        _resumes(subject, world)


def _resumes(subject: StrategySubject, world: Stream) -> None:
    whole = trial(subject, world, model=worlds.TOUCHY_MODEL, evaluate="every(k=5)")
    points = stops(subject, world)
    with TemporaryDirectory() as folder:
        saving = trial(
            subject,
            world,
            model=worlds.TOUCHY_MODEL,
            evaluate="every(k=5)",
            checkpoint=lambda members: Saves(Path(folder), frozenset(points.values()), members, lambda step, members: None),
        )
        unlike = whole.unlike(saving)
        require(unlike is None, f"saving the state changed the run: {unlike}. state_dict must change nothing.")
        for point, n in points.items():
            resumed = trial(
                subject,
                world,
                model=worlds.TOUCHY_MODEL,
                evaluate="every(k=5)",
                checkpoint=lambda members, n=n: Checkpoint(Path(folder) / f"{n}.pt", "check", members, every=1 << 30),  # type: ignore[misc]
            )
            unlike = whole.unlike(resumed)
            require(unlike is None, f"stopped after {point} (n={n}) and resumed, the run differs in {unlike}. Declare it in `state`.")


def declares_its_state(subject: StrategySubject) -> None:
    """A fresh strategy with the state put back holds the same in every public attribute as the one that was stopped."""
    world, live, where = subject.world, dict[int, dict[str, Any]](), dict[int, Step]()

    def look(step: Step, members: Members) -> None:
        strategy = members["strategy"]
        assert isinstance(strategy, Strategy)
        live[step.n], where[step.n] = _attributes(strategy), step

    points = stops(subject, world)
    amid = frozenset((points["an update amid an epoch"], points["an update near the end"]))
    with TemporaryDirectory() as folder, isolated_run(0, threads=1):
        trial(subject, world, checkpoint=lambda members: Saves(Path(folder), amid, members, look))
        for n, step in where.items():
            stream = subject.on(world).walked(batch_size=worlds.BATCH, epochs=worlds.EPOCHS, seed=0)
            fresh = subject.build(setup_for(stream, seed=0))
            fresh.begin(stream.experiences[step.experience].train)
            fresh.load_state_dict(torch.load(Path(folder) / f"{n}.pt", weights_only=True)["strategy"])
            unlike = difference(live[n], _attributes(fresh))
            require(
                unlike is None,
                f"after a resume at update {n} an attribute is not what it was: {unlike}. Declare it in `state`, set it in "
                "`begin`, or begin its name with an underscore if it is worked out anew before it is used.",
            )


def state_is_plain(subject: StrategySubject) -> None:
    """The state is tensors, numbers, strings, None, lists and dictionaries, and comes back from a file as it was."""
    left = trial(subject, subject.world)
    state = left.strategy.state_dict()
    odd = _not_plain(state, "state")
    require(odd is None, f"{odd} is not plain. Keep tensors, numbers, strings, None, lists and dictionaries of them.")
    before = copied(state)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "state.pt"
        write(path, {"state": state})
        loaded = torch.load(path, weights_only=True)["state"]
    unlike = difference(copied(before), copied(loaded))
    require(unlike is None, f"the state read back from a file differs: {unlike}.")
    left.strategy.load_state_dict(loaded)
    unlike = difference(before, copied(left.strategy.state_dict()))
    require(unlike is None, f"load_state_dict(state_dict()) changed the state: {unlike}.")


def inputs_stay_untouched(subject: StrategySubject) -> None:
    """observe leaves x, y, index, weight and task of its batch as they were, and predict leaves x."""
    left = trial(subject, subject.world, disguise=Spied)
    x, task = _questions(subject.world)
    before = x.clone()
    with isolated_run(0, threads=1), torch.inference_mode():
        left.strategy.predict(x, task)
    require(torch.equal(before, x), "predict changed the inputs that it was given.")


def sees_only_what_is_revealed(subject: StrategySubject) -> None:
    """It fetches only ids that were delivered or belong to the experience in progress, and asks for nothing beside the contract."""
    for world in worlds.worlds().values():
        if subject.requires <= world.reveals.names():
            trial(subject, world, disguise=Spied)


def requires_what_it_needs(subject: StrategySubject) -> None:
    """`requires` holds known names, a scenario that hides one of them is refused, and no more than them is needed."""
    known = Reveals(True, True, True, True).names()
    strange = sorted(subject.requires - known)
    require(not strange, f"requires names {strange}, which no scenario reveals. Known: {', '.join(sorted(known))}.")
    left = trial(subject, subject.world)
    for name, world in worlds.worlds().items():
        if subject.requires <= world.reveals.names():
            continue
        try:
            refuse_hidden(world, left.strategy)
        except CompositionError:
            continue
        require(False, f"once trained, it no longer refuses the {name} stream. `requires` must not change.")


def terms_are_named_and_finite(subject: StrategySubject) -> None:
    """observe returns loss terms by name: finite scalars that hold on to no graph."""
    stream = subject.on(subject.world).walked(batch_size=worlds.BATCH, epochs=1)
    with isolated_run(0, threads=1):
        strategy = subject.build(setup_for(stream, seed=0))
        for experience in stream.experiences:
            strategy.begin(experience.train)
            for step, batch in experience.steps():
                terms = strategy.observe(batch)
                require(len(terms) > 0, f"update {step.n} returned no loss term.")
                for name, value in terms.items():
                    _term(name, value, step.n)
            strategy.end(experience.train)


def predicts_a_score_a_class(subject: StrategySubject) -> None:
    """predict gives (B, C) scores without NaN, one row a sample whatever else is in the batch, and the same when asked again."""
    left, (x, task) = trial(subject, subject.world), _questions(subject.world)
    with isolated_run(0, threads=1), torch.inference_mode():
        left.network.eval()
        scores, again = (left.strategy.predict(x, task) for _ in range(2))
        alone = torch.cat([left.strategy.predict(x[i : i + 1], None if task is None else task[i : i + 1]) for i in range(len(x))])
    expected = (len(x), subject.world.num_classes)
    require(tuple(scores.shape) == expected, f"predict must give scores {expected}; got {tuple(scores.shape)}.")
    require(not bool(scores.isnan().any()), "predict gave NaN.")
    require(torch.equal(scores, again), "predict gave other scores for the same inputs when asked again.")
    require(torch.allclose(scores, alone, rtol=1e-3, atol=1e-4), "the scores of a sample depend on what else is in its batch.")


def global_generators_stay_untouched(subject: StrategySubject) -> None:
    """With a model that draws nothing, a whole run leaves torch's, numpy's and Python's global generators where they were."""
    found: list[tuple[str, Any]] = []

    def note(strategy: Strategy, network: Network) -> None:
        found.append(_global())

    with isolated_run(0, threads=1):
        before_numpy, before_python = np.random.get_state(), random.getstate()  # noqa: NPY002
        try:
            with isolated_run(0, threads=1):
                start = _global()
                subject.build(setup_for(subject.world, seed=0))
                built = difference(start[1], _global()[1])
            require(built is None, f"its construction draws from a global generator ({built}). Draw from self.generator.")
            _walk_and_compare(subject)
        finally:
            np.random.set_state(before_numpy)  # noqa: NPY002
            random.setstate(before_python)
