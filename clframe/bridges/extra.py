"""Optional packages: imported when they are used; a missing one is answered with the pip command, an old one with the range."""

from __future__ import annotations

import importlib
import re
import warnings
from importlib import metadata
from typing import Any

from clframe.errors import MissingExtraError


def bring(module: str, what: str, extra: str, package: str = "", at_least: str = "", below: str = "") -> Any:
    """Import a module of an optional package.

    Args:
        module: what to import.
        what: what needs it, for the message.
        extra: the extra of clframe that brings it.
        package: the distribution whose version counts; the first part of `module` by default.
        at_least: oldest version that works.
        below: first version that does not.

    Raises:
        MissingExtraError: it is not installed, cannot be imported, or has a version outside the range.

    Example:
        >>> bring("no_such_package", "'mine'", "log")
        Traceback (most recent call last):
        clframe.errors.MissingExtraError: 'mine' needs no_such_package, which is not installed. Run: pip install 'clframe[log]'
    """
    package = package or module.partition(".")[0]
    command = f"pip install 'clframe[{extra}]'"
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise MissingExtraError(f"{what} needs {package}, which is not installed. Run: {command}") from error
    if (at_least and _numbers(version) < _numbers(at_least)) or (below and _numbers(version) >= _numbers(below)):
        wanted = " and ".join(piece for piece in (f">= {at_least}" if at_least else "", f"< {below}" if below else "") if piece)
        raise MissingExtraError(f"{what} needs {package} {wanted}; found {version}. Run: {command} --upgrade")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the other package, about itself
            return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{what} needs {module}, which cannot be imported: {error}. Run: {command} --upgrade") from error


def _numbers(version: str) -> tuple[int, ...]:
    """The release part of a version: (3, 7) of "3.7rc1"."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(n) for n in found[0].split(".")) if found else ()
