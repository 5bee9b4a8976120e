"""What a way to choose sees of the training samples of a stream: their inputs, principal components, or rows of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch

from clframe import registry
from clframe.data.hashing import spaced
from clframe.errors import DataError, bad_option, unknown_name
from clframe.selection.pool.vectors import Floats, Vectors
from clframe.types import Ids, Source

FITTED_ON = 10_000
"""Samples of an experience that principal components are found from, at most."""

Look = Callable[[Ids], Vectors]


@final
@dataclass(frozen=True)
class Looked:
    """Embeddings of some samples, each read when it is asked for: see `clframe.selection.pool.Vectors`.

    Attributes:
        ids: of the samples, in the order of the rows (n,).
        d: how long an embedding is.
        of: the embeddings (b, d) of some ids (b,).
        name: for messages.
    """

    ids: Ids
    d: int
    of: Callable[[Ids], Floats]
    name: str

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return len(self.ids), self.d

    def read(self, start: int, stop: int) -> Floats:
        """Rows start to stop - 1, in order."""
        return self.of(self.ids[start:stop])

    def take(self, rows: Ids) -> Floats:
        """Any rows, in the order asked for."""
        return self.of(self.ids[rows])

    def describe(self) -> dict[str, Any]:
        """Where they come from, and their shape."""
        return {"source": self.name, "shape": list(self.shape)}


def embedded(written: str | Path | npt.NDArray[Any], source: Source) -> Look:
    """What gives the embeddings of any samples of the source, by their ids.

    Args:
        written: "inputs", "pca(dimensions=50)", a .npy file or an array with one row for each sample of the source.
        source: of the samples.

    Raises:
        OptionError: something else is written.
        DataError: a file that is not there, or has not one row of numbers for each sample.

    Example:
        >>> from clframe.data import load
        >>> look = embedded("pca(dimensions=3)", load("digits").train)
        >>> look(np.arange(100)).take(np.array([4, 2])).shape
        (2, 3)
    """
    if not isinstance(written, str) or written.endswith(".npy"):
        values = of_each("embedding", written, len(source))
        rows = values.reshape(len(values), -1)
        return lambda ids: Looked(ids, rows.shape[1], lambda some: np.ascontiguousarray(rows[some], dtype=np.float32), "file")
    name, options = registry.parse(written)
    if name == "inputs" and not options:
        return lambda ids: _inputs(source, ids)
    if name == "pca":
        look: Look = registry.call("embedding", name, _pca, options, source=source)
        return look
    raise unknown_name("embedding", written, ("inputs", "pca(dimensions=50)", "FILE.npy"))


def of_each(what: str, values: str | Path | npt.NDArray[Any], n: int, least: float | None = None) -> npt.NDArray[Any]:
    """An array (n, ...), or what a .npy file holds: of numbers, where `least` is given finite ones of at least that.

    Raises:
        DataError: anything else.

    Example:
        >>> of_each("loss", np.array([0.5, -1.0]), 2, least=0.0)
        Traceback (most recent call last):
        clframe.errors.DataError: loss must be finite numbers of at least 0; got -1 for sample 1. Mend the values.
    """
    try:
        found = np.load(values, mmap_mode="r", allow_pickle=False) if isinstance(values, str | Path) else np.asarray(values)
    except (OSError, ValueError) as error:
        raise DataError(f"{what} must be a readable .npy file; got {error}. Write it with numpy.save.") from error
    if found.ndim == 0 or len(found) != n:
        got = "one value" if found.ndim == 0 else f"{len(found):,}"
        raise DataError(f"{what} must have one row for each of the {n:,} training samples; got {got}. Give it in their order.")
    if least is not None:
        numbers = found.reshape(n, -1)[:, 0] if found.dtype.kind in "iufb" and found.size == n else None
        if numbers is None:
            raise DataError(f"{what} must be one number for each sample; got {found.dtype} {found.shape}. Give it as (n,).")
        bad = ~(np.isfinite(numbers) & (numbers >= least))
        if bad.any():
            i, rule = int(np.flatnonzero(bad)[0]), f"finite numbers of at least {least:g}"
            raise DataError(f"{what} must be {rule}; got {numbers[i]:g} for sample {i}. Mend the values.")
        return numbers
    return found


def _inputs(source: Source, ids: Ids) -> Looked:
    """Inputs as the learner gets them, flattened."""

    def of(some: Ids) -> Floats:
        return source.fetch(torch.from_numpy(np.array(some, dtype=np.int64))).reshape(len(some), -1).cpu().numpy()

    return Looked(ids, int(np.prod(source.input_shape)), of, "inputs")


def _pca(source: Source, dimensions: int = 50) -> Look:
    """The first principal components of the inputs of one experience."""
    if dimensions < 1:
        raise bad_option("dimensions", "a positive integer", dimensions, "Give embedding=pca(dimensions=50).")

    def look(ids: Ids) -> Looked:
        from sklearn.decomposition import PCA

        inputs = _inputs(source, ids)
        sample = inputs.take(spaced(len(ids), FITTED_ON))
        d = min(dimensions, *sample.shape)
        found = PCA(n_components=d, svd_solver="randomized", random_state=0).fit(sample)
        return Looked(ids, d, lambda some: found.transform(inputs.of(some)).astype(np.float32), "pca")

    return look
