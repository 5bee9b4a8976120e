"""Comparing plain states bit by bit, and copying what an object holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clframe.snapshot import copied
from clframe.types import Stateful

PLAIN = (bool, int, float, str, type(None))


def difference(a: Any, b: Any, where: str = "") -> str | None:
    """Where two plain states differ first, bit for bit; None where they are the same.

    Example:
        >>> difference({"x": [1.0, 2.0]}, {"x": [1.0, 2.5]})
        'x[1]: 2.0 and 2.5'
    """
    place = where or "value"
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return None if same_bits(a, b) else f"{place}: {_tensors(a, b)}"
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return None if a.dtype == b.dtype and np.array_equal(a, b) else f"{place}: arrays that differ"
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if set(a) != set(b):
            return f"{place}: only one of them has {sorted(map(str, set(a) ^ set(b)))}"
        found = (difference(a[k], b[k], f"{where}.{k}" if where else str(k)) for k in a)
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) != len(b):
            return f"{place}: {len(a)} and {len(b)} entries"
        found = (difference(x, y, f"{where}[{i}]") for i, (x, y) in enumerate(zip(a, b, strict=True)))
    else:
        return None if type(a) is type(b) and (a == b or (a != a and b != b)) else f"{place}: {a!r} and {b!r}"
    return next((d for d in found if d is not None), None)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bytes."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    a, b = (t.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for t in (a, b))
    return torch.equal(a, b)


def held(thing: object, *, public: bool) -> dict[str, Any]:
    """What the attributes of an object hold, as a plain state; what has no value (functions, views) is left out.

    Args:
        thing: the object.
        public: leave out the attributes whose names begin with an underscore.
    """
    defaults = {n: v for c in type(thing).__mro__ for n, v in vars(c).items() if type(v) in (bool, int, float)}
    found = {n: _value(getattr(thing, n)) for n in {**defaults, **vars(thing)} if not (public and n.startswith("_"))}
    return {n: v for n, v in found.items() if v is not NotImplemented}


def generators(thing: object) -> dict[str, Any]:
    """The state of every random generator that is an attribute of the object."""
    kinds = (torch.Generator, np.random.Generator)
    return {name: _value(value) for name, value in vars(thing).items() if isinstance(value, kinds)}


def _value(value: object) -> Any:
    if isinstance(value, Tensor | np.ndarray):
        return copied(value)
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, Mapping):
        return {str(k): v for k, v in ((k, _value(v)) for k, v in value.items()) if v is not NotImplemented}
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, Sequence):
        return [v for v in map(_value, value) if v is not NotImplemented]
    if isinstance(value, nn.Module | Stateful):
        return copied(value.state_dict())
    return NotImplemented


def _tensors(a: Tensor, b: Tensor) -> str:
    if a.dtype != b.dtype or a.shape != b.shape:
        return f"{a.dtype} {tuple(a.shape)} and {b.dtype} {tuple(b.shape)}"
    apart = (a.detach().cpu().double() - b.detach().cpu().double()).abs()
    return f"{int((apart != 0).sum())} of {apart.numel()} values differ, by up to {float(apart.nan_to_num().max()):.3g}"
