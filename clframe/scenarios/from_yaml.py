"""A scenario written down in a YAML file.

By kind:                                By hand:

    scenario: class-incremental            data: digits
    data: {path: rows.csv, label: kind}    experiences:
    experiences: 4                           - {classes: [0, 1, 2]}
    class_order: [3, 1, 0, 2]                - {train: [5, 9, 11], test: [3, 4]}

`data` is a name, a path, or a mapping with `name` or `path` and the options of `clframe.data.load`; `domains` takes a list of
them. Every other key is an option of the kind; all kinds know `name`, `seed`, `online` and `reveals`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from clframe.data import Dataset, load
from clframe.errors import DataError, bad_option
from clframe.registry import call

TABLES = (".csv", ".csv.gz", ".parquet")
FILES = ("data", "path", "stream", "loss", "embedding")
"""Keys whose values may be paths."""
DATA_OPTIONS = ("label", "task", "weight", "split", "columns", "image", "size", "standardise", "test_fraction", "allow_missing")


def is_yaml(spec: str) -> bool:
    """Whether the words are the path of a YAML file.

    Example:
        >>> is_yaml("mine.yaml"), is_yaml("split-digits")
        (True, False)
    """
    return spec.endswith((".yaml", ".yml"))


def read(path: str | Path) -> dict[str, Any]:
    """What the file says; data paths that lie beside the file are found there.

    Raises:
        DataError: no file, no YAML, or no mapping.
    """
    import yaml

    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"{path}: a scenario must be a YAML file; got nothing at this path. Check the path.")
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "an encoding that is not UTF-8"
        raise DataError(f"{path}: must be readable YAML; got {reason}{where}. Correct the line.") from error
    if not isinstance(spec, dict) or not all(isinstance(key, str) for key in spec):
        raise DataError(f"{path}: must be a mapping of option names; got {type(spec).__name__}. Begin with `scenario: NAME`.")
    found: dict[str, Any] = _beside(spec, path.parent)
    return found


def load_data(kind: str, options: dict[str, Any], data_dir: str | Path | None) -> Dataset | list[Dataset]:
    """Take `data` (and what it uses up) out of the options, and load it.

    Options of `clframe.data.load` may stand among the scenario's own: class-incremental(data=photos/, size=32). For the kinds
    that read a column, `column` names the column of a table file.

    Raises:
        OptionError: `data` that is no name, path, mapping or data set.
    """
    data = options.pop("data", "digits")
    if isinstance(data, list | tuple) and kind == "domains":
        return [_load(f"data[{k}]", one, data_dir) for k, one in enumerate(data)]
    if isinstance(data, str):
        rest = {key: options.pop(key) for key in DATA_OPTIONS if key in options}
        if kind in ("table", "domains") and data.endswith(TABLES):
            rest["experience"] = options.pop("column", "experience")
        data = {"path": data, **rest} if rest else data
    return _load("data", data, data_dir)


def _load(key: str, data: object, data_dir: str | Path | None) -> Dataset:
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str):
        return load(data, data_dir)
    if isinstance(data, Mapping) and len(data.keys() & {"name", "path"}) == 1:
        rest = {str(k): v for k, v in data.items() if k not in ("name", "path")}
        named = data.get("name", data.get("path"))
        if isinstance(named, str):
            loaded: Dataset = call(key, named, partial(load, named), rest, data_dir=data_dir)
            return loaded
    raise bad_option(
        key, "a name, a path, or a mapping with `name` or `path`", data, "Write `data: digits` or `data: {path: rows.csv}`."
    )


def _beside(data: Any, folder: Path) -> Any:
    """Paths that are there, seen from the file's folder, made so that they are found from anywhere."""
    if isinstance(data, list):
        return [_beside(one, folder) for one in data]
    if isinstance(data, dict):
        return {key: _beside(value, folder) if key in FILES else _columns_beside(key, value, folder) for key, value in data.items()}
    if isinstance(data, str) and data != "digits" and not Path(data).exists() and (folder / data).exists():
        return str(folder / data)
    return data


def _columns_beside(key: str, value: Any, folder: Path) -> Any:
    """`columns` of a curated stream, which are files by name; the option of a data set with this name is a list."""
    if key != "columns" or not isinstance(value, dict):
        return value
    return {name: _beside(one, folder) for name, one in value.items()}
