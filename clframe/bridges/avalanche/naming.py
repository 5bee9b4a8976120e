"""Strategies and plugins of Avalanche by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from avalanche.training import plugins as plugins_module
from avalanche.training import supervised
from avalanche.training.templates.base_sgd import BaseSGDTemplate

from clframe.bridges.avalanche.making import Maker, quiet
from clframe.bridges.avalanche.strategies import AvalancheStrategy
from clframe.errors import OptionError, unknown_name
from clframe.locate import in_a_line, locate
from clframe.registry import parse
from clframe.types import Strategy

if TYPE_CHECKING:
    from clframe.strategies.build import Setup


def made(setup: Setup, name: str, online: bool, plugins: Sequence[Any], options: Mapping[str, Any]) -> Strategy:
    """The strategy of a run; see `clframe.bridges.avalanche.avalanche`."""
    make = _found("strategy of Avalanche", name, supervised, BaseSGDTemplate)
    known = _options(make)
    for option in options:
        if option not in known:
            raise unknown_name(f"option of Avalanche's {name}", option, known)
    given = dict(options)
    if plugins:
        given["plugins"] = [_plugin(p) if isinstance(p, str) else p for p in plugins]
    try:
        return Maker(make, online, True, given, AvalancheStrategy)(setup)
    except (TypeError, AssertionError) as error:
        raise _wrong(name, given, error, known) from error


def _plugin(words: str) -> Any:
    name, options = parse(words)
    make = _found("plugin of Avalanche", name, plugins_module, object)
    try:
        with quiet():
            return make(**options)
    except (TypeError, AssertionError) as error:
        raise _wrong(name, options, error, set(inspect.signature(make).parameters)) from error


def _wrong(name: str, options: Mapping[str, Any], error: Exception, known: set[str]) -> OptionError:
    rule = f"Avalanche's {name} must be made with options that it takes"
    return OptionError(f"{rule}; got {dict(options)!r} and {in_a_line(error)}. It has: {', '.join(sorted(known))}.")


def _found(kind: str, name: str, module: Any, base: type) -> Any:
    """A class of a module by its name; "module:Name" is taken as it is."""
    if ":" in name:
        return locate(name, kind)
    known = {n: thing for n, thing in vars(module).items() if inspect.isclass(thing) and issubclass(thing, base)}
    known = {n: thing for n, thing in known.items() if thing.__module__.startswith("avalanche.")}
    if name not in known:
        raise unknown_name(kind, name, known)
    return known[name]


def _options(make: Any) -> set[str]:
    """Options of the constructor and of those below it."""
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    above = [c for c in make.__mro__ if c is not object] if inspect.isclass(make) else [make]
    return {p.name for c in above for p in inspect.signature(c).parameters.values() if p.kind in kinds} - {"self"}
