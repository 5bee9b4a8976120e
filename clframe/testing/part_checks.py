"""What a part must do to be composed: not care about the order, write to nothing but itself, say what it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from clframe.errors import CompositionError
from clframe.models import Network
from clframe.scenarios import Stream
from clframe.strategies import STRATEGIES, Learner, Part, Replay, Setup, build
from clframe.testing import worlds
from clframe.testing.compare import difference
from clframe.testing.outcome import NotApplicable, require
from clframe.testing.spies import guard
from clframe.testing.subject import SIZE, StrategySubject, subject_of
from clframe.testing.trial import Left, setup_for, trial
from clframe.types import Strategy


def order_free(subject: StrategySubject) -> None:
    """Composed with any built-in part, in either order, it gives the same weights, rows and terms; a refusal is a sentence."""
    _need_parts(subject)
    for partner in built_in_parts():
        try:
            there = _composed(subject, partner, turned=False)
        except CompositionError:
            there = None
        try:
            back = _composed(subject, partner, turned=True)
        except CompositionError:
            back = None
        both = f"{subject.name} and {partner.name}"
        require((there is None) == (back is None), f"{both} are refused in one order and composed in the other.")
        if there is not None and back is not None:
            unlike = there.unlike(back)
            require(unlike is None, f"{both} give another result in the other order: {unlike}.")


def writes_only_its_own_state(subject: StrategySubject) -> None:
    """After each hook the model, its modes, gradients, the optimizer, the batch and the other parts are what they were."""
    _need_parts(subject)
    world = subject.world

    def watch(strategy: Strategy, network: Network) -> None:
        assert isinstance(strategy, Learner)
        for part in strategy.parts:
            if part.name != WITNESS:
                guard(strategy, part)

    trial(_Composition(subject, None, False), world, model=worlds.TOUCHY_MODEL, prepare=watch)
    trial(_Composition(subject, _witness, False), world, model=worlds.TOUCHY_MODEL, prepare=watch)


def describes_itself(subject: StrategySubject) -> None:
    """describe() gives its name and the value of every option of its constructor, ready for JSON."""
    strategy = subject.build(setup_for(subject.world, seed=0))
    if not hasattr(strategy, "describe"):
        raise NotApplicable("has no describe(); its class name stands in the spec")
    said = strategy.describe()
    try:
        json.dumps(said)
    except TypeError as error:
        require(False, f"describe() must be plain; {error}.")
    for part, piece in zip(said["parts"] if subject.whole is None else [], subject.pieces, strict=False):
        require("options" in part and "name" in part, f"{piece.name}: describe() must hold 'name' and 'options'; got {sorted(part)}.")
    for part in subject.parts():
        options = part.describe()["options"]
        for piece in subject.pieces:
            if isinstance(piece.made, type) and type(part) is piece.made:
                missing = sorted(set(piece.option_names) - set(options))
                require(not missing, f"describe() leaves out the options {', '.join(missing)}.")
                for name, value in piece.options.items():
                    same = difference(options[name], value) is None or options[name] == value
                    require(same, f"describe() says {name}={options[name]!r}, but it was given {value!r}.")


WITNESS = "witness"


def built_in_parts() -> list[StrategySubject]:
    """The parts that come with clframe."""
    found = [subject_of(name) for name in STRATEGIES.table]
    return [s for s in found if isinstance(s, StrategySubject) and s.parts()]


@dataclass(frozen=True)
class _Composition:
    """The subject's parts with those of a partner, constructed and listed in one order or the other."""

    subject: StrategySubject
    partner: "object"
    turned: bool

    def build(self, setup: Setup) -> Strategy:
        """A Learner of both."""
        makers = [self.subject.parts, *([self.partner] if self.partner is not None else [])]
        made: list[Part] = []
        for make in reversed(makers) if self.turned else makers:
            made.extend(make())  # type: ignore[operator]
        return build(made, setup)

    def on(self, stream: Stream) -> Stream:
        """As the subject."""
        return self.subject.on(stream)
