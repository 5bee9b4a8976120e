"""The loss of one update: a weighted mean over samples, and named terms, summed in the order of their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from clframe.errors import CompositionError
from clframe.strategies.part import Part
from clframe.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


def named(part: Part, hook: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a hook of a part returned, each name after that of the part."""
    if not isinstance(values, Mapping):
        raise CompositionError(
            f"{hook} must return a mapping of named terms; {part.name!r} returned a {type(values).__name__}. "
            'Return {"name": value}.'
        )
    return {f"{part.name}/{name}": value for name, value in values.items()}


def classification_loss(logits: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted mean of the cross-entropy: sum_i w_i CE_i / sum_i w_i; equal weights where `weight` is None, 0 where all are 0."""
    if weight is None:
        return functional.cross_entropy(logits, y)
    return weighted_mean(functional.cross_entropy(logits, y, reduction="none"), weight)


def weighted_mean(each: Tensor, weight: Tensor | None) -> Tensor:
    """sum_i w_i l_i / sum_i w_i of the losses l (B,); equal weights where `weight` is None, 0 where all are 0."""
    return each.mean() if weight is None else (each * weight).sum() / total_weight(weight)


def total_weight(weight: Tensor) -> Tensor:
    """The sum of the weights, kept above 0 so that a batch without weight has loss 0."""
    return weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)


def sum_in_name_order(terms: Mapping[str, Tensor]) -> Tensor:
    """The sum of the terms, added in the order of their names."""
    total, *rest = (terms[name] for name in sorted(terms))
    for term in rest:
        total = total + term
    return total


def union(batches: list[Batch]) -> Batch:
    """One batch of all, in order; weights and tasks are filled in where only some have them."""
    weights = [b.weight for b in batches]
    weight = None
    if any(w is not None for w in weights):
        weight = torch.cat(
            [torch.ones_like(b.y, dtype=torch.float32) if w is None else w for b, w in zip(batches, weights, strict=True)]
        )
    tasks = [b.task for b in batches if b.task is not None]
    return Batch(
        x=torch.cat([b.x for b in batches]),
        y=torch.cat([b.y for b in batches]),
        index=torch.cat([b.index for b in batches]),
        weight=weight,
        task=torch.cat(tasks) if len(tasks) == len(batches) else None,
    )
