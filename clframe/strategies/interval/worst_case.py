"""The loss of the worst network in a box of weights, and boxes that are kept inside others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from clframe.models.interval import Box
from clframe.models.interval.forward import propagate
from clframe.models.interval.margins import margins as least_margins
from clframe.strategies.loss import weighted_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, fx


def worst_loss(
    graph: fx.GraphModule,
    x: Tensor,
    y: Tensor,
    boxes: Mapping[str, Box],
    weight: Tensor | None = None,
    mass: Tensor | None = None,
    elided: bool = True,
) -> Tensor:
    """An upper bound of the cross-entropy of every network in the boxes: that of the least margins.

        m_j = lower bound of z_y - z_j over the boxes, m_y = 0;   loss_i = log sum_j exp(-m_j)        averaged over samples

    Elided, the bounds are of the differences over the last layer's weights; else those of the logits are subtracted, as if the true
    class had its lower and every other one its upper end.

    Args:
        graph: the traced network.
        x: inputs (B, *input).
        y: outputs (B,) that should be largest.
        boxes: of all its parameters.
        weight, mass: of each sample (B,): see `weighted_mean`.
        elided: how to bound.

    Example:
        >>> from torch import nn
        >>> from clframe.models.interval import ball
        >>> from clframe.models.interval.forward import traced
        >>> net, x, y = nn.Sequential(nn.Linear(4, 3)), torch.randn(2, 4), torch.tensor([0, 2])
        >>> torch.isclose(worst_loss(traced(net), x, y, ball(net, 0.0)), F.cross_entropy(net(x), y)).item()
        True
        >>> (worst_loss(traced(net), x, y, ball(net, 0.1)) > F.cross_entropy(net(x), y)).item()
        True
    """
    return weighted_mean(torch.logsumexp(-margins(graph, x, y, boxes, elided), 1), weight, mass)


def margins(graph: fx.GraphModule, x: Tensor, y: Tensor, boxes: Mapping[str, Box], elided: bool = True) -> Tensor:
    """Lower bounds (B, K) of z_y - z_j over all networks in the boxes; 0 for y itself. Gradients flow through."""
    made = propagate(graph, x, boxes)
    if elided:
        return least_margins(made, y, 1)
    low, high = made.out.lower, made.out.upper
    own = F.one_hot(y, low.shape[1]).to(low.dtype)
    return ((low * own).sum(1, keepdim=True) - high) * (1 - own)


def kept_inside(value: Tensor, box: Box) -> Tensor:
    """The value, moved to the nearest one in the box; its gradient is that of projected descent.

    A gradient that would push a value at or beyond an end further out is dropped; one that pushes it in is passed on, so that it
    can come back.

    Example:
        >>> w = torch.tensor([0.5, 3.0, 3.0], requires_grad=True)
        >>> inside = kept_inside(w, Box(torch.zeros(3), torch.ones(3)))
        >>> inside.backward(torch.tensor([1.0, 1.0, -1.0]))
        >>> inside.tolist(), w.grad.tolist()
        ([0.5, 1.0, 1.0], [1.0, 1.0, 0.0])
    """
    found: Tensor = _KeptInside.apply(value, box.lower, box.upper)
    return found


class _KeptInside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, low: Tensor, high: Tensor) -> Tensor:
        ctx.save_for_backward(value < low, value > high)
        return torch.minimum(torch.maximum(value, low), high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        below, above = ctx.saved_tensors
        outward = (below & (gradient > 0)) | (above & (gradient < 0))
        return gradient.masked_fill(outward, 0.0), None, None
