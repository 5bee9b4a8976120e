"""What the commands share: a parser over a function's signature, options with dashes, and progress on a terminal."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from clframe.errors import OptionError, bad_option, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from jsonargparse import ArgumentParser, Namespace


def parser(command: str, description: str) -> ArgumentParser:
    """A parser for `clframe COMMAND`."""
    from clframe.cli.dashed import Dashed

    return Dashed(prog=f"clframe {command}", description=description, exit_on_error=False)


def parse(made: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """Parse; dashes and underscores in option names are the same, and a flag without a value is true.

    Raises:
        OptionError: an unknown option (with the nearest ones) or a value of the wrong type.
    """
    import argparse

    known = {o for action in made._actions for o in action.option_strings}
    flags = {o for action in made._actions for o in action.option_strings if getattr(action, "_typehint", None) is bool}
    try:
        found: Namespace = made.parse_args(list(_normalised(arguments, known, flags)))
    except argparse.ArgumentError as error:
        _refuse(error)
    return found


def _normalised(arguments: Sequence[str], known: set[str], flags: set[str]) -> Iterator[str]:
    for position, argument in enumerate(arguments):
        if not argument.startswith("--"):
            yield argument
            continue
        name, equals, value = argument.partition("=")
        option = "--" + name[2:].replace("-", "_")
        option = option if option in known else name
        if option not in known and not name.startswith("--print_config"):
            raise unknown_name("option", name, sorted(o.replace("_", "-") for o in known if o.startswith("--")))
        yield option + equals + value
        following = arguments[position + 1] if position + 1 < len(arguments) else "--"
        if option in flags and not equals and following.lower() not in ("true", "false"):
            yield "true"


def _refuse(error: Exception) -> NoReturn:
    message = " ".join(str(error).replace("\n", " ").split())
    found = re.search(r'key "(\w+)": .*?<class \'(\w+)\'>.*Got value: (.*)$', message)
    if found:
        raise bad_option(found[1], f"of type {found[2]}", found[3], f"See --help for --{found[1].replace('_', '-')}.") from error
    raise OptionError(f"{message.rstrip('.')}. See --help for the options and their types.") from error


@contextmanager
def progress(quiet: bool = False, unit: str = "updates") -> Iterator[Callable[[str, int, int], None] | None]:
    """Bars on a terminal, nothing when piped. Inside: a function (name, done, total), cheap enough for every update."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, Any] = {}
        drawn: dict[str, float] = {}

        def tell(name: str, done: int, total: int) -> None:
            now = time.monotonic()
            if done < total and now - drawn.get(name, 0.0) < 0.1:
                return
            drawn[name] = now
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done, visible=done < total)

        yield tell


def say(text: str) -> None:
    """A line for a person who watches: on a terminal only, beside the output that a program may read."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)
