"""Embeddings of n rows, of which only what is asked for is read, as float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from mmap import ALLOCATIONGRANULARITY
from pathlib import Path
from typing import Any, Protocol, TypeAlias, final

import numpy as np
import numpy.typing as npt

from clframe.errors import DataError

Floats: TypeAlias = npt.NDArray[np.float32]
Rows: TypeAlias = npt.NDArray[np.int64]


class Vectors(Protocol):
    """Embeddings (n, d). Can be sent to another process, which opens its own files."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        ...

    def read(self, start: int, stop: int) -> Floats:
        """Rows start to stop - 1, in order (stop - start, d)."""
        ...

    def take(self, rows: Rows) -> Floats:
        """Any rows, in the order asked for (len(rows), d)."""
        ...

    def describe(self) -> dict[str, Any]:
        """Where they come from, for the manifest."""
        ...


@final
class InMemory:
    """An array (n, d); longer rows, such as images (n, h, w), are flattened. A memory map of a file is read by plain reads.

    Args:
        values: the array; whole numbers and float16 are converted as they are read.
        name: for messages and the manifest.

    Raises:
        DataError: not numbers, or no rows of them.

    Example:
        >>> found = InMemory(np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
        >>> found.shape, found.read(1, 2).tolist()
        ((3, 4), [[4.0, 5.0, 6.0, 7.0]])
    """

    def __init__(self, values: npt.NDArray[Any], name: str = "array") -> None:
        if values.ndim < 2 or not values.shape[0] or values.dtype.kind not in "iufb":
            raise DataError(
                f"{name} must hold numbers of shape (n, d), n > 0; got {values.dtype} {values.shape}. Give one row for each sample."
            )
        self._values, self.name = values.reshape(len(values), -1), name
        self._file = mapped(self._values)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        n, d = self._values.shape
        return int(n), int(d)

    def read(self, start: int, stop: int) -> Floats:
        """Rows start to stop - 1, in order."""
        values = self._values[start:stop] if self._file is None else Shards([self._file]).read(start, stop)
        return np.ascontiguousarray(values, dtype=np.float32)

    def take(self, rows: Rows) -> Floats:
        """Any rows, in the order asked for."""
        values = self._values[rows] if self._file is None else Shards([self._file]).take(rows)
        return np.ascontiguousarray(values, dtype=np.float32)

    def view(self, start: int, stop: int) -> InMemory | Shards:
        """Rows start to stop - 1, not copied; those of a memory map as the part of the file that they are."""
        file = self._file
        if file is None:
            return InMemory(self._values[start:stop], self.name)
        begin = file.offset + start * file.width * np.dtype(file.dtype).itemsize
        return Shards([Piece(file.path, begin, file.dtype, stop - start, file.width)])

    def describe(self) -> dict[str, Any]:
        """Its name, type and shape."""
        return {"source": self.name, "dtype": str(self._values.dtype), "shape": list(self.shape)}


@dataclass(frozen=True)
class Piece:
    """One `.npy` file: where its values begin, of what type and shape they are."""

    path: str
    offset: int
    dtype: str
    rows: int
    width: int


