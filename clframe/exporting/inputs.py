"""What an exported model takes: the shape of a sample, and how stored values become it."""

from __future__ import annotations

from typing import Any

from clframe.data import Subset
from clframe.data.normalise import Affine
from clframe.types import Source


def describe(source: Source) -> dict[str, Any]:
    """The inputs as the strategy gets them: shape, type and, where the data set knows, input = stored * scale + shift.

    Where a stream changes its inputs, as one of permuted pixels does, only what changes them is named.

    Example:
        >>> from clframe.data import load
        >>> found = describe(load("digits").test)
        >>> found["shape"], sorted(found["normalisation"])
        ([1, 8, 8], ['rule', 'scale', 'shift'])
    """
    held: Any = source
    while isinstance(held, Subset):
        held = held.source
    affine = getattr(held, "_affine", None)  # of sources in memory and of those that read as they go
    normalisation = None
    if isinstance(affine, Affine):
        scale, shift = affine.parts()
        normalisation = {"rule": "input = stored * scale + shift", "scale": _plain(scale), "shift": _plain(shift)}
    changed = None if normalisation is not None else type(held).__name__
    return {"shape": list(source.input_shape), "dtype": "float32", "normalisation": normalisation, "changed_by": changed}


def _plain(value: Any) -> Any:
    return value.tolist()
