"""Lower bounds of differences of outputs: what the true class is ahead of each other one by, at the least."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from clframe.models.interval.backward import least

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models.interval.forward import Walk

PAIRED = 16
"""Outputs of a network of which all pairs are compared at once where nothing but the last layer is gone through."""
FEW = 4
"""Classes of samples for which it is cheaper to compare these alone, where the network has more outputs."""


def margins(walk: Walk, y: Tensor, layers: int | None = None, wanted: Tensor | None = None) -> Tensor:
    """The least value of f_y - f_j over all weights in their boxes, for each class j; samples of one class share their rows.

    Args:
        walk: the network's interval bounds for these inputs.
        y: an output (B,) for each sample.
        layers: as in `least`.
        wanted: which samples and classes to bound (B, K), bool; all but y itself by default. Others may be bounded along.

    Returns:
        (B, K); 0 for y itself, minus infinity where nothing was bounded.

    Example:
        >>> from torch import nn
        >>> from clframe.models.interval import ball, walk
        >>> net, x = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), torch.ones(1, 2)
        >>> found = margins(walk(net, x, ball(net, 0.0)), torch.tensor([1]))
        >>> bool(torch.isclose(found[0, 0], (net(x)[0, 1] - net(x)[0, 0])))
        True
    """
    low = walk.out.lower
    unit = torch.eye(low.shape[1], dtype=low.dtype, device=low.device)
    if layers == 1 and wanted is None and (len(unit) <= FEW or (len(unit) <= PAIRED and len(torch.unique(y)) > FEW)):
        pairs = least(walk, (unit[:, None] - unit).view(1, -1, len(unit)), 1)
        return pairs.view(-1, *unit.shape)[torch.arange(len(y), device=y.device), y]
    if wanted is None:
        wanted = torch.arange(len(unit), device=y.device) != y[:, None]
    found = torch.full_like(low, -torch.inf).scatter(1, y[:, None], 0.0)
    asked = wanted.any(1)
    for one in torch.unique(y[asked]).tolist():
        samples = (asked & (y == one)).nonzero()[:, 0]
        others = wanted[samples].any(0).nonzero()[:, 0]
        found[samples[:, None], others] = least(walk.part(samples), (unit[one] - unit[others])[None], layers)
    return found
