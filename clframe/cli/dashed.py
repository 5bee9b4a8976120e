"""A parser whose help shows options as they are typed."""

from __future__ import annotations

import re
from typing import Any

from jsonargparse import ArgumentParser


class Dashed(ArgumentParser):
    """Options are named with underscores, as arguments in Python are; help shows them with dashes, which are understood as well.

    Example:
        >>> made = Dashed(prog="clframe run", exit_on_error=False)
        >>> _ = made.add_argument("--eval_every", type=int, default=1, help="updates between evaluations")
        >>> "--eval-every EVAL_EVERY" in made.format_help()
        True
    """

    def format_help(self, *given: Any, **named: Any) -> str:
        """The help, with dashes in the names of options."""
        return re.sub(r"(?<![\w-])--\w+", lambda found: found[0].replace("_", "-"), super().format_help(*given, **named))
