"""Samples out of memory: rows are read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, final

import numpy as np
import torch
from torch import Tensor

from clframe.data.dataset import Dataset, Subset, strata, stratified_ids
from clframe.data.hashing import fingerprint, spaced
from clframe.data.normalise import Affine, fit_affine
from clframe.data.samples import Array, Samples
from clframe.types import Ids

SAMPLED_ROWS = 1_000  # read for a fingerprint
MEASURED_ROWS = 5_000  # read for mean and standard deviation


class Rows(Protocol):
    """Where rows come from: a memory-mapped file, image files, an Arrow table.

    Attributes:
        shape: shape of all rows (N, ...).
    """

    shape: tuple[int, ...]

    def read(self, ids: Ids) -> Array:
        """The rows (B, ...) with these ids: uint8 or float32, images with channels first."""
        ...


@final
class LazySource:
    """Samples whose inputs are read on `fetch`, so that they need not fit into memory.

    Args:
        name: a short name for messages.
        rows: reads inputs by id.
        samples: labels and companions.
        affine: stored values to inputs.
        device: where batches are delivered.
    """

    def __init__(self, name: str, rows: Rows, samples: Samples, affine: Affine, device: torch.device | None = None) -> None:
        self.name = name
        self.y, self.task, self.weight, self.columns = samples.y, samples.task, samples.weight, samples.columns
        self.class_names = samples.class_names
        self.input_shape = tuple(rows.shape[1:])
        self.device = device or torch.device("cpu")
        self._rows, self._samples, self._affine = rows, samples, affine.to(self.device)
        self._fingerprint: str | None = None

    def __len__(self) -> int:
        return len(self.y)

    def fetch(self, index: Tensor) -> Tensor:
        """Inputs (B, *input_shape), float32, of the ids (B,), on the source's device."""
        rows = torch.from_numpy(np.ascontiguousarray(self._rows.read(index.cpu().numpy())))
        return self._affine(rows.to(self.device))

    def to(self, device: torch.device) -> LazySource:
        """The same samples, delivered on `device`."""
        if torch.device(device) == self.device:
            return self
        moved = LazySource(self.name, self._rows, self._samples, self._affine, torch.device(device))
        moved._fingerprint = self._fingerprint
        return moved

    def fingerprint(self) -> str:
        """A hash of shape, labels, companions, normalisation and 1,000 evenly spaced rows, not of every row; computed once."""
        if self._fingerprint is None:
            rows = self._rows.read(spaced(len(self), SAMPLED_ROWS))
            pieces = (self._rows.shape, *self._samples.parts(), *self._affine.parts())
            self._fingerprint = fingerprint(rows, *pieces)
        return self._fingerprint


@final
class CachedRows:
    """Keeps rows that were read once, in their stored type, where all of them together fit into `limit` bytes.

    Args:
        rows: reads inputs by id; all rows of one type.
        limit: most bytes to keep; 0 keeps nothing.
    """

    def __init__(self, rows: Rows, limit: int = 1 << 30) -> None:
        self.shape = rows.shape
        self._rows, self._limit = rows, limit
        self._kept: Array | None = None
        self._known = np.zeros(rows.shape[0], dtype=bool)

    def read(self, ids: Ids) -> Array:
        """The rows (B, ...) with these ids."""
        if self._kept is None:
            first = self._rows.read(ids)
            if int(np.prod(self.shape)) * first.itemsize > self._limit:
                return first
            self._kept = np.empty(self.shape, dtype=first.dtype)
            self._kept[ids], self._known[ids] = first, True
            return first
        missing = np.unique(ids[~self._known[ids]])
        if len(missing):
            self._kept[missing], self._known[missing] = self._rows.read(missing), True
        return self._kept[ids]


def lazy_dataset(
    name: str,
    parts: Sequence[tuple[Rows, Samples]],
    *,
    standardise: bool | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    allow_missing: bool = False,
) -> Dataset:
    """A data set from one part, split by stratum into views, or from a training and a test part.

    Mean and standard deviation come from at most 5,000 evenly spaced training rows.
    """
    rows, samples = parts[0]
    train_ids, test_ids = np.arange(len(samples), dtype=np.int64), None
    if len(parts) == 1:
        train_ids, test_ids = stratified_ids(strata(samples.y, samples.task, samples.columns), test_fraction, seed)
    measured = torch.from_numpy(np.ascontiguousarray(rows.read(train_ids[spaced(len(train_ids), MEASURED_ROWS)])))
    affine = fit_affine(measured, standardise=standardise, mean=mean, std=std)
    first = LazySource(name, rows, samples, affine)
    if test_ids is not None:
        return Dataset(name, Subset(first, train_ids), Subset(first, test_ids), allow_missing)
    return Dataset(name, first, LazySource(name, *parts[1], affine), allow_missing)
