"""What stands in a study's YAML file: every key once, numbers as numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from clframe.errors import OptionError


def load(path: str | Path) -> object:
    """The content of the file.

    Raises:
        OptionError: it is not there, cannot be read, or has a key twice.
    """
    try:
        found: object = yaml.load(Path(path).read_text(), Loader=Unique)
    except FileNotFoundError as error:
        raise OptionError(f"a study must be a YAML file that exists; got {str(path)!r}. Correct the path.") from error
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).replace('in "<unicode string>", ', "in ").split())
        raise OptionError(f"a study must be a readable YAML file; got {str(path)!r}: {why}. Correct the file.") from error
    return found


class Unique(yaml.SafeLoader):
    """YAML in which a key that is there twice is an error, not silently the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((k for i, k in enumerate(keys) if k in keys[:i]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def numbers(written: Any) -> Any:
    """The same with 1e-3 as a number: YAML takes it for a word, because it lacks a point."""
    if isinstance(written, Mapping):
        return {key: numbers(value) for key, value in written.items()}
    if isinstance(written, list):
        return [numbers(value) for value in written]
    return float(written) if isinstance(written, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", written) else written
