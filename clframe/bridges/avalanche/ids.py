"""Which samples an Avalanche data set holds: the leaf of its tree, the row there, and the transforms on the way up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from avalanche.benchmarks.utils.data import AvalancheDataset
from avalanche.benchmarks.utils.data_attribute import DataAttribute
from avalanche.benchmarks.utils.flat_data import ConstantSequence, FlatData
from torch.utils.data import ConcatDataset, Subset

from clframe.errors import DataError
from clframe.types import Ids

GROUPS = ("train", "eval")


@dataclass(frozen=True)
class Stretch:
    """Samples of one data set that lie in one leaf, below the same transforms.

    Attributes:
        leaf: what holds the samples: whatever was first wrapped.
        transforms: every transform on the way up, the innermost first.
        rows: rows of the leaf (n,).
        places: where each stands in the data set (n,).
    """

    leaf: Any
    transforms: tuple[Any, ...]
    rows: Ids
    places: Ids

    @property
    def key(self) -> tuple[int, ...]:
        """Equal for stretches whose equal rows are the same sample."""
        return (id(self.leaf), *map(id, self.transforms))


def stretches(data: AvalancheDataset[Any]) -> Iterator[Stretch]:
    """The samples of a data set, without reading any."""
    everything = np.arange(len(data), dtype=np.int64)
    yield from _walk(data._flat_data, everything, everything, ())


def values(attribute: DataAttribute[Any], known: dict[int, Ids]) -> Ids:
    """The integers of a data attribute (n,), such as `dataset.targets`; `known` keeps what was read of each leaf.

    Raises:
        DataError: they are no integers.
    """
    found = np.empty(len(attribute), dtype=np.int64)
    everything = np.arange(len(attribute), dtype=np.int64)
    for stretch in _walk(attribute._data, everything, everything, ()):
        if id(stretch.leaf) not in known:
            known[id(stretch.leaf)] = _integers(stretch.leaf, attribute.name)
        found[stretch.places] = known[id(stretch.leaf)][stretch.rows]
    return found


@dataclass
class Numbering:
    """Ids for samples: those of one leaf below the same transforms lie side by side, in the order of their rows.

    So a benchmark that was split from one data set keeps that data set's rows as ids, and a sample that comes twice, as in an
    online stream, has one id.
    """

    starts: dict[tuple[int, ...], int] = field(default_factory=dict)
    views: list[Stretch] = field(default_factory=list)
    total: int = 0

    def ids(self, data: AvalancheDataset[Any]) -> Ids:
        """Ids of the samples of a data set (n,), in its order."""
        found = np.empty(len(data), dtype=np.int64)
        for stretch in stretches(data):
            if stretch.key not in self.starts:
                self.starts[stretch.key] = self.total
                self.views.append(stretch)  # which keeps the leaf alive, and so its key
                self.total += len(stretch.leaf)
            found[stretch.places] = self.starts[stretch.key] + stretch.rows
        return found

    @property
    def only_leaf(self) -> Any:
        """The leaf that all samples are taken from as they are; None where there are several, or transforms."""
        return self.views[0].leaf if len(self.views) == 1 and not self.views[0].transforms else None


def _walk(node: Any, rows: Ids, places: Ids, transforms: tuple[Any, ...]) -> Iterator[Stretch]:
    if type(node) is Subset:
        yield from _walk(node.dataset, np.asarray(node.indices, dtype=np.int64)[rows], places, transforms)
        return
    if isinstance(node, FlatData):
        if node._indices is not None:
            rows = np.fromiter(node._indices, dtype=np.int64, count=len(node._indices))[rows]
        transforms = (*_transforms(node), *transforms)
        parts, ends = node._datasets, node._cumulative_sizes
    elif type(node) is ConcatDataset:
        parts, ends = node.datasets, node.cumulative_sizes
    else:
        yield Stretch(node, transforms, rows, places)
        return
    part = np.searchsorted(ends, rows, side="right")
    for p in np.unique(part):
        here = part == p
        yield from _walk(parts[p], rows[here] - (ends[p - 1] if p else 0), places[here], transforms)


def _transforms(node: FlatData[Any]) -> Iterator[Any]:
    """Transforms of one node, in the order in which Avalanche applies them."""
    for groups in (getattr(node, "_frozen_transform_groups", None), getattr(node, "_transform_groups", None)):
        if groups is not None:
            yield from (t for t in (groups[name] for name in GROUPS) if t is not None)


def _integers(leaf: Any, name: str) -> Ids:
    if isinstance(leaf, ConstantSequence):
        return np.full(len(leaf), int(leaf[0]), dtype=np.int64)
    try:
        return np.asarray([int(value) for value in leaf], dtype=np.int64)
    except (TypeError, ValueError) as error:
        rule = f"{name} of an Avalanche data set must be integers"
        raise DataError(f"{rule}; {error}. Give class numbers, as classification benchmarks have them.") from error
