"""From words to a strategy: "er(size=200)+lwf" -> a Learner with two parts."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clframe.errors import CompositionError, bad_option
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
        epochs: passes over each experience, for schedules that end with it.
        width: the most classes that one task has, or one experience where tasks are not told; None where that is not known.
        batch_size: new samples an update; None where that is not known.
    """

    model: Network
    optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer]
    seed: int = 0
    reset_optimizer: bool = False
    decompose: bool = False
    epochs: int = 1
    width: int | None = None
    batch_size: int | None = None


def build(written: Written, setup: Setup) -> Strategy:
    """A strategy from its written form, a part, a list of parts, or a function of a `Setup`.

    Parts given as objects are copied, so that one run leaves nothing behind for the next.

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
        return _learner([copy.deepcopy(written)], setup)
    if isinstance(written, list | tuple):
        return _learner(copy.deepcopy(written), setup)
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
    upper_bound = ""
    for piece in pieces:
        name, options = parse(piece)
        made = call("strategy", name, STRATEGIES.load(name), options, setup=setup)
        if not isinstance(made, Part | Recipe):
            if len(pieces) > 1:
                raise CompositionError(
                    f"only parts compose; {name!r} is a whole strategy of its own, got {written!r}. Run it alone, as {name!r}."
                )
            if not isinstance(made, Strategy):
                verbs = "begin, observe, end, predict, state_dict, load_state_dict and requires"
                raise CompositionError(
                    f"a strategy must be a Part, a Recipe, or have {verbs}; {name!r} gave a {type(made).__name__}. "
                    "Derive it from clframe.strategies.Part, or add what is missing."
                )
            return made
        if isinstance(made, Recipe) and made.stream != "given":
            upper_bound = name
        parts.extend(made.parts if isinstance(made, Recipe) else (made,))
    if upper_bound and parts:
        raise CompositionError(
            f"{upper_bound!r} must stand alone: it is the plain learner on another stream; got {written!r}. Compare with a comma."
        )
    return _learner(parts, setup)


def _recipes(written: str) -> list[Recipe]:
    """The recipes among the pieces, made without a `Setup`: only these say for which stream they are meant."""
    recipes = []
    for piece in split(written, "+"):
        name, options = parse(piece)
        made = STRATEGIES.load(name)
        if not isinstance(made, type) and "setup" not in inspect.signature(made).parameters:
            recipe = call("strategy", name, made, options)
            if isinstance(recipe, Recipe):
                recipes.append(recipe)
    return recipes


def _learner(parts: Iterable[Part], setup: Setup) -> Learner:
    return Learner(
        setup.model,
        setup.optimizer(setup.model.parameters()),
        *parts,
        seed=setup.seed,
        reset_optimizer=setup.reset_optimizer,
        decompose=setup.decompose,
    )
