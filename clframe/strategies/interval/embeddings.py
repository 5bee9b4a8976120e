"""Boxes of embeddings: their radii, centres that make them overlap, and the one embedding that lies in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from clframe.errors import bad_option, unknown_name
from clframe.models.interval import Box

if TYPE_CHECKING:
    from torch import Tensor

NESTINGS = {"cos": torch.cos, "tanh": torch.tanh}


def radii(logits: Tensor, gamma: float) -> Tensor:
    """Radii (d,) that are positive and add up to gamma: r = gamma softmax(logits).

    Example:
        >>> radii(torch.zeros(4), 2.0).tolist()
        [0.5, 0.5, 0.5, 0.5]
    """
    return gamma * torch.softmax(logits, 0)


def nested(e: Tensor, gamma: float, how: str = "cos") -> Box:
    """A box of radius gamma / d in every dimension whose centre is so near 0 that all such boxes overlap.

        centre = gamma / (2 d) * cos(e),   radius = gamma / d        so each box contains [-gamma / (2 d), gamma / (2 d)]^d

    Args:
        e: embedding (d,).
        gamma: sum of the radii.
        how: "cos" or "tanh".

    Raises:
        OptionError: another word.

    Example:
        >>> box = nested(torch.randn(5), 1.0)
        >>> bool(box.contains(Box.around(torch.zeros(5), 0.1)).all())
        True
    """
    if how not in NESTINGS:
        raise unknown_name("nesting", how, NESTINGS)
    each = gamma / len(e)
    return Box.around(each / 2 * NESTINGS[how](e), torch.full_like(e, each))


def universal(boxes: Sequence[Box]) -> Tensor:
    """The centre (d,) of what all boxes have in common; where they have nothing in common, the middle of the gap.

    Example:
        >>> universal([Box(torch.tensor([0.0]), torch.tensor([2.0])), Box(torch.tensor([1.0]), torch.tensor([5.0]))]).tolist()
        [1.5]
    """
    low = torch.stack([box.lower for box in boxes]).amax(0)
    high = torch.stack([box.upper for box in boxes]).amin(0)
    return (low + high) / 2


def check_boxes(gamma: float, kappa: float, volume: float, ramp: float, nesting: str) -> None:
    """The options of `HyperInterval` that boxes depend on, each by its rule.

    Raises:
        OptionError: one breaks it.
    """
    if not gamma >= 0:
        raise bad_option("gamma", "zero or positive", gamma, "Give gamma=0.1.")
    if not 0 <= kappa <= 1:
        raise bad_option("kappa", "in [0, 1]", kappa, "Give kappa=0.5.")
    if not volume >= 0:
        raise bad_option("volume", "zero or positive", volume, "Give volume=0.1.")
    if volume and not gamma:
        raise bad_option("volume", "0 where gamma is 0, as a point cannot be made wide", volume, "Give gamma=0.1.")
    if not 0 < ramp <= 1:
        raise bad_option("ramp", "a share in (0, 1]", ramp, "Give ramp=0.5.")
    if nesting not in NESTINGS:
        raise unknown_name("nesting", nesting, NESTINGS)
