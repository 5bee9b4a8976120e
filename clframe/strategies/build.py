"""From words to a strategy: "er(size=200)+lwf" -> a Learner with two parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clframe.errors import CompositionError, OptionError, bad_option
from clframe.registry import call, parse, split
from clframe.strategies.learner import Learner
from clframe.strategies.part import Part, Recipe
from clframe.strategies.table import STRATEGIES
from clframe.types import Strategy

if TYPE_CHECKING:
    import torch

    from clframe.models import Network

Written = str | Part | Sequence[Part] | Callable[["Setup"], Strategy]


@dataclass(frozen=True)
class Setup:
    """What a strategy is made from.

    Attributes:
        model: a network, freshly initialised, on the run's device.
        optimizer: makes the run's optimizer over the parameters it is given.
        seed: root of the strategy's random numbers.
        reset_optimizer, decompose: see `Learner`.
    """

    model: Network
    optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer]
    seed: int = 0
    reset_optimizer: bool = False
    decompose: bool = False


def build(written: Written, setup: Setup) -> Strategy:
    """A strategy from its written form, a part, a list of parts, or a function of a `Setup`.

    Raises:
        OptionError: an unknown name or option.
        CompositionError: pieces that cannot work together.

    Example:
        >>> import torch
        >>> from clframe.models import build as network
        >>> setup = Setup(network("mlp", (1, 8, 8), 10), lambda p: torch.optim.SGD(p, lr=0.1))
        >>> [part.name for part in build("lwf+er(size=50)", setup).parts]
        ['er', 'lwf']
    """
    if isinstance(written, str):
        return _from_words(written, setup)
    if isinstance(written, Part):
        return _learner([written], setup)
    if isinstance(written, list | tuple):
        return _learner(written, setup)
    if callable(written):
        return written(setup)
    raise bad_option("strategy", "a name, a part, a list of parts or a function of a Setup", written, "Give 'er', for example.")


def stream_of(written: Written) -> str:
    """The stream that the strategy is meant for: "given", "cumulative" or "joint"."""
    streams = {r.stream for r in _recipes(written)} - {"given"} if isinstance(written, str) else set()
    if len(streams) > 1:
        raise CompositionError(f"a composition must ask for one stream; got {' and '.join(sorted(streams))}. Choose one of them.")
    return streams.pop() if streams else "given"


def _from_words(written: str, setup: Setup) -> Strategy:
    pieces = split(written, "+")
    if not pieces:
        raise bad_option("strategy", "a name such as 'er' or a composition such as 'er+lwf'", written, "See clframe list.")
    parts: list[Part] = []
    for piece in pieces:
        name, options = parse(piece)
        made = STRATEGIES.load(name)
        if isinstance(made, type) and not issubclass(made, Part):
            if len(pieces) > 1:
                raise CompositionError(
                    f"only parts compose; {name!r} is a whole strategy of its own, got {written!r}. Run it alone, as {name!r}."
                )
            strategy: Strategy = call("strategy", name, made, options, setup=setup)
            return strategy
        parts.extend(_parts(call("strategy", name, made, options)))
    return _learner(parts, setup)


def _recipes(written: str) -> list[Recipe]:
    recipes = []
    for piece in split(written, "+"):
        name, options = parse(piece)
        made = STRATEGIES.load(name)
        if not isinstance(made, type):
            recipe = call("strategy", name, made, options)
            if isinstance(recipe, Recipe):
                recipes.append(recipe)
    return recipes


def _parts(made: Part | Recipe) -> tuple[Part, ...]:
    if isinstance(made, Recipe):
        return made.parts
    if isinstance(made, Part):
        return (made,)
    raise OptionError(f"a registered strategy must be a Part, a Recipe or a Strategy class; got {made!r}. Return one of these.")


def _learner(parts: Iterable[Part], setup: Setup) -> Learner:
    return Learner(
        setup.model,
        setup.optimizer(setup.model.parameters()),
        *parts,
        seed=setup.seed,
        reset_optimizer=setup.reset_optimizer,
        decompose=setup.decompose,
    )
