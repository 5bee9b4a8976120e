"""A multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import final

from torch import Tensor, nn

from clframe.errors import bad_option
from clframe.models.checks import positive, shape_of
from clframe.models.ghost import CHUNK
from clframe.models.norms import normalisation


@final
class MLP(nn.Module):
    """Fully connected layers with a ReLU after each: h_l = max(0, W_l h_{l-1} + b_l), with h_0 the flattened input.

    With a 10-way head on 28 x 28 images this is the 784-400-400-10 network of the continual-learning literature.

    Args:
        input_shape: shape of one sample; any.
        hidden: width of each layer; () makes a linear classifier.
        dropout: probability to drop a unit after each ReLU, in [0, 1).
        norm: before each ReLU: "none", "layer", "batch" or "ghost" normalisation; the layer before it then has no bias b_l.
        chunk: samples whose statistics norm "ghost" takes together.

    Raises:
        OptionError: an option breaks its rule.

    Example:
        >>> MLP((1, 28, 28)).num_features
        400

    Reference:
        van de Ven, Tuytelaars, Tolias (2022), "Three types of incremental learning": the widths of Split MNIST.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        *,
        hidden: Sequence[int] = (400, 400),
        dropout: float = 0.0,
        norm: str = "none",
        chunk: int = CHUNK,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise bad_option("dropout", "in [0, 1)", dropout, "Give dropout=0 to keep every unit.")
        widths = [prod(shape_of(input_shape)), *(positive("hidden", width) for width in hidden)]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after, bias=norm == "none"), *normalisation(norm, after, chunk=chunk), nn.ReLU()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        self.layers = nn.Sequential(*layers)
        self.num_features = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, hidden[-1]) of the inputs (B, *input_shape)."""
        out: Tensor = self.layers(x.flatten(1))
        return out
