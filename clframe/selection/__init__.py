"""Choosing what to keep: replay memories, and weighted coresets of a pool of samples."""

from __future__ import annotations

import torch

from clframe.errors import unknown_name
from clframe.selection.class_balanced import ClassBalanced
from clframe.selection.coreset import Coreset, load
from clframe.selection.estimate import Estimate
from clframe.selection.greedy import Greedy
from clframe.selection.herding import Herding, herd
from clframe.selection.losses import Losses
from clframe.selection.memory import Memory
from clframe.selection.pool import Pool, open_pool, pool_of
from clframe.selection.reservoir import Reservoir
from clframe.selection.ring import Ring
from clframe.selection.selecting import select

MEMORIES: dict[str, type[Memory]] = {
    "reservoir": Reservoir,
    "class-balanced": ClassBalanced,
    "ring": Ring,
    "greedy": Greedy,
    "herding": Herding,
}


def memory(kind: str, size: int, generator: torch.Generator) -> Memory:
    """A replay memory by name: "reservoir", "class-balanced", "ring", "greedy" or "herding".

    Example:
        >>> memory("reservoir", 500, torch.Generator()).size
        500
    """
    if kind not in MEMORIES:
        raise unknown_name("memory", kind, MEMORIES)
    return MEMORIES[kind](size, generator)


__all__ = [
    "MEMORIES",
    "ClassBalanced",
    "Coreset",
    "Estimate",
    "Greedy",
    "Herding",
    "Losses",
    "Memory",
    "Pool",
    "Reservoir",
    "Ring",
    "herd",
    "load",
    "memory",
    "open_pool",
    "pool_of",
    "select",
]
