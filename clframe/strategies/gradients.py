"""Gradients as vectors: the gradient of remembered samples, inner products, and what is taken out of p.grad or added to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from clframe.strategies.loss import classification_loss

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clframe.models import Network
    from clframe.types import Batch

CHUNK = 1024
"""Remembered samples that go through the network at once; more are gone through in pieces, for the same mean."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, with gradients: normalisation keeps its running statistics, dropout draws nothing."""
    changed = [m for m in model.modules() if m.training]
    for m in changed:
        m.training = False
    try:
        yield
    finally:
        for m in changed:
            m.training = True


def mean_gradient(model: Network, parameters: Sequence[Tensor], batches: Iterable[Batch]) -> list[Tensor]:
    """Gradient of the (weighted) mean cross-entropy over all samples of the batches, in evaluation mode.

    It is returned, not left in `p.grad`; the model's buffers and modes stay as they are.

    Args:
        model: the network.
        parameters: with respect to these; zeros for one that the loss does not depend on.
        batches: the samples, in one batch or more.

    Example:
        >>> from clframe.models import build
        >>> from clframe.types import Batch
        >>> model = build("mlp", (4,), 2)
        >>> batch = Batch(torch.ones(3, 4), torch.tensor([0, 1, 1]), torch.arange(3))
        >>> gradient = mean_gradient(model, list(model.parameters()), [batch])
        >>> len(gradient), all(p.grad is None for p in model.parameters())
        (6, True)
    """
    parameters = list(parameters)
    total: list[Tensor] = []
    seen = 0.0
    for batch in batches:
        with evaluating(model):
            loss = classification_loss(model(batch.x, batch.task), batch.y, batch.weight, batch.mass)
        found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        here = float(len(batch)) if batch.divisor is None else batch.divisor.sum().item()
        if not total:
            total = list(found)
        elif here:
            torch._foreach_lerp_(total, found, here / (seen + here))
        seen += here
    return total or [torch.zeros_like(p) for p in parameters]


def held(parameters: Sequence[Tensor]) -> list[Tensor]:
    """The gradients `p.grad`; zeros where there is none."""
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers of the tensors, in order, as one vector."""
    return torch.cat([t.reshape(-1) for t in tensors])


def inner(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """The inner product of two lists of tensors of equal shapes, a scalar."""
    return torch.stack([torch.dot(x.reshape(-1), y.reshape(-1)) for x, y in zip(a, b, strict=True)]).sum()


def add(parameters: Sequence[Tensor], change: Sequence[Tensor], scale: float = 1.0) -> None:
    """p.grad <- p.grad + scale * change."""
    gradients = held(parameters)
    torch._foreach_add_(gradients, list(change), alpha=scale)
    for p, gradient in zip(parameters, gradients, strict=True):
        p.grad = gradient


def add_flat(parameters: Sequence[Tensor], change: Tensor) -> None:
    """p.grad <- p.grad + change, which is one vector in the order of the parameters."""
    pieces = torch.split(change, [p.numel() for p in parameters])
    add(parameters, [piece.view_as(p) for piece, p in zip(pieces, parameters, strict=True)])


def take_out(parameters: Sequence[Tensor], reference: Sequence[Tensor], eps: float = 0.0) -> dict[str, Tensor]:
    """Where the gradient g = p.grad would raise the reference loss, take the component along its gradient r out of g.

        g <- g - <g, r> / (<r, r> + eps) r     if <g, r> < 0

    Otherwise nothing is written. Returned: "projected" (1 if it was, else 0), "change" (the norm of what was taken out) and
    "reference" (the norm of r).

    Example:
        >>> p = torch.zeros(2, requires_grad=True)
        >>> p.grad = torch.tensor([1.0, -2.0])
        >>> log = take_out([p], [torch.tensor([0.0, 4.0])])
        >>> p.grad.tolist(), log["change"].item()
        ([1.0, 0.0], 2.0)
    """
    product, square = torch.stack((inner(held(parameters), reference), inner(reference, reference))).tolist()
    projected = product < 0
    scale = product / (square + eps) if projected else 0.0
    if projected:
        add(parameters, reference, -scale)
    norm: float = square**0.5
    values = reference[0].new_tensor([float(projected), abs(scale) * norm, norm])
    return dict(zip(("projected", "change", "reference"), values.unbind(), strict=True))
