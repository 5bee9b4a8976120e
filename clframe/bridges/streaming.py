"""Streaming data sets of Hugging Face, kept on the disk as far as they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clframe.errors import DataError

if TYPE_CHECKING:
    import datasets


def landed(data: datasets.IterableDataset, rows: int, folder: str | Path) -> datasets.Dataset:
    """The first rows of a streaming data set, in an Arrow file: a stream of experiences must find its samples again.

    Args:
        data: the streaming data set.
        rows: how many; fewer where it ends before.
        folder: for the file, which is memory-mapped and written whole or not at all; what is there is read.

    Raises:
        DataError: no rows.

    Example:
        >>> import datasets, tempfile
        >>> table = datasets.Dataset.from_dict({"u": range(10), "label": ["a", "b"] * 5})
        >>> landed(table.to_iterable_dataset(), 4, tempfile.mkdtemp())["u"][:]
        [0, 1, 2, 3]
    """
    import datasets
    from datasets.arrow_writer import ArrowWriter

    target = Path(folder) / f"first-{rows}.arrow"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        writer = ArrowWriter(path=str(part), features=data.features)
        written = 0
        for row in data.take(rows):
            writer.write(data.features.encode_example(row) if data.features is not None else row)
            written += 1
        if not written:
            raise DataError("the streaming data set must have rows; it has none. Check the filter before it.")
        writer.finalize()
        part.replace(target)
    return datasets.Dataset.from_file(str(target))
