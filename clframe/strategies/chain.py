"""A backbone read as a chain of layers, for methods that switch its units and hold the weights between them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

from clframe.errors import bad_option
from clframe.models.cnn import CNN
from clframe.models.mlp import MLP

if TYPE_CHECKING:
    from torch import Tensor

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
Norm = nn.modules.batchnorm._BatchNorm

ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Softsign),
    *(nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Identity),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
)
"""Modules without parameters in which every unit stays by itself."""


@dataclass
class Segment:
    """A layer and what follows it, up to the next layer; the first segment may have no layer."""

    layer: Layer | None
    rest: list[nn.Module] = field(default_factory=list)


class Chain:
    """The layers of a backbone, one after the other.

    h_l = a_l * rest_l(layer_l(h_{l-1})), with a_l the gates of the units of layer l, after activation and pooling. A flattened map
    has its channel's gate at each of its places.

    Args:
        backbone: an nn.Sequential (also of such), or clframe's MLP or CNN, of Linear and Conv layers, activations, pooling,
            Flatten, dropout and batch normalisation.
        method: the name of the method that asks, for messages.

    Attributes:
        layers: the Linear and Conv layers, in order.
        units: of each layer: outputs of a Linear one, maps of a convolution.
        norms: the batch normalisations, in order; `forward` runs the ones that it is given instead.

    Raises:
        OptionError: another backbone: residual connections and other normalisations tie units together.

    Example:
        >>> chain = Chain(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)), "hat")
        >>> chain.units
        [2, 3]
        >>> chain.pre_and_post([torch.tensor([0.0, 1.0]), torch.zeros(3)])[1][0].tolist()
        [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, backbone: nn.Module, method: str) -> None:
        modules = list(_modules(backbone, method))
        self._segments = [Segment(None)]
        for module in modules:
            if isinstance(module, Layer):
                self._segments.append(Segment(module))
            elif isinstance(module, (*ELEMENTWISE, Norm)) or _flattens(module):
                self._segments[-1].rest.append(module)
            else:
                raise _unsupported(method, f"{type(module).__name__}")
        self.layers = [s.layer for s in self._segments if s.layer is not None]
        self.units = [m.out_features if isinstance(m, nn.Linear) else m.out_channels for m in self.layers]
        self.norms = [module for module in modules if isinstance(module, Norm)]
        if not self.layers:
            raise _unsupported(method, "no layer at all")
        if len(set(self.layers)) < len(self.layers):
            raise _unsupported(method, "a layer that is used twice")
        for before, after in pairwise(self._segments):
            _refuse_unclear_inputs(before, after, method)

    def forward(self, x: Tensor, gates: Sequence[Tensor], norms: Iterable[nn.Module]) -> Tensor:
        """Features (B, d) of the inputs, with the gates (units,) of each layer and these batch normalisations."""
        h, normalise = x, iter(norms)
        for segment, gate in zip(self._segments, [None, *gates], strict=True):
            h = h if segment.layer is None else segment.layer(h)
            for module in segment.rest:
                h = (next(normalise) if isinstance(module, Norm) else module)(h)
            if gate is not None:
                h = h * spread(gate, h.shape[1]).view(1, -1, *[1] * (h.dim() - 2))
        return h.flatten(1)

    def pre_and_post(self, units: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """For each layer, the values of its inputs and those of its outputs, given a value for each unit; the data has 1."""
        found, before = [], torch.ones(1, device=units[0].device)
        for layer, after in zip(self.layers, units, strict=True):
            width = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
            found.append((spread(before, width), after))
            before = after
        return found

    def fresh_norms(self) -> nn.ModuleList:
        """Copies of the batch normalisations, as they are now."""
        return nn.ModuleList(copy.deepcopy(norm) for norm in self.norms)


def spread(values: Tensor, width: int) -> Tensor:
    """The value of each channel at each of its places: (C,) -> (width,).

    Example:
        >>> spread(torch.tensor([1.0, 2.0]), 4).tolist()
        [1.0, 1.0, 2.0, 2.0]
    """
    return values.repeat_interleave(width // len(values)) if width > len(values) else values


def _modules(backbone: nn.Module, method: str) -> Iterator[nn.Module]:
    if isinstance(backbone, MLP):
        yield nn.Flatten()
    if isinstance(backbone, MLP | CNN):
        backbone = backbone.layers
    if not isinstance(backbone, nn.Sequential):
        raise _unsupported(method, type(backbone).__name__)
    for module in backbone:
        if isinstance(module, nn.Sequential):
            yield from _modules(module, method)
        else:
            yield module


def _flattens(module: nn.Module) -> bool:
    return isinstance(module, nn.Flatten) and module.start_dim == 1 and module.end_dim == -1


def _refuse_unclear_inputs(before: Segment, after: Segment, method: str) -> None:
    """Every input of a layer must be a unit of the layer before, or one place of it."""
    layer, flat = after.layer, any(isinstance(m, nn.Flatten) for m in before.rest)
    if isinstance(layer, nn.Linear):
        if isinstance(before.layer, nn.Linear | None) or flat:
            return
        raise _unsupported(method, "a Linear layer on maps that are not flattened")
    if layer is not None and layer.groups > 1:
        raise _unsupported(method, "a convolution with groups")


def _unsupported(method: str, found: str) -> Exception:
    rule = (
        f"a plain chain for {method!r}: an nn.Sequential, 'mlp' or 'cnn' of Linear and Conv layers with activations, pooling, "
        "Flatten, dropout and batch normalisation, because anything else ties its units together"
    )
    return bad_option("model", rule, found, "Give model='mlp' or model='cnn'.")
