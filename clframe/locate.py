"""From a string to the thing it names: "module:Name" or "path/to/file.py:Name"."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from clframe.errors import ClframeError, bad_option


def locate(target: str, kind: str = "model") -> Callable[..., Any]:
    """The class or function that a string names; its module is imported now, a file only once.

    Args:
        target: "module:Name" or "path/to/file.py:Name".
        kind: what it is to be, for messages.

    Raises:
        OptionError: there is no such module, file or name, or importing it fails.

    Example:
        >>> locate("torch.nn:Linear").__name__
        'Linear'
        >>> locate("fractions:Fractoin")
        Traceback (most recent call last):
        clframe.errors.OptionError: model must be a class or function of fractions; got 'Fractoin'. Did you mean 'Fraction'?
    """
    place, _, name = target.rpartition(":")
    try:
        module = _from_file(Path(place), kind) if place.endswith(".py") else importlib.import_module(place)
    except ClframeError:
        raise
    except Exception as error:  # whatever the user's module raises while it is imported
        rule = f"an importable module:Name ({in_a_line(error)})"
        raise bad_option(kind, rule, target, "Mend the module, or give its file: path/to/file.py:Name.") from error
    found = getattr(module, name, None)
    if callable(found):
        return found  # type: ignore[no-any-return]
    near = difflib.get_close_matches(name, [n for n, value in vars(module).items() if callable(value)], n=3, cutoff=0.5)
    remedy = f"Did you mean {' or '.join(repr(n) for n in near)}?" if near else "Name a class or a function of that module."
    raise bad_option(kind, f"a class or function of {place}", name, remedy)


def in_a_line(error: Exception) -> str:
    """An error of somebody else's code, short enough for a message: its type and the first line of its text.

    Example:
        >>> in_a_line(RuntimeError("shapes differ\\nand more"))
        'RuntimeError: shapes differ'
    """
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0].rstrip('.')}"


def _from_file(path: Path, kind: str) -> ModuleType:
    """Import a file by its path, under a name that is the file's own."""
    path = path.expanduser().resolve()
    if not path.is_file():
        raise bad_option(kind, "path/to/file.py:Name of a file that exists", str(path), "Mend the path.")
    name = f"{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
