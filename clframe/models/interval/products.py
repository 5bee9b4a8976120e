"""Products of inputs and weights that are both known only to lie in boxes: linear maps and convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from clframe.models.interval.box import Box, ends

if TYPE_CHECKING:
    from torch import Tensor

Bilinear = Callable[..., "Tensor"]
"""A linear map or a convolution: (input, weight) or (input, weight, bias) -> output, additive in input and weight."""

SHARED = 24
"""Samples that must share the signs of their coefficients for a weight to be made for them."""


def product(op: Bilinear, x: Tensor | Box, weight: Box, bias: Box | None = None, *, joined: bool = True) -> Box:
    """The box of op(x, W) + b over all x, W and b in their boxes.

        x a point          l = x W_c - |x| R                           exact, whatever the signs; x >= 0: l = x W_l
        0 <= x_l <= x_u    l = x_l (W_l)+ + x_u (W_l)-                 exact for each product
        any other box      c = x_c W_c,  r = |x_c| R + x_r (|W_c| + R) sound, up to 1.5 times as wide
    with l the lower end; the upper one is the same with the ends exchanged. (.)+ and (.)- are the positive and negative parts,
    c and r (of W: R) centre and radius. The forms take two, four and three products of a plain layer's size.

    Args:
        op: the map.
        x: inputs (B, in, ...).
        weight: (out, in, ...).
        bias: (out,), added to the channels of what comes out.
        joined: compute both ends of the second form in one product of twice the size; not for convolutions in groups.

    Example:
        >>> w = Box(torch.tensor([[1.0, -2.0]]), torch.tensor([[2.0, -1.0]]))
        >>> found = product(F.linear, Box(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 3.0]])), w)
        >>> found.lower.item(), found.upper.item()
        (-5.0, 1.0)

    Reference: Gowal et al., "On the effectiveness of interval bound propagation for training verifiably robust models", 2018, for
        the second form; Rump, "Fast and parallel interval arithmetic", 1999, for the third.
    """
    if bool((x.lower if isinstance(x, Box) else x).amin() >= 0):
        return _of_positive(op, x, weight, bias, joined) if isinstance(x, Box) else _of_known(op, x, weight, bias, joined)
    shift, give = (None, None) if bias is None else (bias.centre, bias.radius)
    if not isinstance(x, Box):
        middle, around = op(x, weight.centre, shift), op(x.abs(), weight.radius, give)
    else:
        centre, radius, spread = x.centre, x.radius, weight.radius
        middle = op(centre, weight.centre, shift)
        around = op(centre.abs(), spread, give) + op(radius, weight.centre.abs() + spread)
    return Box(middle - around, middle + around)


def _of_known(op: Bilinear, x: Tensor, weight: Box, bias: Box | None, joined: bool) -> Box:
    if not joined:
        return Box(*(op(x, w, None if bias is None else b) for w, b in zip(ends(weight), ends(bias or weight), strict=True)))
    low, high = op(x, weight.both, None if bias is None else bias.both).chunk(2, -1 if op is F.linear else 1)
    return Box(low, high)


def _of_positive(op: Bilinear, x: Box, weight: Box, bias: Box | None, joined: bool) -> Box:
    shift, rise = (None, None) if bias is None else ends(bias)
    if joined:
        of = -1 if op is F.linear else 1
        both = None if shift is None or rise is None else torch.cat([shift, rise])
        low, high = op(torch.cat([x.lower, x.upper], of), weight.block, both).chunk(2, of)
        return Box(low, high)
    (low, high), (w_low, w_high) = ends(x), ends(weight)
    below = op(low, w_low.clamp(min=0), shift) + op(high, w_low.clamp(max=0))
    return Box(below, op(low, w_high.clamp(max=0)) + op(high, w_high.clamp(min=0), rise))


def least_linear(weight: Box, positive: Tensor, negative: Tensor) -> Tensor:
    """A+ W_l + A- W_u, the coefficients of g in the least of A W g over the box of W, for g >= 0.

    Two products of the size of A W, or one: where samples share the signs of their coefficients, as those of one class do in the
    last hidden layer, W is put together for each row of A from rows of W_l and W_u, and without the rows that are multiplied by 0
    in all samples.

    Args:
        weight: W (h, in).
        positive, negative: both parts of A (B, S, h), of which one is 0 in each place.

    Returns:
        (B, S, in).

    Example:
        >>> w = Box(torch.tensor([[1.0], [-2.0]]), torch.tensor([[2.0], [-1.0]]))
        >>> least_linear(w, torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[0.0, -1.0]]])).tolist()
        [[[4.0]]]
    """
    if len(positive) >= SHARED and positive.shape[2] > positive.shape[1]:
        above, below = positive.amax(0) > 0, negative.amin(0) < 0
        if not bool((above & below).any()):
            a, rows = positive + negative, zip(above | below, below, strict=True)
            return torch.stack([_least_row(weight, a[:, i], used, upper) for i, (used, upper) in enumerate(rows)], 1)
    found = (positive.flatten(0, 1) @ weight.lower).addmm_(negative.flatten(0, 1), weight.upper)
    return found.view(*positive.shape[:2], -1)


def _least_row(weight: Box, a: Tensor, used: Tensor, upper: Tensor) -> Tensor:
    """One row (B, h) of A, with the rows of W that are used, from its upper end where A is negative."""
    places = used.nonzero()[:, 0]
    return a.index_select(1, places) @ weight.both.index_select(0, places + len(used) * upper[places])
