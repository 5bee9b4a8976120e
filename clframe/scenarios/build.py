"""Small pieces that every kind of stream is built from: ids by class, shares, held-out samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clframe.data import Dataset, load
from clframe.errors import bad_option
from clframe.seeding import rng
from clframe.types import Ids, Source


def dataset(data: Dataset | str) -> Dataset:
    """A data set given as an object or by name."""
    return load(data) if isinstance(data, str) else data


def ids_by_class(source: Source) -> list[Ids]:
    """Ids of each class, ascending: one sort for all classes."""
    y = np.asarray(source.y)
    by_class = np.argsort(y, kind="stable").astype(np.int64)
    ends = np.cumsum(np.bincount(y, minlength=len(source.class_names)))
    return np.split(by_class, ends[:-1])


def held_out(segments: Sequence[Ids], y: Ids, share: float, seed: int) -> tuple[list[Ids], list[Ids]]:
    """Split each segment into (kept, held out), stratified by class; at least one sample of each class is kept.

    Raises:
        OptionError: a share outside [0, 1).
    """
    if not 0.0 <= share < 1.0:
        raise bad_option("validation", "a share in [0, 1)", share, "Give validation=0.1 for a tenth of each experience.")
    if share == 0.0:
        return list(segments), []
    kept, held = [], []
    for k, ids in enumerate(segments):
        draw = rng(seed, "validation", k).permutation(len(ids))
        labels = y[ids[draw]]
        rank = np.empty(len(ids), dtype=np.int64)
        for label in np.unique(labels):
            where = np.flatnonzero(labels == label)
            rank[draw[where]] = np.arange(len(where)) < min(round(share * len(where)), len(where) - 1)
        chosen = rank.astype(np.bool_)
        kept.append(ids[~chosen])
        held.append(ids[chosen])
    return kept, held
