"""Who owns which weights of one network: per layer and task what is taken, shared and free, and how the subnets overlap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

ALL = "all"
"""In the column `layer` of the overlap: all layers together."""
COLUMNS = ("task", "layer", "size", "own", "shared", "used", "free")
PAIRS = ("task", "other", "layer", "both", "either", "jaccard")
_BYTES = 1 << 16

Tables = dict[str, "pd.DataFrame"]


def tables(masks: Iterable[tuple[int, Mapping[str, Tensor]]]) -> Tables:
    """The capacity that tasks take of one network, from their masks M_t alone, in the order in which they finished.

    "capacity", one row a task and layer of `size` weights:

        used_t   = |M_1 or ... or M_t|       owned by this task or an earlier one
        own_t    = used_t - used_(t-1)       newly taken by this task
        shared_t = |M_t| - own_t             of this task, owned by an earlier one: used as it is, frozen
        free_t   = size - used_t             left for later tasks

    "overlap", one row a layer and pair of tasks, `other` the later one; where `layer` is "all", over all layers:

        both = |M_i and M_j|,   either = |M_i or M_j|,   jaccard = both / either,   NaN where neither has a weight

    Args:
        masks: (task, its masks by layer, bool), read once and one after the other; all have the same layers.

    Returns:
        {"capacity": the one table, "overlap": the other}, counts as int64.

    Example:
        >>> import torch
        >>> one, two = torch.tensor([True, True, False, False]), torch.tensor([False, True, True, False])
        >>> found = tables([(0, {"w": one}), (1, {"w": two})])
        >>> found["capacity"].iloc[1].to_dict()
        {'task': 1, 'layer': 'w', 'size': 4, 'own': 1, 'shared': 1, 'used': 3, 'free': 1}
        >>> found["overlap"].jaccard.round(3).tolist()
        [0.333, 0.333]
    """
    tasks: list[int] = []
    bits: dict[str, list[npt.NDArray[np.uint8]]] = {}
    sizes: dict[str, int] = {}
    for task, of_task in masks:
        tasks.append(task)
        for layer, mask in of_task.items():
            sizes[layer] = mask.numel()
            bits.setdefault(layer, []).append(np.packbits(mask.flatten().cpu().numpy()))
    rows: list[tuple[Any, ...]] = []
    pairs: list[tuple[Any, ...]] = []
    together = np.zeros((len(tasks), len(tasks)), dtype=np.int64)
    for layer, packed in bits.items():
        common = _common(np.stack(packed))
        together += common
        pairs += _pairs(tasks, layer, common)
        used = [int(np.unpackbits(u).sum()) for u in np.bitwise_or.accumulate(np.stack(packed))]
        for t, (before, after) in enumerate(zip([0, *used], used, strict=False)):
            own, size = after - before, sizes[layer]
            rows.append((tasks[t], layer, size, own, int(common[t, t]) - own, after, size - after))
    order = {task: i for i, task in enumerate(tasks)}
    rows.sort(key=lambda row: order[row[0]])
    return {"capacity": _frame(rows, COLUMNS), "overlap": _frame(pairs + _pairs(tasks, ALL, together), PAIRS)}


def _common(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """|M_i and M_j| (T, T) of masks as bits (T, bytes): products of 0 and 1, in blocks small enough to be exact in float32."""
    found = np.zeros((len(packed), len(packed)), dtype=np.int64)
    for start in range(0, packed.shape[1], _BYTES):
        block = np.unpackbits(packed[:, start : start + _BYTES], axis=1).astype(np.float32)
        found += (block @ block.T).astype(np.int64)
    return found


def _pairs(tasks: list[int], layer: str, common: npt.NDArray[np.int64]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for i, j in zip(*np.triu_indices(len(tasks), k=1), strict=True):
        both = int(common[i, j])
        either = int(common[i, i] + common[j, j]) - both
        found.append((tasks[i], tasks[j], layer, both, either, both / either if either else float("nan")))
    return found


def _frame(rows: list[tuple[Any, ...]], columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    kinds = {c: "float64" if c == "jaccard" else "int64" for c in columns if c != "layer"}
    return pd.DataFrame(rows, columns=list(columns)).astype(kinds)
