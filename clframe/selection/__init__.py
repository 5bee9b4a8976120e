"""Choosing what to keep: replay memories, and (as they land) samplers and coresets that speak the same language."""

from __future__ import annotations

import torch

from clframe.errors import unknown_name
from clframe.selection.class_balanced import ClassBalanced
from clframe.selection.greedy import Greedy
from clframe.selection.herding import Herding, herd
from clframe.selection.memory import Memory
from clframe.selection.reservoir import Reservoir
from clframe.selection.ring import Ring

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


__all__ = ["MEMORIES", "ClassBalanced", "Greedy", "Herding", "Memory", "Reservoir", "Ring", "herd", "memory"]
