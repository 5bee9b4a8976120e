"""A docstring, cut into its sections."""

from __future__ import annotations

import inspect
import re

HEADINGS = ("Args", "Attributes", "Raises", "Logs", "Example", "Reference", "Differences", "Shapes")
_HEAD = re.compile(rf"^({'|'.join(HEADINGS)}):(.*)$")


def sections(thing: object) -> dict[str, str]:
    """The text before the first heading under "", and that of each heading, without its indentation.

    Example:
        >>> def f():
        ...     '''One line.
        ...
        ...     Reference: Somebody, 2020.
        ...     '''
        >>> sections(f)
        {'': 'One line.', 'Reference': 'Somebody, 2020.'}
    """
    found: dict[str, list[str]] = {"": []}
    current = ""
    for line in (inspect.getdoc(thing) or "").splitlines():
        head = _HEAD.match(line)
        if head:
            current = head.group(1)
            found[current] = [head.group(2).strip()] if head.group(2).strip() else []
        else:
            found[current].append(line)
    return {name: inspect.cleandoc("\n".join(["", *lines])) if name else "\n".join(lines).strip() for name, lines in found.items()}


def entries(text: str) -> dict[str, str]:
    """`name: what it is` entries, continued on indented lines; also written as a list.

    Example:
        >>> entries("a, b: two\\n    things.\\nc: one.")
        {'a, b': 'two things.', 'c': 'one.'}
    """
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        head = re.match(r"^(?:- )?`*([\w/+, *.-]+?)`*: (.*)$", line)
        if head and not line.startswith(" "):
            name = head.group(1)
            found[name] = head.group(2).strip()
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found
