"""Every row to its nearest centre, block by block."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from clframe.errors import unknown_name
from clframe.selection.clustering.cells import Cells
from clframe.selection.pool.vectors import Floats

Nearest = Callable[[Floats], Cells]
"""The nearest centre of each row of a block (b, d) -> (b,)."""

PROBE = 2048
"""Rows on which kernels are timed."""


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
    """faiss' exact search."""
    import faiss

    index = faiss.IndexFlatL2(centres.shape[1])
    index.add(np.ascontiguousarray(centres))

    def nearest(x: Floats) -> Cells:
        found: Cells = index.search(x, 1)[1][:, 0].astype(np.int32)
        return found

    return nearest


def by_product(centres: Floats, onednn: bool = False) -> Nearest:
    """The least of |c|^2 / 2 - x c over blocks of one matrix product, torch's usual or oneDNN's; around the mean centre."""
    middle = centres.mean(0, dtype=np.float64).astype(np.float32)
    c = torch.from_numpy(np.ascontiguousarray(centres - middle))
    bias = -(c.double().square().sum(1) / 2).float()
    product: Callable[..., torch.Tensor] = torch.nn.functional.linear
    if onednn:
        product = partial(torch.ops.mkldnn._linear_pointwise, attr="none", scalars=[], algorithm="")

    def nearest(x: Floats) -> Cells:
        with torch.no_grad():
            found: npt.NDArray[np.int32] = product(torch.from_numpy(x - middle), c, bias).argmax(1).to(torch.int32).numpy()
        return found

    return nearest


KERNELS: Mapping[str, Callable[[Floats], Nearest]] = {
    "faiss": by_faiss,
    "torch": by_product,
    "onednn": partial(by_product, onednn=True),
}


def kernel(name: str, centres: Floats, sample: Floats) -> tuple[str, Nearest]:
    """What finds the nearest centres: a kernel by name, or with "auto" the fastest on some rows of this pool.

    Args:
        name: "faiss", "torch", "onednn" or "auto".
        centres: (k, d).
        sample: rows to time them on.

    Returns:
        Its name, for the manifest, and the kernel. They differ in rounding alone: between two centres that are equally near.

    Raises:
        OptionError: an unknown name.
    """
    if name != "auto":
        if name not in KERNELS:
            raise unknown_name("kernel", name, ["auto", *KERNELS])
        return name, KERNELS[name](centres)
    took: dict[str, float] = {}
    made: dict[str, Nearest] = {}
    for one, make in KERNELS.items():
        try:
            made[one] = make(centres)
            made[one](sample[:64])
            begun = time.perf_counter()
            made[one](sample[:PROBE])
            took[one] = time.perf_counter() - begun
        except (RuntimeError, AttributeError, TypeError):  # no oneDNN in this build of torch
            continue
    best = min(took, key=took.__getitem__)
    return best, made[best]
