"""Residual networks for small images: ResNet-18 with a 3x3 stem, its slim form, and the CIFAR ResNet-32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from clframe.models.checks import image_shape, positive
from clframe.models.ghost import CHUNK
from clframe.models.norms import renormed


def resnet18(input_shape: Sequence[int], *, width: int = 64, norm: str = "batch", chunk: int = CHUNK) -> ResNet:
    """ResNet-18 for 32x32 images: 3x3 stem without max-pooling, 4 stages of 2 blocks, width x (1, 2, 4, 8) maps.

    Args:
        input_shape: (channels, height, width).
        width: maps of the first stage; 8 * width features come out.
        norm: "batch", or "ghost" batch normalisation.
        chunk: samples whose statistics norm "ghost" takes together.

    Raises:
        OptionError: an option breaks its rule, or the samples are no images.

    Example:
        >>> resnet18((3, 32, 32)).num_features
        512

    Reference:
        He, Zhang, Ren, Sun (2016), "Deep residual learning for image recognition", table 1, with the stem of section 4.2.

    Differences:
        1. The stem is made for 32x32 images (the reference: 7x7, stride 2, max-pooling, for 224x224).
    """
    positive("width", width)
    made = ResNet("resnet18", input_shape, widths=(width, 2 * width, 4 * width, 8 * width), blocks=2, projection=True)
    return renormed(made, norm, chunk)


def slim_resnet18(input_shape: Sequence[int], *, width: int = 20, norm: str = "batch", chunk: int = CHUNK) -> ResNet:
    """ResNet-18 with 20-40-80-160 maps, the usual backbone of online continual learning on CIFAR.

    Args:
        input_shape: (channels, height, width).
        width: maps of the first stage; 8 * width features come out.
        norm: "batch", or "ghost" batch normalisation.
        chunk: samples whose statistics norm "ghost" takes together.

    Raises:
        OptionError: an option breaks its rule, or the samples are no images.

    Example:
        >>> slim_resnet18((3, 32, 32)).num_features
        160

    Reference:
        Lopez-Paz, Ranzato (2017), "Gradient episodic memory for continual learning", section 4.

    Differences:
        1. Features are averaged over the whole map, 160 for every image size. Published code pools 4x4 windows: the same
           for 32x32 images, but 640 features for 84x84 and 1,440 for 96x96.
    """
    positive("width", width)
    made = ResNet("slim-resnet18", input_shape, widths=(width, 2 * width, 4 * width, 8 * width), blocks=2, projection=True)
    return renormed(made, norm, chunk)


def resnet32(input_shape: Sequence[int], *, blocks: int = 5, norm: str = "batch", chunk: int = CHUNK) -> ResNet:
    """The CIFAR ResNet of 6n+2 layers: 3 stages of n blocks with 16-32-64 maps and shortcuts without parameters.

    Args:
        input_shape: (channels, height, width).
        blocks: n, blocks of each stage: 3 makes ResNet-20, 5 ResNet-32, 9 ResNet-56.
        norm: "batch", or "ghost" batch normalisation.
        chunk: samples whose statistics norm "ghost" takes together.

    Raises:
        OptionError: an option breaks its rule, or the samples are no images.

    Example:
        >>> sum(p.numel() for p in resnet32((3, 32, 32)).parameters()) + 64 * 10 + 10  # with a 10-way head
        464154

    Reference:
        He, Zhang, Ren, Sun (2016), "Deep residual learning for image recognition", section 4.2, shortcuts of option A.

    Differences:
        1. Weights start from torch's default (the reference: normal, scaled by the fan-in).
        2. Features are the average after the ReLU; the cosine network of Hou et al. (2019) drops that ReLU.
    """
    made = ResNet("resnet32", input_shape, widths=(16, 32, 64), blocks=positive("blocks", blocks), projection=False)
    return renormed(made, norm, chunk)


@final
class ResNet(nn.Module):
    """3x3 stem, stages of basic blocks that halve the image from the second stage on, average over the map.

    Args:
        name: the model's name, for messages.
        input_shape: (channels, height, width).
        widths: maps of each stage.
        blocks: blocks of each stage.
        projection: a shortcut that changes shape is a 1x1 convolution (option B), else strided zero-padding (option A).

    Raises:
        OptionError: the samples are no images.

    Example:
        >>> ResNet("tiny", (1, 8, 8), widths=(4, 8), blocks=1, projection=False).num_features
        8

    Reference:
        He, Zhang, Ren, Sun (2016), "Deep residual learning for image recognition", section 3.
    """

    def __init__(self, name: str, input_shape: Sequence[int], *, widths: Sequence[int], blocks: int, projection: bool) -> None:
        super().__init__()
        channels, _, _ = image_shape(name, input_shape)
        self.stem = nn.Sequential(_conv3x3(channels, widths[0]), nn.BatchNorm2d(widths[0]), nn.ReLU())
        stages: list[nn.Module] = []
        before = widths[0]
        for stage, maps in enumerate(widths):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(BasicBlock(before, maps, stride=stride, projection=projection))
                before = maps
        self.blocks = nn.Sequential(*stages)
        self.num_features = before

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, widths[-1]) of the images (B, channels, height, width)."""
        maps: Tensor = self.blocks(self.stem(x))
        return maps.mean((2, 3))


@final
class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut: out = ReLU(F(x) + S(x)).

    Args:
        before: maps that come in.
        after: maps that go out.
        stride: 2 halves the image.
        projection: where the shape changes, S is a 1x1 convolution; else S takes every second pixel and appends zero maps.

    Example:
        >>> import torch
        >>> tuple(BasicBlock(4, 8, stride=2, projection=False)(torch.zeros(1, 4, 6, 6)).shape)
        (1, 8, 3, 3)
    """

    def __init__(self, before: int, after: int, *, stride: int, projection: bool) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _conv3x3(before, after, stride),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            _conv3x3(after, after),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = _projection(before, after, stride) if projection else PadShortcut(after - before, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, after, H / stride, W / stride) of the maps (B, before, H, W), sides rounded up."""
        out: Tensor = self.residual(x) + self.shortcut(x)
        return F.relu(out)


@final
class PadShortcut(nn.Module):
    """Option A: every `stride`-th pixel, and `extra` maps of zeros.

    Example:
        >>> import torch
        >>> PadShortcut(1, 2)(torch.ones(1, 1, 2, 2)).flatten().tolist()
        [1.0, 0.0]
    """

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra = extra
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C + extra, H / stride, W / stride) of the maps (B, C, H, W), sides rounded up."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


def _conv3x3(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)


def _projection(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))
