"""A pool: n samples by their embeddings, ids, and columns such as losses and labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, final

import numpy as np
import numpy.typing as npt

from clframe.data.hashing import fingerprint, spaced
from clframe.errors import DataError, OptionError, unknown_name
from clframe.selection.pool.finite import check_finite, rows_named
from clframe.selection.pool.vectors import Floats, InMemory, Shards, Vectors

Column: TypeAlias = npt.NDArray[Any]

BLOCK = 16384
"""Rows that are read at once. What is summed block by block is the same whoever does the blocks."""
HASHED, SPACED = 2**30, 1000
"""Bytes of embeddings up to which all are hashed; how many are hashed of more."""


class Block(NamedTuple):
    """Some rows of a pool: the number of the first one, and their embeddings (b, d)."""

    start: int
    x: Floats


@final
@dataclass(frozen=True)
class Pool:
    """n samples to choose from. Nothing of it is copied; a choice is a list of its ids.

    Attributes:
        vectors: the embeddings (n, d).
        ids: the id of each row (n,), whole numbers or strings, none of them twice; by default 0 to n - 1.
        columns: more about each row, by name (n,).
        name: for reports and the manifest.
        origins: the column or file that a column was read from, where it has another name there; for messages.

    Raises:
        DataError: a column of another length or shape, or an id that occurs twice.

    Example:
        >>> pool = pool_of(np.eye(3), label=[0, 1, 1])
        >>> pool.n, pool.d, pool.column("label").tolist(), pool.id_of(np.array([2])).tolist()
        (3, 3, [0, 1, 1], [2])
    """

    vectors: Vectors
    ids: Column | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)
    name: str = "pool"
    origins: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in {**self.columns, **({} if self.ids is None else {"id": self.ids})}.items():
            if values.ndim != 1:
                raise DataError(
                    f"{self.called(name)} must have one value for each embedding, shape (n,); got shape {values.shape}. "
                    "Give one column of it."
                )
            if len(values) != self.n:
                raise DataError(
                    f"{self.called(name)} must have one value for each of the {self.n:,} embeddings; got {len(values):,}. "
                    "Give both in the same order and length."
                )
        if self.ids is not None:
            _check_unique(self.ids)

    @property
    def n(self) -> int:
        """How many samples."""
        return self.vectors.shape[0]

    @property
    def d(self) -> int:
        """How long an embedding is."""
        return self.vectors.shape[1]

    @property
    def starts(self) -> range:
        """The first row of each block."""
        return range(0, self.n, BLOCK)

    def block(self, start: int) -> Block:
        """The block that begins with this row."""
        return Block(start, self.vectors.read(start, min(start + BLOCK, self.n)))

    def blocks(self) -> Iterator[Block]:
        """All rows, in order."""
        return (self.block(start) for start in self.starts)

    def fingerprint(self) -> str:
        """A hash of the shape, of all ids and columns, and of what `hashed` says of the embeddings; it is computed once.

        Raises:
            DataError: one of these embeddings is not finite; the rows are named.

        Example:
            >>> x = np.zeros((5000, 2))
            >>> before = pool_of(x).fingerprint()
            >>> x[1234, 1] = 1e-6
            >>> pool_of(x).fingerprint() == before, pool_of(x).hashed
            (False, 'all embeddings')
        """
        return self._fingerprint

    @property
    def hashed(self) -> str:
        """Which embeddings the hash is of: all where they take at most 1 GiB in single precision, else 1,000 evenly spaced ones.

        A larger pool would have to be read once more for it: two to three seconds for each GiB.
        """
        return "all embeddings" if 4 * self.n * self.d <= HASHED else f"{SPACED:,} of {self.n:,} embeddings, evenly spaced"

    @cached_property
    def _fingerprint(self) -> str:
        whole = 4 * self.n * self.d <= HASHED
        parts = self._finite_blocks() if whole else iter([self.vectors.take(spaced(self.n, SPACED))])
        columns = [piece for name in sorted(self.columns) for piece in (name, self.columns[name])]
        return fingerprint(self.n, self.d, *map(fingerprint, parts), *([] if self.ids is None else [self.ids]), *columns)

    def _finite_blocks(self) -> Iterator[Floats]:
        start = 0
        for block in self.blocks():
            check_finite(block.x, np.arange(start, start + len(block.x)))
            start += len(block.x)
            yield block.x

    def id_of(self, rows: npt.NDArray[np.int64]) -> Column:
        """The ids of some rows."""
        return rows.copy() if self.ids is None else self.ids[rows]

    def called(self, name: str) -> str:
        """A column in the words of who gave it.

        Example:
            >>> pool = Pool(InMemory(np.eye(2)), columns={"loss": np.ones(2)}, origins={"loss": "cross_entropy"})
            >>> pool.called("loss"), pool.called("label")
            ("column 'cross_entropy' (loss)", "column 'label'")
            >>> Pool(InMemory(np.eye(2)), columns={"loss": np.ones(2)}, origins={"loss": "data/loss.npy"}).called("loss")
            'data/loss.npy (loss)'
        """
        origin = self.origins.get(name, name)
        if origin.endswith(".npy"):
            return f"{origin} ({name})"
        return f"column {name!r}" if origin == name else f"column {origin!r} ({name})"

    def column(self, name: str) -> Column:
        """A column by name.

        Raises:
            OptionError: no such column.
        """
        if name not in self.columns:
            remedy = "Give it beside the embeddings; on the command line as --label or --columns."
            if self.columns:
                raise OptionError(f"{unknown_name('column', name, self.columns)} {remedy}")
            raise DataError(f"{self.name} must have a column {name!r}; got embeddings alone. {remedy}")
        return self.columns[name]

    def numbers(self, name: str, least: float | None = None) -> npt.NDArray[np.float64]:
        """A column of finite numbers, none below `least`.

        Raises:
            DataError: others; the rows are named.
        """
        values = self.column(name)
        if values.dtype.kind not in "iufb":
            got = f"text such as {str(values[0])!r}" if values.dtype.kind in "US" else str(values.dtype)
            raise DataError(f"{self.called(name)} must hold numbers; got {got}. Name another column.")
        found = values.astype(np.float64)
        bad = ~np.isfinite(found) if least is None else ~(np.isfinite(found) & (found >= least))
        if bad.any():
            rule = "finite numbers" if least is None else f"finite numbers of at least {least:g}"
            raise DataError(
                f"{self.called(name)} must hold {rule}; got {found[bad][0]:g} {rows_named(bad)}. Mend or leave out these rows."
            )
        return found


def pool_of(
    embeddings: npt.NDArray[Any] | Sequence[Sequence[float]] | Vectors,
    *,
    ids: Sequence[Any] | Column | None = None,
    name: str = "pool",
    **columns: Sequence[Any] | Column | None,
) -> Pool:
    """A pool of arrays, lists or tensors.

    Args:
        embeddings: (n, d), also a memory map, a tensor, or anything that reads like `Vectors`.
        ids: one for each row.
        name: for reports.
        columns: values (n,) by name, such as loss=... and label=...; None for one that there is not.

    Raises:
        DataError: see `Pool`.

    Example:
        >>> pool_of([[0.0, 1.0], [1.0, 1.0]], loss=[0.5, 2.0]).columns["loss"].tolist()
        [0.5, 2.0]
    """
    vectors = embeddings if hasattr(embeddings, "read") and hasattr(embeddings, "take") else InMemory(np.asarray(embeddings), name)
    made = {key: np.asarray(values) for key, values in columns.items() if values is not None}
    return Pool(vectors, None if ids is None else np.asarray(ids), made, name)  # type: ignore[arg-type]


def open_pool(
    path: str | Path | Sequence[str | Path], *, embedding: str = "embedding", ids: str | None = None, **columns: str | Path | None
) -> Pool:
    """A pool in files: `.npy` embeddings with `.npy` columns, a folder of `.npy` shards, or Parquet with columns by name.

    Args:
        path: a `.npy` or `.parquet` file, several of them, or a folder of either.
        embedding: column of the embeddings, in Parquet.
        ids: column of the ids, in Parquet; a `.npy` file beside `.npy` embeddings.
        columns: by what they are, their column or file: loss="loss", label="labels.npy".

    Raises:
        DataError: a missing or damaged file, or a missing column.
    """
    files = data_files(path)
    name = Path(files[0]).stem if len(files) == 1 else Path(files[0]).parent.name
    asked = {key: str(value) for key, value in columns.items() if value is not None}
    origins = asked if ids is None else {**asked, "id": ids}
    if files[0].suffix == ".npy":
        loaded = {key: _values(value) for key, value in asked.items()}
        return Pool(Shards(files), None if ids is None else _values(ids), loaded, name, origins)
    from clframe.selection.pool.parquet import Parquet, parquet_column

    taken = {key: parquet_column(files, value) for key, value in asked.items()}
    return Pool(Parquet(files, embedding), None if ids is None else parquet_column(files, ids), taken, name, origins)


def _check_unique(ids: Column) -> None:
    order = np.argsort(ids, kind="stable")
    twice = np.flatnonzero(ids[order[1:]] == ids[order[:-1]])
    if len(twice):
        first, second = sorted((int(order[twice[0]]), int(order[twice[0] + 1])))
        one = ids[[first]].tolist()[0]
        more = f", and {len(twice) - 1:,} more such pairs" if len(twice) > 1 else ""
        raise DataError(f"ids must differ; got {one!r} in rows {first} and {second}{more}. Leave the ids out to number the rows.")


def data_files(path: str | Path | Sequence[str | Path]) -> list[Path]:
    """The `.npy` or `.parquet` files that a path, a folder or several paths stand for, in order.

    Raises:
        DataError: no such file, or files of two kinds.
    """
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(p) for p in path]
    found: list[Path] = []
    for one in paths:
        found += sorted(f for f in one.iterdir() if f.suffix in (".npy", ".parquet")) if one.is_dir() else [one]
    kinds = {f.suffix for f in found}
    missing = [f for f in found if not f.exists()]
    if missing:
        raise DataError(f"{missing[0]} must be a file or folder; got none. Correct the path.")
    if len(kinds) != 1 or not kinds <= {".npy", ".parquet"}:
        got = ", ".join(sorted(kinds)) or "no such file"
        raise DataError(f"{path} must be .npy or .parquet files of one kind; got {got}. Name the files.")
    return found


def _values(path: str) -> Column:
    try:
        values: Column = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} must be a readable .npy file of one value for each row; got {error}. Write it with numpy.save."
        ) from error
    return values.reshape(-1) if values.ndim == 2 and values.shape[1] == 1 else values
