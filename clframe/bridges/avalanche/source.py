"""A clframe source over the samples of an Avalanche stream: read through Avalanche's transforms, when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks.utils.data import AvalancheDataset

from clframe.bridges.avalanche.generators import Generators
from clframe.bridges.avalanche.ids import Numbering, values
from clframe.bridges.avalanche.samples import SourceSamples
from clframe.data.lazy import CachedRows, LazySource
from clframe.data.normalise import plain_affine
from clframe.data.samples import Array, Samples
from clframe.errors import DataError
from clframe.eval.probe import CACHE_BYTES
from clframe.types import Ids, Source

LOOKED_AT, READINGS = 8, 3


class AvalancheRows:
    """Inputs by id, read through the transforms of the data sets that hold them.

    Args:
        datasets: with the transforms of the wanted group.
        dataset, place: of each id, the data set that holds it (N,) and where it stands there (N,).
    """

    def __init__(self, datasets: Sequence[AvalancheDataset[Any]], dataset: Ids, place: Ids) -> None:
        self._datasets, self._dataset, self._place = datasets, dataset, place
        self.shape: tuple[int, ...] = (len(dataset), *self._one(0).shape)

    def read(self, ids: Ids) -> Array:
        """The inputs (B, ...) with these ids, float32."""
        return np.stack([self._one(int(i)) for i in ids])

    def _one(self, i: int) -> Array:
        x = self._datasets[self._dataset[i]][int(self._place[i])][0]
        if not isinstance(x, torch.Tensor | np.ndarray):
            raise DataError(
                f"samples of an Avalanche benchmark must be tensors or arrays; got {type(x).__name__}. Give it a transform, such "
                "as torchvision.transforms.ToTensor(), for training and evaluation."
            )
        found: Array = np.asarray(x, dtype=np.float32)
        return found if found.ndim else found[None]


def source_of(
    name: str, datasets: Sequence[AvalancheDataset[Any]], group: str, classes: int | None = None
) -> tuple[Source, list[Ids]]:
    """The source of all samples of some data sets, and the ids of each in it.

    Ids are the rows of what was wrapped, where the data sets hold all of them; else the rank among those that they hold. Data sets
    that `benchmark` made give back the source that it was given.

    Raises:
        DataError: labels that are no integers, inputs that are no tensors, or that differ each time they are read.
    """
    numbering = Numbering()
    segments = [numbering.ids(data) for data in datasets]
    leaf = numbering.only_leaf
    if isinstance(leaf, SourceSamples):
        return leaf.source, segments
    known: dict[int, Ids] = {}
    labels = [values(data.targets, known) for data in datasets]
    held = np.zeros(numbering.total, dtype=np.bool_)
    dataset, place, y = (np.zeros(numbering.total, dtype=np.int64) for _ in range(3))
    for k, (ids, label) in enumerate(zip(segments, labels, strict=True)):
        clash = held[ids] & (y[ids] != label)
        if clash.any():
            raise DataError(
                f"{name}: a sample must have the same label wherever it comes; row {int(ids[clash][0])} has label "
                f"{int(y[ids[clash][0]])} and, in experience {k}, label {int(label[clash][0])}. Number classes once for the "
                "stream, not anew in each experience."
            )
        dataset[ids], place[ids], y[ids], held[ids] = k, np.arange(len(ids)), label, True
    rank = np.cumsum(held) - 1
    with Generators(0, "avalanche", "transforms").inside():  # the first input is read for its shape
        rows = AvalancheRows([data.with_transforms(group) for data in datasets], dataset[held], place[held])
    _refuse_drawing(name, rows, group)
    names = tuple(map(str, range(max(int(y[held].max()) + 1, classes or 0))))
    cached = CachedRows(rows, CACHE_BYTES)
    return LazySource(name, cached, Samples(y[held], names), plain_affine(torch.float32)), [rank[ids] for ids in segments]


def _refuse_drawing(name: str, rows: AvalancheRows, group: str) -> None:
    """Refuse transforms that draw at random: what a source delivers is a function of the id."""
    some = np.linspace(0, rows.shape[0] - 1, min(LOOKED_AT, rows.shape[0])).astype(np.int64)
    readings = []
    for seed in range(READINGS):
        with Generators(seed, "avalanche", "transforms").inside():
            readings.append(rows.read(some))
    if any(not np.array_equal(readings[0], other, equal_nan=True) for other in islice(readings, 1, None)):
        raise DataError(
            f"{name}: {group} transforms must give the same input each time; these draw at random. Give transforms='eval' to train "
            "on what the evaluation transforms give, or take the random ones out."
        )
