"""The error tree. A message is one sentence each: the value found, the rule, the remedy.

Everything a user can cause is a `ClframeError`; the command line prints its message and exits with 2.
An `AssertionError` anywhere is a bug of clframe.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ClframeError(Exception):
    """Root of every error that a user can cause and mend."""


class OptionError(ClframeError, ValueError):
    """An option has a value that its rule forbids, or a name is unknown."""


class DataError(ClframeError, ValueError):
    """The data itself breaks a rule: a label out of range, an image of another size, an empty experience."""


class CompositionError(ClframeError, ValueError):
    """Pieces that cannot work together: two gradient projections, a method that needs what the scenario hides."""


class RunError(ClframeError, RuntimeError):
    """A run cannot go on: a loss that is not finite, a damaged checkpoint, a full disk, another spec in the directory."""


class DivergedError(RunError):
    """The loss, or what is made of it, is no longer finite."""


class MissingExtraError(ClframeError, ImportError):
    """An optional package is needed; the message holds the pip command that brings it."""


def bad_option(name: str, rule: str, value: object, remedy: str) -> OptionError:
    """The house form of a wrong value.

    >>> print(bad_option("size", "a positive integer", -3, "Give size=500."))
    size must be a positive integer; got -3. Give size=500.
    """
    return OptionError(f"{name} must be {rule}; got {value!r}. {remedy}")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> OptionError:
    """An unknown name answers with the nearest ones.

    >>> print(unknown_name("strategy", "ewcc", ["er", "ewc", "lwf"]))
    strategy must be a known name; got 'ewcc'. Did you mean 'ewc'? Known: er, ewc, lwf.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    guess = f"Did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
    return OptionError(f"{kind} must be a known name; got {name!r}. {guess}Known: {', '.join(names)}.")
