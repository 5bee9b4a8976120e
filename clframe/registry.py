"""Names for things: "er" -> "clframe.strategies.replay:Replay", imported when used; and the small language of options.

er                       a name
er(size=200)             a name with options, as in Python
er(size=200)+lwf         a composition
er,lwf(strength=2)       a list
mine.py:Calm(rate=0.1)   something of your own, by file or module
"""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from typing import Any

from clframe.errors import OptionError, unknown_name
from clframe.locate import locate


@dataclass(frozen=True)
class Registry:
    """A table of names, extended by third parties through entry points.

    Args:
        kind: what the names stand for, used in messages.
        table: name -> "module:attribute".
        group: entry-point group; an installed package's entry there is a name like any other.
        bridges: names that belong to other libraries, written like those of the table; each needs an extra when it is used.

    Example:
        >>> registry = Registry("strategy", {"er": "clframe.strategies.replay:Replay"})
        >>> registry.load("er").__name__
        'Replay'
    """

    kind: str
    table: Mapping[str, str]
    group: str = ""
    bridges: Mapping[str, str] = field(default_factory=dict)
    _found: dict[str, str] = field(default_factory=dict, repr=False)

    def names(self) -> list[str]:
        """All names, built in and installed."""
        return sorted({**self.table, **self._installed()})

    def load(self, name: str) -> Any:
        """The thing itself; "module:Name" and "path/to/file.py:Name" need no registration.

        Raises:
            OptionError: an unknown name, with the nearest ones; or a module or file that cannot be imported.
        """
        where = self.table.get(name) or self._installed().get(name)
        if where is None and ":" in name:
            return locate(name, self.kind)
        if where is None:
            raise unknown_name(self.kind, name, self.names())
        module, _, attribute = where.partition(":")
        return getattr(importlib.import_module(module), attribute)

    def _installed(self) -> dict[str, str]:
        if not self._found:
            self._found.update({**self.bridges, **(entry_points(self.group) if self.group else {})})
        return self._found


@lru_cache
def entry_points(group: str) -> dict[str, str]:
    """What installed packages register in a group: name -> "module:attribute"; looked up once."""
    return {e.name: e.value for e in metadata.entry_points(group=group)}


def call(kind: str, name: str, function: Any, options: Mapping[str, object], /, **given: object) -> Any:
    """Call `function(**given, **options)`; an unknown option is answered with the nearest ones, before the call.

    A function that takes any option, as one that hands them on to another library, checks them itself. The word none, which
    `parse` reads as None, is a word again where an option is one.

    Example:
        >>> def f(size: int = 3): return size
        >>> call("part", "f", f, {"sise": 4})
        Traceback (most recent call last):
        clframe.errors.OptionError: option of part 'f' must be a known name; got 'sise'. Did you mean 'size'? Known: size.
    """
    parameters = inspect.signature(function).parameters
    allowed = [p.name for p in parameters.values() if p.name not in given and p.kind is not inspect.Parameter.VAR_POSITIONAL]
    any_option = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    for option in () if any_option else options:
        if option not in allowed:
            if not allowed:
                raise OptionError(f"{kind} {name!r} takes no options; got {option!r}. Leave it out.")
            raise unknown_name(f"option of {kind} {name!r}", option, allowed)
    options = {
        option: "none" if value is None and _hints(function).get(option) is str else value for option, value in options.items()
    }
    check_types(kind, name, function, options)
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    for option, parameter in parameters.items():
        if parameter.kind in named and parameter.default is parameter.empty and option not in options and option not in given:
            raise OptionError(f"option {option!r} of {kind} {name!r} must be given. Write {name}({option}=...).")
    try:
        return function(**{k: v for k, v in given.items() if k in parameters}, **options)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # the call itself, not what it ran
            raise OptionError(f"{kind} {name!r} must take its options by name; {error}. Choose another.") from error
        raise


def check_types(kind: str, name: str, function: Any, options: Mapping[str, object]) -> None:
    """Refuse a value of a plain type (int, float, str, bool, None) where the annotation asks for another plain type."""
    hints = _hints(function)
    for option, value in options.items():
        if option in hints and not _fits(value, hints[option]):
            wanted = " or ".join(getattr(t, "__name__", str(t)) for t in typing.get_args(hints[option]) or (hints[option],))
            wanted += ", finite" if str(value).lower().lstrip("-") in ("nan", "inf") else ""
            raise OptionError(f"{option} must be {wanted}; got {value!r}. Correct option {option!r} of {kind} {name!r}.")


def _hints(function: Any) -> dict[str, Any]:
    """What the options should be; nothing where the annotations cannot be read."""
    try:
        return typing.get_type_hints(vars(function).get("__init__", function) if isinstance(function, type) else function)
    except (NameError, TypeError):  # annotations that only type checkers import, or none at all
        return {}


def _fits(value: object, hint: Any) -> bool:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return any(_fits(value, one) for one in typing.get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (str, bool, type(None)):
        return isinstance(value, hint)
    return True


def parse(text: str) -> tuple[str, dict[str, object]]:
    """Name and options of "name(option=value, ...)". A bare word is a string; anything else is read as a Python literal.

    Example:
        >>> parse("er(size=200, memory=class-balanced)")
        ('er', {'size': 200, 'memory': 'class-balanced'})
    """
    text = text.strip()
    name, bracket, rest = text.partition("(")
    if not bracket:
        return name, {}
    if not rest.endswith(")"):
        raise OptionError(f"{text!r} must end with a closing bracket. Write {name}(option=value).")
    options: dict[str, object] = {}
    for piece in split(rest[:-1], ","):
        key, equals, value = piece.partition("=")
        if not equals or not key.strip().isidentifier():
            raise OptionError(
                f"options of {name!r} must be written option=value; got {piece.strip()!r}. Write {name}(option=value)."
            )
        if key.strip() in options:
            raise OptionError(f"an option of {name!r} must be given once; got {key.strip()!r} twice. Leave one out.")
        options[key.strip()] = _literal(value.strip())
    return name.strip(), options


def split(text: str, separator: str) -> list[str]:
    """Split at the separator, but not inside brackets or quotes; empty pieces are dropped.

    A plus that no name follows belongs to the name before it, as in "der++".

    Example:
        >>> split("er(size=1,memory=reservoir),ewc", ",")
        ['er(size=1,memory=reservoir)', 'ewc']
        >>> split("der++(size=1)+lwf", "+"), split("lwf+der++", "+")
        (['der++(size=1)', 'lwf'], ['lwf', 'der++'])
    """
    return [piece for piece in _pieces(text, separator) if piece]


def _pieces(text: str, separator: str) -> Iterator[str]:
    depth, quote, piece = 0, "", ""
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        else:
            depth += (character in "([{") - (character in ")]}")
        named = separator == "+" and text[position + 1 :].lstrip()[:1] in ("", "+", "(")
        if character == separator and depth == 0 and not quote and not named:
            yield piece.strip()
            piece = ""
        else:
            piece += character
    yield piece.strip()


def _literal(value: str) -> object:
    words = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return words[value.lower()]
    if value.startswith("[") and value.endswith("]"):
        return [_literal(piece) for piece in split(value[1:-1], ",")]
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
