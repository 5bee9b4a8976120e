"""Every row to its nearest centre, block by block."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from clframe.errors import unknown_name
from clframe.selection.clustering.cells import Cells
from clframe.selection.draws.draw import Rows
from clframe.selection.pool.vectors import Floats

Nearest = Callable[[Floats], Cells]
"""The nearest centre of each row of a block (b, d) -> (b,)."""

PROBE = 2048
"""Rows on which kernels are timed, in CPU time: that of a busy machine says little by the clock."""
TRIES = 3
"""Times that each is timed; the shortest counts."""
PRODUCTS = 2**21
"""Products of rows and centres that are held at once: some 8 MB, so that they are still in the cache when they are compared."""
PAIRS = 2**21
"""Numbers in the differences that are held at once."""


def assign(x: Floats, centres: Floats, nearest: Nearest) -> tuple[Cells, Floats]:
    """The nearest centre of each row, and ||x - c||^2 to it, which is taken from the difference and not from products.

    Args:
        x: (b, d).
        centres: (k, d).
        nearest: what finds them.

    Example:
        >>> centres = np.array([[0.0, 0.0], [4.0, 0.0]], dtype=np.float32)
        >>> cell, distance = assign(np.array([[1.0, 0.0], [5.0, 2.0]], dtype=np.float32), centres, by_faiss(centres))
        >>> cell.tolist(), distance.tolist()
        ([0, 1], [1.0, 5.0])
    """
    cell = nearest(x)
    difference = x - centres[cell]
    return cell, np.einsum("bd,bd->b", difference, difference)


def by_faiss(centres: Floats) -> Nearest:
    """faiss' exact search for the two nearest; the differences decide where these are too close to tell."""
    import faiss

    kept, own = distinct(centres)
    index = faiss.IndexFlatL2(own.shape[1])
    index.add(own)
    half, longest = np.einsum("kd,kd->k", own, own) / 2, _longest(own)

    def nearest(x: Floats) -> Cells:
        distance, found = index.search(x, min(2, len(own)))
        best = found[:, 0]
        slack = _slack(x, longest)
        unsure = np.flatnonzero(~(distance[:, -1] - distance[:, 0] > 2 * slack)) if len(own) > 1 else best[:0]
        step = max(1, PRODUCTS // len(own))
        for start in range(0, len(unsure), step):
            part = unsure[start : start + step]
            score = x[part] @ own.T - half
            best[part] = closest(x[part], own, score, score.max(1) - slack[part])
        cell: Cells = kept[best]
        return cell

    return nearest


def by_product(centres: Floats, onednn: bool = False) -> Nearest:
    """The largest of x c - |c|^2 / 2 over blocks of one matrix product, torch's usual or oneDNN's; around the mean centre.

    A product of two vectors of d numbers is off by at most d u |x| |c|, u = 2^-24, however it is summed. Where the two largest
    scores are closer than twice what they can be off by, the differences decide, in double precision; of centres equally near the
    first is taken. So the cell of a row depends neither on the kernel nor on threads, blocks or the machine.
    """
    kept, own = distinct(centres)
    middle = own.mean(0, dtype=np.float64).astype(np.float32)
    c = torch.from_numpy(own - middle)
    bias = -(c.double().square().sum(1) / 2).float()
    longest = _longest(c.numpy())
    product: Callable[..., torch.Tensor] = torch.nn.functional.linear
    if onednn:
        product = partial(torch.ops.mkldnn._linear_pointwise, attr="none", scalars=[], algorithm="")
    step = max(64, min(4096, PRODUCTS // len(own)))

    def some(x: Floats) -> npt.NDArray[np.intp]:
        moved = x - middle
        score = product(torch.from_numpy(moved), c, bias).numpy()
        best: npt.NDArray[np.intp] = score.argmax(1)
        every = np.arange(len(x))
        top = score[every, best]
        score[every, best] = -np.inf
        limit = top - _slack(moved, longest)
        unsure = np.flatnonzero(~(score.max(1) < limit))
        if len(unsure):
            score[every, best] = top
            best[unsure] = closest(x[unsure], own, score[unsure], limit[unsure])
        return best

    def nearest(x: Floats) -> Cells:
        with torch.no_grad():
            parts = [kept[some(x[start : start + step])] for start in range(0, len(x), step)]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)

    return nearest


def distinct(centres: Floats) -> tuple[Cells, Floats]:
    """The first of each set of equal centres: their numbers, in ascending order, and themselves.

    Example:
        >>> distinct(np.array([[1.0], [0.0], [1.0]], dtype=np.float32))[0].tolist()
        [0, 1]
    """
    first = np.sort(np.unique(centres, axis=0, return_index=True)[1])
    return first.astype(np.int32), np.ascontiguousarray(centres[first])


def closest(x: Floats, centres: Floats, score: Floats, limit: Floats) -> Rows:
    """Of the centres whose score reaches the limit the one with the least ||x - c||^2, in double precision; the first of several.

    Args:
        x: (b, d).
        centres: (k, d).
        score: (b, k).
        limit: (b,).

    Example:
        >>> x, centres = np.zeros((1, 1), dtype=np.float32), np.array([[2.0], [1.0], [-1.0]], dtype=np.float32)
        >>> closest(x, centres, np.zeros((1, 3), dtype=np.float32), np.zeros(1, dtype=np.float32)).tolist()
        [1]
    """
    row, which = np.nonzero(~(score < limit[:, None]))  # and what is not a number
    exact = np.empty(len(row))
    step = max(1, PAIRS // x.shape[1])
    for start in range(0, len(row), step):
        here = slice(start, start + step)
        gap = x[row[here]].astype(np.float64) - centres[which[here]]
        exact[here] = np.einsum("bd,bd->b", gap, gap)
    order = np.lexsort((which, exact, row))
    first = order[np.concatenate([[True], np.diff(row[order]) > 0])]
    found: Rows = which[first].astype(np.int64)
    return found


def _longest(centres: Floats) -> float:
    return float(np.sqrt(np.einsum("kd,kd->k", centres, centres, dtype=np.float64).max()))


def _slack(x: Floats, longest: float) -> Floats:
    """How far two scores can be apart and yet be in the wrong order: twice what one can be off by."""
    length = np.sqrt(np.einsum("bd,bd->b", x, x))
    found: Floats = (0.5 * (x.shape[1] + 8) * np.finfo(np.float32).eps * (length + longest) ** 2).astype(np.float32)
    return found


KERNELS: Mapping[str, Callable[[Floats], Nearest]] = {
    "faiss": by_faiss,
    "torch": by_product,
    "onednn": partial(by_product, onednn=True),
}


def made(name: str, centres: Floats) -> Nearest:
    """A kernel by name; torch's product where this machine has no oneDNN, which finds the same."""
    if name != "onednn":
        return KERNELS[name](centres)
    nearest = KERNELS[name](centres)
    try:
        nearest(centres[:1])
    except (RuntimeError, AttributeError, TypeError):
        return by_product(centres)
    return nearest


def kernel(name: str, centres: Floats, sample: Floats) -> tuple[str, Nearest]:
    """What finds the nearest centres: a kernel by name, or with "auto" the fastest on some rows of this pool.

    Args:
        name: "faiss", "torch", "onednn" or "auto".
        centres: (k, d).
        sample: rows to time them on.

    Returns:
        Its name, for the manifest, and the kernel. All of them find the same centres.

    Raises:
        OptionError: an unknown name.
    """
    if name != "auto":
        if name not in KERNELS:
            raise unknown_name("kernel", name, ["auto", *KERNELS])
        return name, KERNELS[name](centres)
    took: dict[str, float] = {}
    ready: dict[str, Nearest] = {}
    for one, make in KERNELS.items():
        try:
            ready[one] = make(centres)
            ready[one](sample[:64])
        except (RuntimeError, AttributeError, TypeError):  # no oneDNN in this build of torch
            ready.pop(one, None)
    for _ in range(TRIES):
        for one, nearest in ready.items():
            begun = time.process_time()
            nearest(sample[:PROBE])
            took[one] = min(took.get(one, math.inf), time.process_time() - begun)
    best = min(took, key=took.__getitem__)
    return best, ready[best]
