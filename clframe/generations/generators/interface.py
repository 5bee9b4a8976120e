"""What a generator is: three methods, over columns of numbers or texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from clframe.data.hashing import fingerprint
from clframe.errors import DataError, OptionError

Columns: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Rows by column: arrays (n, ...) of one length, such as {"x": (n, d), "label": (n,)} or {"text": (n,)}."""
T = TypeVar("T")
Floats: TypeAlias = npt.NDArray[np.float64]


class Generator(Protocol):
    """A model that learns from rows and makes new ones. One object serves all generations; `fit` begins anew each time.

    Two more methods are called where there are any: `prepare(real)`, once, with the real training data, to keep what is the same in
    every generation (a design, a vocabulary); and `embed(data) -> (n, d)`, for policies that look at embeddings (the numbers of
    a row by default).
    """

    def fit(self, data: Columns, weight: Floats, seed: int) -> None:
        """Learn from these rows, from the beginning, with these weights in the loss (n,)."""
        ...

    def sample(self, n: int, seed: int) -> Columns:
        """New rows, in the columns of those that it learned from; the same for the same seed."""
        ...

    def score(self, data: Columns) -> Floats:
        """The loss of each row (n,); less is better."""
        ...


def rows_of(data: Columns) -> int:
    """How many rows.

    Raises:
        DataError: columns of different lengths, or none.
    """
    lengths = {name: len(values) for name, values in data.items()}
    if len(set(lengths.values())) != 1:
        raise DataError(f"columns must be of one length; got {lengths or 'no column'}. Return one value for each row.")
    return next(iter(lengths.values()))


def matrix(data: Columns, generator: str, column: str = "x") -> Floats:
    """A column of numbers as (n, d).

    Raises:
        DataError: there is none.
    """
    if column not in data or data[column].dtype.kind not in "iufb":
        raise DataError(f"generator {generator!r} needs a column {column!r} of numbers; got {', '.join(data)}. Take other data.")
    return np.asarray(data[column], dtype=np.float64).reshape(len(data[column]), -1)


def embedding(generator: object, data: Columns) -> npt.NDArray[np.float32]:
    """What `embed` says, or the numbers of each row: columns of numbers side by side, without labels (n, d).

    Raises:
        DataError: neither.
    """
    if hasattr(generator, "embed"):
        return np.asarray(generator.embed(data), dtype=np.float32)
    numbers = [v for k, v in data.items() if v.dtype.kind in "iufb" and k != "label"]
    if not numbers:
        raise DataError(
            f"generator {type(generator).__name__!r} must have a method embed(data) for a policy that looks at embeddings, "
            f"as its rows have no numbers; got columns {', '.join(data)}. Add it, or take another policy."
        )
    return np.concatenate([np.asarray(v, dtype=np.float32).reshape(len(v), -1) for v in numbers], axis=1)


def checked_scores(generator: object, data: Columns) -> Floats:
    """The losses of the rows.

    Raises:
        DataError: not one finite number for each.
    """
    found = np.asarray(generator.score(data), dtype=np.float64).reshape(-1)  # type: ignore[attr-defined]
    if len(found) != rows_of(data) or not np.isfinite(found).all():
        got = f"{len(found):,} numbers" if len(found) != rows_of(data) else f"{found[~np.isfinite(found)][0]}"
        raise DataError(f"score must return one finite loss for each of the {rows_of(data):,} rows; got {got}. Mend the generator.")
    return found


def model_hash(generator: object) -> str:
    """A hash of all that the generator holds: numbers, words, arrays, tensors and the weights of modules.

    Example:
        >>> from types import SimpleNamespace as Made
        >>> one, other = model_hash(Made(w=np.ones(2))), model_hash(Made(w=np.zeros(2)))
        >>> one == model_hash(Made(w=np.ones(2))), one == other
        (True, False)
    """
    return fingerprint(type(generator).__name__, *_pieces(getattr(generator, "__dict__", {})))


def _pieces(value: Any) -> list[object]:
    if hasattr(value, "state_dict"):
        value = value.state_dict()
    if hasattr(value, "detach"):
        value = value.detach().cpu().float().numpy()
    if isinstance(value, Mapping):
        return [piece for key in sorted(value, key=str) for piece in (str(key), *_pieces(value[key]))]
    if isinstance(value, list | tuple):
        return [piece for one in value for piece in _pieces(one)]
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
        return [value]
    return [value] if value is None or isinstance(value, str | int | float | bool) else [type(value).__name__]


def need_fit(learned: T | None, generator: str) -> T:
    """What was learned; refuse to sample or score before that.

    Example:
        >>> need_fit(None, "gaussian")
        Traceback (most recent call last):
        clframe.errors.OptionError: generator 'gaussian' must be fitted before it samples or scores. Call fit(data, weight, seed).
    """
    if learned is None:
        raise OptionError(f"generator {generator!r} must be fitted before it samples or scores. Call fit(data, weight, seed).")
    return learned
