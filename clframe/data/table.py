"""Tables with a label column: CSV and Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from clframe.data.arrays import source_of
from clframe.data.dataset import Dataset, strata, stratified_ids
from clframe.data.faults import reason
from clframe.data.normalise import fit_affine
from clframe.data.samples import Array, encode_labels, make_samples
from clframe.errors import DataError, bad_option
from clframe.types import Ids

if TYPE_CHECKING:
    import pyarrow as pa

TEST_NAMES = ("test", "val", "valid", "validation", "dev")


def from_table(
    path: str | Path,
    *,
    label: str = "label",
    task: str | None = None,
    weight: str | None = None,
    experience: str | None = None,
    split: str | None = None,
    columns: Sequence[str] | None = None,
    name: str | None = None,
    standardise: bool = True,
    test_fraction: float = 0.2,
    seed: int = 0,
    allow_missing: bool = False,
) -> Dataset:
    """A data set from a CSV (also `.csv.gz`) or Parquet file, held in memory as float32.

    Args:
        path: the file; the columns have names.
        label: column of the labels: integers or strings.
        task: column of the task labels; numbered 0, 1, ... in sorted order.
        weight: column of the sample weights.
        experience: column that says which experience a row belongs to, numbered 0, 1, ... in sorted order; scenarios read it
            with `column(source, "experience")`.
        split: column that says "train" or "test"; without it a stratified `test_fraction` is set apart.
        columns: the feature columns; by default all others, which must then be numbers.
        name: a short name; by default the file's.
        standardise: features to mean 0 and deviation 1 by the training part.
        test_fraction: share of each class (within task and experience) that goes to test.
        seed: draws the test part.
        allow_missing: accept classes without training or test samples.

    Raises:
        DataError: an unreadable file, a missing column, a feature that is not a number or not finite.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rows = "\\n".join(f"{i},{i * i},{'ab'[i % 2]}" for i in range(10))
        ...     _ = Path(folder, "t.csv").write_text("u,v,label\\n" + rows)
        ...     data = from_table(f"{folder}/t.csv")
        >>> data.train.class_names, data.train.input_shape, len(data.train)
        (('a', 'b'), (2,), 8)
    """
    path = Path(path)
    name = name or path.stem
    table = read_table(path)
    special = [c for c in (label, task, weight, experience, split) if c is not None]
    features = _feature_names(path, table, special, columns)
    x = np.stack([_feature(path, table, c) for c in features], axis=1)
    further = {} if experience is None else {"experience": _codes(path, table, experience)}
    samples = make_samples(
        len(x),
        _values(table, label),
        task=None if task is None else _codes(path, table, task),
        weight=None if weight is None else _values(table, weight),
        columns=further,
        name=name,
    )
    if split is None:
        train, test = stratified_ids(strata(samples.y, samples.task, samples.columns), test_fraction, seed)
    else:
        train, test = _split(path, _values(table, split), split)
    stored = torch.from_numpy(x)
    affine = fit_affine(stored[torch.from_numpy(train)], standardise=standardise)
    parts = (source_of(name, stored[torch.from_numpy(ids)], samples.take(ids), affine) for ids in (train, test))
    return Dataset(name, next(parts), next(parts), allow_missing)


def read_table(path: Path) -> pa.Table:
    """The whole file as an Arrow table."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if not path.is_file():
        raise DataError(f"{path}: must be a CSV or Parquet file; got nothing at this path. Check the path.")
    try:
        table = pa.parquet.read_table(path) if path.suffix == ".parquet" else pa.csv.read_csv(path)
        empty = table.num_rows == 0 or not table.column_names
    except Exception as error:
        raise DataError(f"{path}: must be a readable CSV or Parquet file; got {reason(error)}. Write the file again.") from error
    if empty:
        raise DataError(f"{path}: the table must hold at least one row; got 0. Check how the file was written.")
    return table


def _feature_names(path: Path, table: pa.Table, special: list[str], columns: Sequence[str] | None) -> list[str]:
    """The names of the feature columns, once all named columns are known to exist."""
    for wanted in (*special, *(columns or ())):
        if wanted not in table.column_names:
            found = ", ".join(table.column_names[:20])
            raise DataError(f"{path}: there must be a column {wanted!r}; got columns {found}. Name the columns that are there.")
    names = [c for c in table.column_names if c not in special] if columns is None else list(columns)
    both = [c for c in names if c in special]
    if both:
        raise bad_option("columns", "features only", both[0], f"Leave {both[0]!r} out: it is a label, task, weight or split.")
    if not names:
        raise DataError(f"{path}: the table must hold a feature column; got only {', '.join(special)}. Add one.")
    return names


def _feature(path: Path, table: pa.Table, name: str) -> Array:
    """One feature column (N,), float32, finite."""
    import pyarrow as pa

    kind = table.schema.field(name).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)):
        raise DataError(
            f"{path}: feature columns must hold numbers; got {kind} in column {name!r}. "
            "Encode it as numbers, or name the feature columns: columns=[...]."
        )
    with np.errstate(over="ignore"):
        values64 = table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
        values: Array = values64.astype(np.float32)
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{path}: features must be finite float32; got {values[row]} in column {name!r}, row {row} (the first is 0). "
            "Fill or drop the row, or leave the column out: columns=[...]."
        )
    return values


def _values(table: pa.Table, name: str) -> Array:
    """A column as numpy, a category as its values."""
    import pyarrow as pa

    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values: Array = column.to_numpy(zero_copy_only=False)
    return values


def _codes(path: Path, table: pa.Table, name: str) -> Ids:
    """A column of integers or strings as 0, 1, ... in sorted order."""
    (codes,), _ = encode_labels([_values(table, name)], name=str(path), what=name)
    return codes


def _split(path: Path, values: Array, name: str) -> tuple[Ids, Ids]:
    """Ids (train, test) by the words of the split column."""
    words = np.array([str(v).strip().lower() for v in values])
    test = np.isin(words, TEST_NAMES)
    wrong = ~test & (words != "train")
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{path}: column {name!r} must say 'train' or 'test'; got {values[row]!r} in row {row}. Correct the row.")
    for word, part in (("train", ~test), ("test", test)):
        if not part.any():
            raise DataError(f"{path}: column {name!r} must have rows for 'train' and 'test'; got none for {word!r}. Add some.")
    return np.flatnonzero(~test).astype(np.int64), np.flatnonzero(test).astype(np.int64)
