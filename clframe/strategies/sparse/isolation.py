"""Weights that must not move: put back after every step, exactly, whatever the optimizer did."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import torch

from clframe.strategies.sparse.bits import number

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class Held:
    """Parameters and, for each of their entries, whether it may move, and the value that it otherwise has.

        p <- p where it may move, else its value

    in one pass over all parameters: a linear interpolation, which is exact where its weight is 0 or 1. A gradient of zero would not
    do: momentum, weight decay and Adam move a weight without one.

    Example:
        >>> p = torch.tensor([1.0, 2.0])
        >>> held = Held()
        >>> held.add(p, torch.tensor([True, False]))
        >>> _ = p.add_(0.1)
        >>> held.put_back()
        >>> p.tolist() == [torch.tensor(1.1).item(), 2.0]
        True
    """

    def __init__(self) -> None:
        self._parameters: list[Tensor] = []
        self._values: list[Tensor] = []
        self._fixed: list[Tensor] = []

    def add(self, parameter: Tensor | None, mobile: Tensor, value: Tensor | None = None) -> None:
        """Hold a parameter where `mobile` (bool, of its shape) is not, at `value`, or at what it is now."""
        if parameter is None:
            return
        self._parameters.append(parameter)
        self._values.append(parameter.detach().clone() if value is None else value)
        self._fixed.append(number((~mobile).to(parameter.device), parameter).expand_as(parameter).contiguous())

    @torch.no_grad()
    def put_back(self) -> None:
        """After a step."""
        torch._foreach_lerp_(self._parameters, self._values, self._fixed)


def private(model: Network, masked: Collection[str], head: bool = False) -> dict[str, Tensor]:
    """What a task has for itself: biases, normalisations and their statistics, all of the backbone without a mask; and a head."""
    parts = ("backbone.", "head.") if head else ("backbone.",)
    state = model.state_dict()
    return {n: v.detach().clone() for n, v in state.items() if n.startswith(parts) and n not in masked and n != "head.table"}


@torch.no_grad()
def put(model: Network, held: Mapping[str, Tensor]) -> None:
    """Put what `private` returned into the network."""
    state = model.state_dict()
    for n, v in held.items():
        state[n].copy_(v)
