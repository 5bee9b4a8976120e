"""What is behind embeddings in files: a column of pictures or texts, read for the rows that are shown and no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clframe.errors import DataError, bad_option
from clframe.eval.report.coreset_samples import Rows, View


def view_of_files(
    path: str | Path | Sequence[str | Path], *, images: str | None = None, texts: str | None = None, shape: str | None = None
) -> View:
    """How to show the samples of a pool in files.

    Args:
        path: what the pool was opened from.
        images: a column of pictures as bytes, as `datasets.Image` writes them, in Parquet; beside `.npy` files a `.npy` file of
            pictures (n, h, w) or (n, h, w, 3).
        texts: a column of strings; a `.npy` file of strings.
        shape: "28x28": embeddings are pictures. Without any of these, `.npy` files of shape (n, h, w) or (n, h, w, 3) are taken so.

    Raises:
        OptionError: a shape that is not written so; more than one of these.
        DataError: a missing column or file.

    Example:
        >>> from tempfile import mkdtemp
        >>> place = Path(mkdtemp()) / "x.npy"
        >>> np.save(place, np.zeros((3, 8, 8), dtype=np.uint8))
        >>> view_of_files(place).shape, view_of_files(place, shape="4x16").shape
        ((8, 8), (4, 16))
    """
    from clframe.selection.pool.pool import data_files

    files = data_files(path)
    if images is not None or texts is not None:
        source = {"images": images, "texts": texts}
        return View(**{key: _source(files, name) for key, name in source.items() if name is not None}, shape=_shape(shape))
    found = _shape(shape)
    if found is None and files[0].suffix == ".npy":
        found = np.load(files[0], mmap_mode="r", allow_pickle=False).shape[1:]
    return View(shape=found if found is not None and (len(found) == 2 or (len(found) == 3 and found[2] in (1, 3))) else None)


def _shape(written: str | None) -> tuple[int, ...] | None:
    if written is None:
        return None
    pieces = written.lower().split("x")
    if len(pieces) not in (2, 3) or not all(p.isdigit() and int(p) for p in pieces):
        raise bad_option("shape", "HxW or HxWxC", written, "Give --shape 28x28.")
    return tuple(int(p) for p in pieces)


def _source(files: Sequence[Path], name: str) -> Any:
    if files[0].suffix == ".parquet":
        return _column(files, name)
    try:
        return np.load(name, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{name} must be a readable .npy file beside .npy embeddings; got {error}. Write it with numpy.save."
        ) from error


def _column(files: Sequence[Path], name: str) -> Callable[[Rows], list[Any]]:
    """The values of a Parquet column in some rows, each row group that has one of them read once."""
    from clframe.errors import unknown_name
    from clframe.selection.pool.parquet import opened

    for file in files:
        names = opened(str(file)).schema_arrow.names
        if name not in names:
            raise DataError(f"{file}: {unknown_name('column', name, names)}")

    def values(rows: Rows) -> list[Any]:
        found: dict[int, Any] = {}
        begin = 0
        for file in files:
            source = opened(str(file))
            for group in range(source.num_row_groups):
                end = begin + source.metadata.row_group(group).num_rows
                here = sorted({int(r) for r in rows if begin <= r < end})
                if here:
                    column = source.read_row_group(group, columns=[name]).column(0)
                    found.update((row, column[row - begin].as_py()) for row in here)
                begin = end
        return [found[int(row)] for row in rows]

    return values
