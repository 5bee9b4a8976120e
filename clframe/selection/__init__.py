"""Choosing what to keep: replay memories, and (as they land) samplers and coresets that speak the same language."""

from __future__ import annotations

import torch

from clframe.errors import unknown_name
from clframe.selection.class_balanced import ClassBalanced
from clframe.selection.memory import Memory
from clframe.selection.reservoir import Reservoir

MEMORIES: dict[str, type[Memory]] = {"reservoir": Reservoir, "class-balanced": ClassBalanced}


def memory(kind: str, size: int, generator: torch.Generator) -> Memory:
    """A replay memory by name: "reservoir" or "class-balanced".

    Example:
        >>> memory("reservoir", 500, torch.Generator()).size
        500
    """
    if kind not in MEMORIES:
        raise unknown_name("memory", kind, MEMORIES)
    return MEMORIES[kind](size, generator)


__all__ = ["MEMORIES", "ClassBalanced", "Memory", "Reservoir", "memory"]
