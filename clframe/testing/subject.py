"""What is checked: a strategy, a scenario or a memory, and how to make a fresh one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from clframe.errors import CompositionError, OptionError, bad_option, unknown_name
from clframe.pieces import ORDERS
from clframe.registry import call, parse, split
from clframe.scenarios import Stream, catalog
from clframe.selection import MEMORIES, Memory
from clframe.strategies import STRATEGIES, Part, Recipe, Replay, Setup
from clframe.strategies import build as build_strategy
from clframe.strategies.composition import brings
from clframe.testing import worlds
from clframe.types import Strategy

SIZE = 20


@dataclass(frozen=True)
class Piece:
    """A class or function, with the name and the options that it was given."""

    name: str
    made: Callable[..., Any]
    options: Mapping[str, object]

    @property
    def known_failures(self) -> Mapping[str, str]:
        """The checks that it declares to fail, with the reason of each."""
        found: Mapping[str, str] = getattr(self.made, "known_failures", {})
        return found

    @property
    def option_names(self) -> list[str]:
        """Every option of its constructor."""
        given = ("setup", "args", "kwargs", "generator")
        return [name for name in inspect.signature(self.made).parameters if name not in given]

    @property
    def documentation(self) -> str:
        """Its docstring, and that of its constructor."""
        own = self.made.__doc__ or ""
        return f"{own}\n{vars(self.made)['__init__'].__doc__ or ''}" if "__init__" in vars(self.made) else own


@dataclass(frozen=True)
class StrategySubject:
    """A part, a recipe, a composition of them, or a class that is a whole strategy.

    An option `size` that is not given is set to 20, so that a memory overflows within the small streams.
    """

    pieces: tuple[Piece, ...]

    @property
    def name(self) -> str:
        """As it was written."""
        return "+".join(piece.name for piece in self.pieces)

    @property
    def known_failures(self) -> dict[str, str]:
        """Those of all its pieces."""
        return {check: reason for piece in self.pieces for check, reason in piece.known_failures.items()}

    @property
    def whole(self) -> Piece | None:
        """The class that is a strategy by itself, or the function that makes one; None for what a Learner composes."""
        found = [p for p in self.pieces if _makes_a_whole(p.made)]
        if found and len(self.pieces) > 1:
            raise CompositionError(f"only parts compose; {found[0].name!r} is a whole strategy. Check it alone.")
        return found[0] if found else None

    def _products(self) -> list[Part | Recipe]:
        return [call("strategy", p.name, p.made, _small(p)) for p in self.pieces]

    def parts(self) -> list[Part]:
        """The parts, freshly made, with a memory beside those that need one; none for a whole strategy."""
        if self.whole is not None:
            return []
        found = [part for made in self._products() for part in (made.parts if isinstance(made, Recipe) else (made,))]
        alone = any("recall" in p.partners for p in found) and not any(brings(p, "recall") for p in found)
        return [*found, Replay(size=SIZE)] if alone else found

    def build(self, setup: Setup) -> Strategy:
        """A fresh strategy."""
        whole = self.whole
        if whole is None:
            return build_strategy(self.parts(), setup)
        made: Strategy = call("strategy", whole.name, whole.made, _small(whole), setup=setup)
        return made

    def on(self, stream: Stream) -> Stream:
        """The stream that the strategy asks for instead of this one (cumulative, joint)."""
        wanted = set() if self.whole is not None else {m.stream for m in self._products() if isinstance(m, Recipe)} - {"given"}
        return replace(stream, order=ORDERS[wanted.pop()]) if wanted else stream

    @property
    def model(self) -> str:
        """The network that it is checked on: one that it names in `checked_on`, or the one that all are."""
        return self._named("checked_on", worlds.MODEL)

    @property
    def touchy_model(self) -> str:
        """One that notices being looked at: what it names in `checked_on_touchy`, where it cannot have normalisation or dropout."""
        return self._named("checked_on_touchy", worlds.TOUCHY_MODEL)

    def _named(self, attribute: str, default: str) -> str:
        named = sorted({getattr(p.made, attribute, "") for p in self.pieces} - {""})
        return named[0] if named else default

    @cached_property
    def requires(self) -> frozenset[str]:
        """What the scenario must reveal."""
        from clframe.testing.trial import setup_for

        found = self.build(setup_for(worlds.worlds()["task-incremental"], seed=0, model=self.model)).requires
        if not isinstance(found, frozenset):
            raise bad_option("requires", "a frozenset of names", found, "Write frozenset({'boundaries'}).")
        return found

    @property
    def world(self) -> Stream:
        """The stream that most checks use: the first that reveals what is required."""
        return worlds.world_for(self.requires)


@dataclass(frozen=True)
class ScenarioSubject:
    """A function that makes a stream."""

    name: str
    build: Callable[[int], Stream]
    piece: Piece

    @property
    def known_failures(self) -> Mapping[str, str]:
        """As the function declares them."""
        return self.piece.known_failures


@dataclass(frozen=True)
class MemorySubject:
    """A class of memories."""

    name: str
    made: type[Memory]

    @property
    def known_failures(self) -> Mapping[str, str]:
        """As the class declares them."""
        found: Mapping[str, str] = getattr(self.made, "known_failures", {})
        return found

    def build(self, size: int, seed: int) -> Memory:
        """A fresh, empty memory."""
        return self.made(size, torch.Generator().manual_seed(seed))


Subject = StrategySubject | ScenarioSubject | MemorySubject


def subject_of(thing: str | Callable[..., Any], options: Mapping[str, object] | None = None) -> Subject:
    """What to check: a name, "module:Name" or "path/to/file.py:Name", each with options in brackets, or the class or function.

    Raises:
        OptionError: an unknown name or option, a file that cannot be imported, or something that is none of the three kinds.
    """
    if not isinstance(thing, str):
        return _sorted_out(getattr(thing, "__name__", repr(thing)), thing, dict(options or {}))
    words = split(thing, "+")
    if len(words) > 1:
        pieces = tuple(Piece(word, STRATEGIES.load(parse(word)[0]), parse(word)[1]) for word in words)
        return _proven(StrategySubject(pieces))
    name, written = parse(thing)
    if name in MEMORIES:
        return MemorySubject(name, MEMORIES[name])
    if ":" in name or name in STRATEGIES.names():
        return _sorted_out(thing, STRATEGIES.load(name), written)
    try:
        return _scenario_by_name(thing, name)
    except OptionError as error:
        if not str(error).startswith("scenario must be a known name"):
            raise
    raise unknown_name("thing to check", name, [*STRATEGIES.names(), *catalog.names(), *MEMORIES])


def _sorted_out(name: str, made: Callable[..., Any], options: dict[str, object]) -> Subject:
    if isinstance(made, type):
        if issubclass(made, Memory):
            return MemorySubject(name, made)
        if issubclass(made, Part) or all(hasattr(made, verb) for verb in ("begin", "observe", "end", "predict")):
            return _proven(StrategySubject((Piece(name, made, options),)))
        raise bad_option(
            name, "a Part, a Strategy (begin, observe, end, predict) or a Memory", made.__name__, "Derive it from Part."
        )
    if not callable(made):
        raise bad_option(name, "a class or a function", made, "Give Part, Strategy or Memory classes, or a scenario function.")
    piece = Piece(name, made, options)
    if _makes_a_whole(made):
        return _proven(StrategySubject((piece,)))
    product = call("thing to check", name, made, options, **_given(piece, 0))
    if isinstance(product, Stream):
        return ScenarioSubject(name, lambda seed: call("scenario", name, made, options, **_given(piece, seed)), piece)
    if isinstance(product, Part | Recipe):
        return _proven(StrategySubject((piece,)))
    raise bad_option(name, "a function that returns a Stream, a Recipe or a Part", type(product).__name__, "Return one of these.")


def _makes_a_whole(made: Callable[..., Any]) -> bool:
    if isinstance(made, type):
        return not issubclass(made, Part)
    return "setup" in inspect.signature(made).parameters


def _scenario_by_name(words: str, name: str) -> ScenarioSubject:
    plain = name.removeprefix("online-")
    catalog.build(words, seed=0)
    kind = plain if plain in catalog.KINDS.names() else next(k for p, k in catalog.PREFIXES.items() if plain.startswith(f"{p}-"))
    return ScenarioSubject(words, lambda seed: catalog.build(words, seed=seed), Piece(words, catalog.KINDS.load(kind), {}))


def _given(piece: Piece, seed: int) -> dict[str, object]:
    """The seed, and small data where the function insists on some."""
    parameters = inspect.signature(piece.made).parameters
    given: dict[str, object] = {"seed": seed} if "seed" in parameters and "seed" not in piece.options else {}
    if "data" in parameters and "data" not in piece.options and parameters["data"].default is inspect.Parameter.empty:
        given["data"] = worlds.data()
    return given


def _small(piece: Piece) -> dict[str, object]:
    size = inspect.signature(piece.made).parameters.get("size")
    small = (
        size is not None and "size" not in piece.options and not isinstance(size.default, bool) and isinstance(size.default, int)
    )
    return {**piece.options, "size": min(SIZE, size.default)} if small and size is not None else dict(piece.options)


def _proven(subject: StrategySubject) -> StrategySubject:
    """Options that are wrong are the user's, and are refused before any check."""
    subject.parts()
    return subject
