"""Choosing what to keep: replay memories, and weighted coresets of a pool of samples."""

from __future__ import annotations

import torch

from clframe import registry
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
from clframe.selection.varopt_memory import VarOpt

MEMORIES: dict[str, type[Memory]] = {
    "reservoir": Reservoir,
    "class-balanced": ClassBalanced,
    "ring": Ring,
    "greedy": Greedy,
    "herding": Herding,
    "varopt": VarOpt,
}


def memory(kind: str, size: int, generator: torch.Generator) -> Memory:
    """A replay memory by name: "reservoir", "class-balanced", "ring", "greedy", "herding" or "varopt", with options in brackets.

    Raises:
        OptionError: an unknown name or option.

    Example:
        >>> memory("reservoir", 500, torch.Generator()).size, memory("varopt(mixture=0.2)", 500, torch.Generator()).mixture
        (500, 0.2)
    """
    name, options = registry.parse(kind)
    if name not in MEMORIES:
        raise unknown_name("memory", name, MEMORIES)
    made: Memory = registry.call("memory", name, MEMORIES[name], options, size=size, generator=generator)
    return made


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
    "VarOpt",
    "herd",
    "load",
    "memory",
    "open_pool",
    "pool_of",
    "select",
]
