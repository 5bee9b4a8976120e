"""Units that can be taken out of a net without changing what it computes."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from clframe.exporting.chains import Chain, chains


@torch.no_grad()
def sliced(net: nn.Module) -> tuple[nn.Module, int]:
    """A copy of the net without the units that cannot matter, and how many those were.

    ::

        no incoming weights    the unit is a constant c: the next layer's bias b <- b + w c, and w <- 0
        no outgoing weights    the unit goes, with its incoming weights, its bias and its normalisation

    The first is done front to back, the second back to front, so that what one unit's going makes useless goes, too. Both are
    exact, but for the order in which numbers are added. A constant that is read by a convolution with a border of zeros stays,
    unless it is 0. One unit of each layer always stays. Where a layer is read at several places, as in a residual stream, its
    units stay.

    Raises:
        Exception: whatever tracing the net's forward raises.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> _ = net[0].weight.data[1].zero_()
        >>> small, removed = sliced(net)
        >>> removed, small[0].out_features, small[2].in_features
        (1, 2, 2)
    """
    made = copy.deepcopy(net)
    found = chains(made)
    for chain in found:
        _fold(chain)
    return made, sum(_remove(chain) for chain in reversed(found))


def _fold(chain: Chain) -> None:
    """Put what constant units add into the next layer's bias, and take their weights there away."""
    dead = (chain.before.weight.flatten(1) == 0).all(1)
    value = torch.where(dead, chain.constants(), 0.0)
    after = chain.after
    if isinstance(after, nn.Conv2d) and any(after.padding if not isinstance(after.padding, str) else (1,)):
        dead, value = dead & (value == 0), torch.zeros_like(value)
    if not dead.any():
        return
    weight = after.weight.reshape(len(after.weight), chain.units, -1)
    if value.any():
        added = (weight.sum(2).double() @ value.double()).to(weight.dtype)
        after.bias = nn.Parameter(added if after.bias is None else after.bias + added, requires_grad=False)
    after.weight.copy_(torch.where(dead[:, None], 0.0, weight).view_as(after.weight))


def _remove(chain: Chain) -> int:
    """Take out the units that nothing reads; how many."""
    keep = (chain.columns() != 0).any(1)
    if not keep.any():
        keep[0] = True
    removed = int((~keep).sum())
    if not removed:
        return 0
    before, after = chain.before, chain.after
    _keep(before, keep, ("weight", "bias"))
    for norm in chain.norms:
        _keep(norm, keep, ("weight", "bias", "running_mean", "running_var"))
        norm.num_features = int(keep.sum())
    weight = after.weight.reshape(len(after.weight), len(keep), -1)[:, keep]
    if isinstance(after, nn.Linear):
        after.weight, after.in_features = _parameter(weight.flatten(1)), int(weight[0].numel())
    else:
        after.weight = _parameter(weight.reshape(len(weight), -1, *after.kernel_size))
        after.in_channels = int(keep.sum())
    if isinstance(before, nn.Linear):
        before.out_features = int(keep.sum())
    else:
        before.out_channels = int(keep.sum())
    return removed


def _keep(module: nn.Module, keep: Tensor, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(module, name)
        if value is not None:
            kept = value[keep].clone()
            setattr(module, name, _parameter(kept) if isinstance(value, nn.Parameter) else kept)


def _parameter(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.clone(), requires_grad=False)
