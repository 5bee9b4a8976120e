"""Augmentations of training batches: pure functions of (batch, generator), on the batch's device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from clframe.errors import bad_option

Transform = Callable[[Tensor, torch.Generator], Tensor]


def random_crop(x: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Pad every image by `padding` pixels on each side and cut a window of the old size at a random place, one per image.

    Args:
        x: images (B, C, H, W), normalised.
        generator: draws two offsets per image, on its own device.
        padding: pixels on each side, at least 0.

    Raises:
        OptionError: `padding` is negative.

    Example:
        >>> x = torch.ones(2, 3, 8, 8)
        >>> random_crop(x, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3, 8, 8])

    Differences from published code:
        1. The border is 0 after normalisation, the mean colour, where pipelines on raw pixels pad with black.
    """
    if padding < 0:
        raise bad_option("padding", "at least 0", padding, "Give padding=4.")
    size, _, height, width = x.shape
    offsets = torch.randint(0, 2 * padding + 1, (2, size, 1), generator=generator, device=generator.device).to(x.device)
    rows = offsets[0] + torch.arange(height, device=x.device)
    columns = offsets[1] + torch.arange(width, device=x.device)
    padded = pad(x, (padding, padding, padding, padding)).permute(0, 2, 3, 1)
    image = torch.arange(size, device=x.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def random_flip(x: Tensor, generator: torch.Generator, p: float = 0.5) -> Tensor:
    """Mirror each image left to right with probability `p`.

    Args:
        x: images (B, C, H, W).
        generator: draws one number per image, on its own device.
        p: probability, in [0, 1].

    Raises:
        OptionError: `p` is not in [0, 1].

    Example:
        >>> random_flip(torch.tensor([[[[1, 2, 3]]]]), torch.Generator(), p=1.0)
        tensor([[[[3, 2, 1]]]])
    """
    if not 0 <= p <= 1:
        raise bad_option("p", "in [0, 1]", p, "Give p=0.5.")
    mirrored = torch.rand((len(x), 1, 1, 1), generator=generator, device=generator.device).to(x.device) < p
    return torch.where(mirrored, x.flip(3), x)


def crop_and_flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """The usual augmentation of 32x32 images: `random_crop` with 4 pixels, then `random_flip`.

    Example:
        >>> crop_and_flip(torch.ones(2, 3, 8, 8), torch.Generator()).shape
        torch.Size([2, 3, 8, 8])
    """
    return random_flip(random_crop(x, generator), generator)
