"""How sensitive a function of the model is to each weight, over the samples of an experience: what EWC and MAS measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from clframe.seeding import isolated
from clframe.strategies.part import Part
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor


def gradients_over(
    part: Part,
    train: Train,
    parameters: Sequence[Tensor],
    samples: int,
    batch_size: int,
    objective: Callable[[Tensor, Batch], Tensor],
    add: Callable[[list[Tensor], list[Tensor]], None],
) -> list[Tensor]:
    """mean_b a(g_b), with g_b the gradient of the objective on batch b and a what `add` adds; the model is in evaluation mode.

    Args:
        part: whose model, generator and ledger are used.
        train: the experience; `samples` of it are drawn at random, all of them if there are fewer.
        parameters: for which the gradient is taken; where the objective does not depend on one, it is 0.
        samples: samples to draw.
        batch_size: samples in one gradient; 1 for the gradient of each sample.
        objective: scores (B, C) and the batch -> a scalar, a mean over the batch.
        add: adds a(g) to the running sums, in place.
    """
    total, batches = [torch.zeros_like(p) for p in parameters], 0
    with isolated(part.model), torch.inference_mode(False), torch.enable_grad():
        for batch in train.batches(batch_size, order=train.sample(samples, part.generator)):
            value = objective(part.model(batch.x, batch.task), batch)
            gradient = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
            add(total, list(gradient))
            batches += 1
            part.forwards += len(batch)
            part.backwards += len(batch)
    return [t / batches for t in total]


def add_squares(into: list[Tensor], gradient: list[Tensor]) -> None:
    """into += gradient^2."""
    torch._foreach_addcmul_(into, gradient, gradient)


def add_sizes(into: list[Tensor], gradient: list[Tensor]) -> None:
    """into += |gradient|."""
    torch._foreach_add_(into, list(torch._foreach_abs(gradient)))
