"""A small convolutional network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from clframe.errors import bad_option
from clframe.models.checks import image_shape, positive
from clframe.models.ghost import CHUNK
from clframe.models.norms import normalisation


@final
class CNN(nn.Module):
    """Blocks of 3x3 convolution, ReLU and 2x2 max-pooling; the maps that remain, flattened, are the features.

    Args:
        input_shape: (channels, height, width); each side at least 2 ** len(widths) pixels.
        widths: maps of each block.
        norm: before each ReLU: "none", "layer", "batch" or "ghost" normalisation; the convolution before it then has no bias.
        chunk: samples whose statistics norm "ghost" takes together.

    Raises:
        OptionError: an option breaks its rule, or the samples are no images or too small.

    Example:
        >>> CNN((1, 8, 8)).num_features  # 64 maps of 2 x 2
        256
    """

    def __init__(
        self, input_shape: Sequence[int], *, widths: Sequence[int] = (32, 64), norm: str = "none", chunk: int = CHUNK
    ) -> None:
        super().__init__()
        if not widths:
            raise bad_option("widths", "a list of one or more widths", widths, "Give widths=(32, 64), or use model='mlp'.")
        channels, height, width = image_shape("cnn", input_shape, at_least=2 ** len(widths))
        layers: list[nn.Module] = []
        for maps in widths:
            normed = normalisation(norm, positive("widths", maps), maps=True, chunk=chunk)
            layers += [nn.Conv2d(channels, maps, 3, padding=1, bias=norm == "none"), *normed, nn.ReLU(), nn.MaxPool2d(2)]
            channels = maps
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.num_features = channels * (height >> len(widths)) * (width >> len(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, num_features) of the images (B, channels, height, width)."""
        out: Tensor = self.layers(x)
        return out
