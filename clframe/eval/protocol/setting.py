"""A method and the values of its options: written into the words of its strategy and the options of its runs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from clframe.errors import OptionError, bad_option, unknown_name
from clframe.registry import parse, split
from clframe.strategies import STRATEGIES

RUN_OPTIONS = ("lr", "momentum", "weight_decay", "optimizer", "reset_optimizer", "batch_size", "epochs", "model", "head")
"""Options of a run that may be chosen; those of a part are written PART.OPTION."""


def options_of(method: str) -> list[str]:
    """Every option of a method that may be chosen.

    Example:
        >>> "lr" in options_of("er+ewc"), "ewc.strength" in options_of("er+ewc")
        (True, True)
    """
    found = list(RUN_OPTIONS)
    for piece in split(method, "+"):
        name, _ = parse(piece)
        found += [f"{name}.{option}" for option in inspect.signature(STRATEGIES.load(name)).parameters if option != "setup"]
    return found


def check(method: str, names: Mapping[str, Any], where: str) -> None:
    """Refuse names that are no options of the method, and those that the method fixes itself.

    Raises:
        OptionError: such a name; the message begins with `where`.
    """
    known = options_of(method)
    fixed = {f"{name}.{option}" for name, options in map(parse, split(method, "+")) for option in options}
    for name in names:
        if name not in known:
            raise OptionError(f"{where}: {unknown_name(f'an option of {method!r}', name, known)}")
        if name in fixed:
            raise OptionError(
                f"{where}: an option that is chosen must be left out of the method; got {name!r}, which {method!r} sets. "
                "Leave it out of one of them."
            )


def applied(method: str, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The strategy in words, and the options of its runs.

    Example:
        >>> applied("er(size=100)+ewc", {"lr": 0.1, "ewc.strength": 5.0})
        ('er(size=100)+ewc(strength=5.0)', {'lr': 0.1})
    """
    pieces = []
    for piece in split(method, "+"):
        name, options = parse(piece)
        options |= {key.removeprefix(f"{name}."): value for key, value in values.items() if key.startswith(f"{name}.")}
        pieces.append(name + (f"({','.join(f'{k}={_words(v)}' for k, v in options.items())})" if options else ""))
    return "+".join(pieces), {key: value for key, value in values.items() if "." not in key}


def _words(value: object) -> str:
    """A value as the small language of options writes it."""
    if isinstance(value, str):
        if value != value.strip() or any(c in value for c in ",()+'\"[]"):
            raise bad_option("a value", "a plain word or a number", value, "Choose another.")
        return value
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_words, value))}]"
    return repr(value)
