"""The quadratic penalty that EWC and its relatives share, with its gradient in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor


def quadratic(
    parameters: Sequence[Tensor],
    anchor: list[Tensor],
    importance: list[Tensor],
    strength: float = 1.0,
    keep: list[Tensor] | None = None,
) -> Tensor:
    """strength / 2 sum_j importance_j (parameter_j - anchor_j)^2, a scalar.

    Its gradient, strength * importance * (parameter - anchor), is known, so autograd keeps no graph through it; it can be gone
    backward through once.

    Args:
        parameters: tensors that are trained.
        anchor, importance: tensors of the same shapes.
        strength: a factor.
        keep: a list that receives the gradient.

    Example:
        >>> p = torch.tensor([3.0], requires_grad=True)
        >>> value = quadratic([p], [torch.tensor([1.0])], [torch.tensor([0.5])])
        >>> value.item(), torch.autograd.grad(value, p)[0].item()
        (1.0, 1.0)
    """
    value: Tensor = _Quadratic.apply(strength, anchor, importance, keep, *parameters)
    return value


@torch.no_grad()
def descent(parameters: Sequence[Tensor], pull: list[Tensor]) -> list[Tensor]:
    """Minus the gradient of the step without that of `quadratic`: pull - p.grad, in the memory of `pull`.

    Args:
        parameters: tensors with the step's gradient in `grad`; None counts as 0.
        pull: what `quadratic` left in `keep`, overwritten; where it is empty, it counts as 0.

    Example:
        >>> p, pull = torch.tensor([3.0], requires_grad=True), []
        >>> (4 * p + quadratic([p], [torch.tensor([1.0])], [torch.tensor([0.5])], keep=pull)).backward()
        >>> p.grad, descent([p], pull)
        (tensor([5.]), [tensor([-4.])])
    """
    gradient = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    if not pull:
        return list(torch._foreach_neg(gradient))
    torch._foreach_sub_(pull, gradient)
    return list(pull)


class _Quadratic(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        strength: float,
        anchor: list[Tensor],
        importance: list[Tensor],
        keep: list[Tensor] | None,
        *parameters: Tensor,
    ) -> Tensor:
        moved = torch._foreach_sub(list(parameters), anchor)
        gradient = torch._foreach_mul(moved, importance)
        value = torch.stack([m.flatten() @ g.flatten() for m, g in zip(moved, gradient, strict=True)]).sum() / 2
        torch._foreach_mul_(gradient, strength)
        ctx.gradient = gradient
        if keep is not None:
            keep[:] = gradient
        return strength * value

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradient, ctx.gradient = ctx.gradient, None
        if upstream[0].device.type != "cpu" or upstream[0].item() != 1.0:
            torch._foreach_mul_(gradient, upstream[0])
        return (None, None, None, None, *gradient)
