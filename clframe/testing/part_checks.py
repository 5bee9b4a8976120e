"""What a part must do to be composed: not care about the order, write to nothing but itself, say what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from clframe.errors import CompositionError
from clframe.models import Network
from clframe.scenarios import Stream
from clframe.strategies import STRATEGIES, Learner, Part, Replay, Setup, build
from clframe.testing import worlds
from clframe.testing.outcome import NotApplicable, require
from clframe.testing.spies import guard
from clframe.testing.subject import SIZE, StrategySubject, subject_of
from clframe.testing.trial import Left, setup_for, trial
from clframe.types import Strategy

WITNESS = "conformance-witness"


def order_free(subject: StrategySubject) -> None:
    """Composed with each built-in part, in either order, it gives the same result bit for bit, or the same refusal."""
    _need_parts(subject)
    for partner in built_in_parts():
        if subject.name in STRATEGIES.table and partner.name < subject.name:
            continue  # the partner's own check looks at this pair
        there, back = (_composed(subject, partner, turned) for turned in (False, True))
        both = f"{subject.name} and {partner.name}"
        require((there is None) == (back is None), f"{both} are refused in one order and composed in the other.")
        if there is not None and back is not None:
            unlike = there.unlike(back)
            require(unlike is None, f"{both} give another result in the other order: {unlike}.")


def writes_only_its_own_state(subject: StrategySubject) -> None:
    """Each of its hooks leaves the model, its gradients, the optimizer, the batch and the other parts as they were."""
    _need_parts(subject)

    def watch(strategy: Strategy, network: Network) -> None:
        assert isinstance(strategy, Learner)
        for part in strategy.parts:
            if part.name != WITNESS:
                guard(strategy, part)

    for makers in ((subject.parts,), (subject.parts, _witness)):
        trial(_Composition(subject, makers), subject.world, model=worlds.TOUCHY_MODEL, prepare=watch)


def describes_itself(subject: StrategySubject) -> None:
    """describe() names it and gives the value of every option of its constructor, ready for JSON."""
    strategy = subject.build(setup_for(subject.world, seed=0, model=subject.model))
    if not hasattr(strategy, "describe"):
        raise NotApplicable("has no describe(); the spec of a run holds its class name")
    try:
        json.dumps(strategy.describe())
    except TypeError as error:
        require(False, f"describe() must be ready for JSON; {error}.")
    for piece in subject.pieces:
        for part in subject.parts():
            if type(part) is piece.made:
                options = part.describe()["options"]
                missing = sorted(set(piece.option_names) - set(options))
                require(not missing, f"describe() leaves out the options {', '.join(missing)} of {piece.name}.")
                for name, value in piece.options.items():
                    require(options[name] == value, f"describe() says {name}={options[name]!r}, but it was given {value!r}.")


def built_in_parts() -> list[StrategySubject]:
    """The parts that come with clframe, by name."""
    found = [subject_of(name) for name in STRATEGIES.table]
    return [s for s in found if isinstance(s, StrategySubject) and s.parts()]


@dataclass(frozen=True)
class _Composition:
    """A Learner of parts that are made, and listed, in the order of their makers."""

    subject: StrategySubject
    makers: tuple[Callable[[], list[Part]], ...]
    model: str = worlds.MODEL

    def build(self, setup: Setup) -> Strategy:
        return build([part for make in self.makers for part in make()], setup)

    def on(self, stream: Stream) -> Stream:
        return self.subject.on(stream)


def _composed(subject: StrategySubject, partner: StrategySubject, turned: bool) -> Left | None:
    """The result of both, or None where they are refused."""
    makers = (partner.parts, subject.parts) if turned else (subject.parts, partner.parts)
    world = worlds.world_for(subject.requires | partner.requires)
    model = next((m for m in sorted((subject.model, partner.model)) if m != worlds.MODEL), worlds.MODEL)
    try:
        return trial(_Composition(subject, makers, model), world, epochs=1)
    except CompositionError:
        return None


def _witness() -> list[Part]:
    """A memory beside the part: it makes the batch longer, and notices when it is written to."""
    memory = Replay(size=SIZE)
    memory.name = WITNESS
    return [memory]


def _need_parts(subject: StrategySubject) -> None:
    if not subject.parts():
        raise NotApplicable("no part to compose")
