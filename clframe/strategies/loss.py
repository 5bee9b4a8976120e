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


def classification_loss(logits: Tensor, y: Tensor, weight: Tensor | None, mass: Tensor | None = None) -> Tensor:
    """The `weighted_mean` of the cross-entropy."""
    if weight is None:
        return functional.cross_entropy(logits, y)
    return weighted_mean(functional.cross_entropy(logits, y, reduction="none"), weight, mass)


def weighted_mean(each: Tensor, weight: Tensor | None, mass: Tensor | None = None) -> Tensor:
    """sum_i w_i l_i / sum_i m_i of the losses l (B,); m = w where `mass` is None, both 1 where `weight` is; 0 where all m are 0.

    With weights of importance (m = w) it is a weighted mean. With weights 1 / probability of samples that were drawn and m = 1, it
    is an unbiased estimate of the mean over what they were drawn from; divided by the sum of the weights it would not be, and
    would vary more.
    """
    return each.mean() if weight is None else (each * weight).sum() / total_weight(weight if mass is None else mass)


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
    """One batch of all, in order; weights, masses and tasks are filled in where only some have them."""
    weighted, massive = any(b.weight is not None for b in batches), any(b.mass is not None for b in batches)
    tasks = [b.task for b in batches if b.task is not None]
    return Batch(
        x=torch.cat([b.x for b in batches]),
        y=torch.cat([b.y for b in batches]),
        index=torch.cat([b.index for b in batches]),
        weight=torch.cat([_or_ones(b.weight, b) for b in batches]) if weighted else None,
        task=torch.cat(tasks) if len(tasks) == len(batches) else None,
        mass=torch.cat([_or_ones(b.divisor, b) for b in batches]) if massive else None,
    )


def _or_ones(values: Tensor | None, batch: Batch) -> Tensor:
    return torch.ones_like(batch.y, dtype=torch.float32) if values is None else values