@final
class Shards:
    """One or more `.npy` files, one after another, read with plain reads: no page of a file counts as memory of the process.

    Args:
        paths: the files, in the order of their rows, as `numpy.save` writes them, or parts of files.

    Raises:
        DataError: no such file, one that is cut short, or one with rows of another length.

    Example:
        >>> from tempfile import mkdtemp
        >>> place = Path(mkdtemp())
        >>> for i in range(2):
        ...     np.save(place / f"{i}.npy", np.full((3, 2), i, dtype=np.float16))
        >>> Shards([place / "0.npy", place / "1.npy"]).read(2, 4).tolist()
        [[0.0, 0.0], [1.0, 1.0]]
    """

    def __init__(self, paths: Sequence[str | Path | Piece]) -> None:
        self._pieces = [p if isinstance(p, Piece) else _piece(Path(p)) for p in paths]
        widths = {piece.width for piece in self._pieces}
        if len(widths) > 1:
            odd = next(p for p in self._pieces if p.width != self._pieces[0].width)
            raise DataError(
                f"{odd.path} must hold rows of {self._pieces[0].width} numbers, as the files before it; got {odd.width}. "
                "Leave it out, or embed its samples with the same model."
            )
        self._starts = np.cumsum([0, *(p.rows for p in self._pieces)])

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return int(self._starts[-1]), self._pieces[0].width

    def read(self, start: int, stop: int) -> Floats:
        """Rows start to stop - 1, in order."""
        out = np.empty((max(0, stop - start), self.shape[1]), dtype=np.float32)
        for piece, begin in zip(self._pieces, self._starts, strict=False):
            first, last = max(start, int(begin)), min(stop, int(begin) + piece.rows)
            if first < last:
                out[first - start : last - start] = _read(piece, first - int(begin), last - first)
        return out

    def take(self, rows: Rows) -> Floats:
        """Any rows, in the order asked for; neighbours in one read."""
        out = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        breaks = np.flatnonzero(np.diff(ordered) > 64) + 1
        for chosen in np.split(np.arange(len(rows)), breaks):
            if len(chosen):
                low, high = int(ordered[chosen[0]]), int(ordered[chosen[-1]])
                out[order[chosen]] = self.read(low, high + 1)[ordered[chosen] - low]
        return out

    def describe(self) -> dict[str, Any]:
        """The files, their type and the shape of all."""
        files = [Path(p.path).name for p in self._pieces]
        return {"source": files if len(files) > 1 else files[0], "dtype": self._pieces[0].dtype, "shape": list(self.shape)}


def mapped(values: npt.NDArray[Any]) -> Piece | None:
    """The part of a file that an array (n, d) is a memory map of; None where it is none, or where it can differ from the file.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "x.npy"
        >>> np.save(path, np.arange(12).reshape(6, 2))
        >>> piece = mapped(np.load(path, mmap_mode="r")[2:5])
        >>> piece.rows, Shards([piece]).read(0, 1).tolist(), mapped(np.zeros((2, 2))) is None
        (3, [[4.0, 5.0]], True)
    """
    base: Any = values
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    if not isinstance(base, np.memmap) or base.mode not in ("r", "r+") or not base.filename or not values.flags.c_contiguous:
        return None
    whole = base._mmap  # type: ignore[attr-defined]
    begin = base.offset // ALLOCATIONGRANULARITY * ALLOCATIONGRANULARITY
    offset = begin + values.ctypes.data - np.frombuffer(whole, dtype=np.uint8).ctypes.data
    path = Path(str(base.filename))
    if not path.exists() or path.stat().st_size < offset + values.nbytes:
        return None
    return Piece(str(path), offset, values.dtype.str, values.shape[0], values.shape[1])


def _piece(path: Path) -> Piece:
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = reader(file)
            offset = file.tell()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} must be a readable .npy file; got {error}. Write it with numpy.save.") from error
    if len(shape) < 2 or not shape[0] or dtype.kind not in "iufb" or fortran:
        order = ", columns first" if fortran else ""
        raise DataError(f"{path} must hold numbers of shape (n, d), n > 0, row by row; got {dtype} {shape}{order}. Save it anew.")
    width = int(np.prod(shape[1:]))
    needed, found = offset + int(np.prod(shape)) * dtype.itemsize, path.stat().st_size
    if found < needed:
        rows = (found - offset) // (width * dtype.itemsize)
        raise DataError(f"{path} must hold {shape[0]:,} rows, as its head says; got {rows:,}: it was cut short. Copy it again.")
    return Piece(str(path), offset, dtype.str, int(shape[0]), width)


def _read(piece: Piece, start: int, count: int) -> npt.NDArray[Any]:
    dtype = np.dtype(piece.dtype)
    with open(piece.path, "rb") as file:
        file.seek(piece.offset + start * piece.width * dtype.itemsize)
        values = np.fromfile(file, dtype=dtype, count=count * piece.width)
    if len(values) < count * piece.width:
        raise DataError(f"{piece.path} ended in row {start + len(values) // piece.width}; it was longer before. Copy it again.")
    return values.reshape(count, piece.width)
