"""The paper's residual network: a 7x7 stem of stride 2 on 32x32 images, no max-pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from clframe.models.resnet import ResNet


def residual(input_shape: Sequence[int], *, width: int = 64, blocks: int = 2) -> nn.Module:
    """A 7x7 stem of stride 2, four stages of `blocks` blocks with width x (1, 2, 4, 8) maps; the defaults are ResNet-18.

    Example: the paper's 11,218,112 masked weights, without the 51,200 of its head.
        >>> sum(m.weight.numel() for m in residual((3, 32, 32)).modules() if isinstance(m, nn.Conv2d))
        11166912
    """
    widths = (width, 2 * width, 4 * width, 8 * width)
    made = ResNet("residual", input_shape, widths=widths, blocks=blocks, projection=True)
    made.stem[0] = nn.Conv2d(input_shape[0], width, 7, stride=2, padding=3, bias=False)
    placed: nn.Module = made.to(memory_format=torch.channels_last)
    return placed
