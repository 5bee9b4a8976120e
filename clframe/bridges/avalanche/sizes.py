"""What an Avalanche strategy keeps between two updates, beside its model and its optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avalanche.benchmarks.utils.data import AvalancheDataset
from torch import Tensor, nn

DEEPEST = 8


def state_bytes(strategy: Any, sample_bytes: int) -> int:
    """Bytes of every tensor and remembered sample that the strategy and its plugins hold; each object is counted once.

    Args:
        strategy: an Avalanche strategy, between two experiences.
        sample_bytes: of one sample: a memory of ids counts as if it stored them.
    """
    known = {id(p) for p in (*strategy.model.parameters(), *strategy.model.buffers())}
    known |= {id(strategy.model), id(strategy.optimizer), id(strategy.experience)}
    return sum(_bytes(value, sample_bytes, known, 0) for value in vars(strategy).values())


def _bytes(thing: Any, sample_bytes: int, known: set[int], depth: int) -> int:
    if id(thing) in known or depth > DEEPEST or thing is None or isinstance(thing, str | bytes | int | float | type):
        return 0
    known.add(id(thing))
    if isinstance(thing, Tensor):
        return thing.numel() * thing.element_size()
    if isinstance(thing, AvalancheDataset):
        return len(thing) * sample_bytes
    if isinstance(thing, nn.Module):
        return sum(_bytes(t, sample_bytes, known, depth + 1) for t in (*thing.parameters(), *thing.buffers()))
    if isinstance(thing, Mapping):
        return sum(_bytes(v, sample_bytes, known, depth + 1) for v in thing.values())
    if isinstance(thing, list | tuple | set):
        return sum(_bytes(v, sample_bytes, known, depth + 1) for v in thing)
    if type(thing).__module__.startswith("avalanche."):
        return sum(_bytes(v, sample_bytes, known, depth + 1) for v in vars(thing).values()) if hasattr(thing, "__dict__") else 0
    return 0
