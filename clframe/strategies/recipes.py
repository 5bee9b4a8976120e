"""Named compositions: baselines and upper bounds. A method with an idea of its own has a file of its own."""

from __future__ import annotations

from clframe.strategies.part import Recipe


def finetune() -> Recipe:
    """Train on what comes, do nothing about forgetting: the lower bound."""
    return Recipe()


def cumulative() -> Recipe:
    """Train each experience on its data and all data before it: an upper bound, at a cost that grows with the stream."""
    return Recipe(stream="cumulative")


def joint() -> Recipe:
    """Train on the whole stream at once, in the updates that the stream gives: an upper bound if these are enough."""
    return Recipe(stream="joint")
