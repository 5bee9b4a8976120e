"""The rows of a file, and options that hold several values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from clframe.errors import DataError, bad_option

SUFFIXES = (".parquet", ".npz", ".npy", ".jsonl", ".csv", ".txt")


def check_file(name: str) -> None:
    """Refuse what `rows_of` could not read, before anything is written.

    Raises:
        DataError: no such file, or another kind.
    """
    path = Path(name)
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path} must end in {', '.join(SUFFIXES)}; got {path.suffix or 'no ending'}. Convert it first.")
    if not path.is_file():
        raise DataError(f"{path} must be a file; there is none. Name another one.")


def rows_of(name: str) -> Any:
    """The table of a file: Parquet, .npz (an array a column), .npy (column "x"), .jsonl, .csv, or .txt ("text", a line a row).

    Raises:
        DataError: it cannot be read.
    """
    path = Path(name)
    try:
        return _read(path)
    except (OSError, ValueError, EOFError) as error:
        told = " ".join(str(error).split())[:200].rstrip(".")
        raise DataError(f"{path} must be a readable {path.suffix} file; got {told}. Name another file.") from error


def _read(path: Path) -> Any:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            return file.read()
    if path.suffix in (".npz", ".npy"):
        found = np.load(path, allow_pickle=False)
        return {"x": found} if isinstance(found, np.ndarray) else {key: found[key] for key in found.files}
    if path.suffix == ".txt":
        return {"text": path.read_text(encoding="utf-8").splitlines()}
    import pandas as pd

    return pd.read_json(path, lines=True) if path.suffix == ".jsonl" else pd.read_csv(path)


def values_of(option: str, words: str | None) -> dict[str, Any] | None:
    """Values by name: "weights=5f2c,epochs=3", JSON, or a .json file.

    Raises:
        OptionError: none of these.

    Example:
        >>> values_of("model", "weights=5f2c,epochs=3,lr=0.1"), values_of("model", '{"weights": "1"}'), values_of("model", None)
        ({'weights': '5f2c', 'epochs': 3, 'lr': 0.1}, {'weights': '1'}, None)
    """
    if words is None:
        return None
    remedy = f"Give --{option} name=value,name=value, JSON in braces, or a .json file."
    try:
        text = Path(words).read_text() if words.endswith(".json") else words
        if text.lstrip().startswith("{"):
            found: dict[str, Any] = json.loads(text)
            return found
        pairs = [piece.partition("=") for piece in text.split(",")]
    except (OSError, ValueError) as error:
        raise bad_option(option, "values by name", words, f"{error}. {remedy}") from error
    if not all(equals and name.strip() for name, equals, _ in pairs):
        raise bad_option(option, "values by name", words, remedy)
    return {name.strip(): _number(value.strip()) for name, _, value in pairs}


def _number(text: str) -> str | int | float:
    """A number only where it is written as JSON writes numbers: 007 and 1e stay text, as hashes are."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, int | float) and "e" not in text.lower() else text
