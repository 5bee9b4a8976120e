"""Filling a memory at the end of an experience, and whether it is large enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from clframe.errors import bad_option
from clframe.seeding import isolated

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network
    from clframe.selection import Memory
    from clframe.types import Batch, Train

CHUNK = 256


def enough_for_every_class(size: int, model: Network) -> None:
    """Refuse a memory that cannot hold one sample of each class.

    Raises:
        OptionError: `size` is smaller than the number of classes.
    """
    if size < model.num_classes:
        rule = f"at least the number of classes, {model.num_classes}, so that none is missing from the memory"
        raise bad_option("size", rule, size, f"Give size={20 * model.num_classes}.")


def fill_from(train: Train, memory: Memory, model: Network) -> int:
    """Offer all samples of the experience to the memory: with their losses or features by the model as it is, where it needs them.

    Returns:
        The samples that went through the model.
    """
    if memory.scored:
        return _merge(train, memory, model)
    settled = []
    for batch in train.batches(CHUNK):
        memory.update(batch.index, batch.y)
        if memory.settles:
            with isolated(model), torch.no_grad():
                settled.append((batch.index, batch.y, model.features(batch.x)))
    if settled:
        memory.settle(*(torch.cat(column) for column in zip(*settled, strict=True)))
    return sum(len(index) for index, _, _ in settled)


def _merge(train: Train, memory: Memory, model: Network) -> int:
    """Merge the experience into a memory that is scored: all samples, and those held, with their losses by the model as it is."""
    new = [(batch.index, batch.y, _losses(model, batch)) for batch in train.batches(CHUNK)]
    index, y, loss = (torch.cat(column) for column in zip(*new, strict=True))
    kept = memory.index[: memory.filled]
    held = [_losses(model, train.fetch(kept[low : low + CHUNK])) for low in range(0, len(kept), CHUNK)]
    memory.merge(index, y, loss, torch.cat(held) if held else loss[:0])
    return len(index) + len(kept)


def _losses(model: Network, batch: Batch) -> Tensor:
    with isolated(model), torch.no_grad():
        return functional.cross_entropy(model(batch.x, batch.task), batch.y, reduction="none")
