"""What a model costs: FLOPs of one forward pass, parameters and buffers."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clframe.models.checks import shape_of
from clframe.models.network import Network
from clframe.seeding import isolated


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What a model costs.

    Attributes:
        flops: floating-point operations of one forward pass of one sample; a multiply-add counts two.
        parameters: numbers that may be trained, each shared one counted once.
        parameter_bytes: their memory.
        buffers: other numbers of the state: running statistics, tables.
        buffer_bytes: their memory.
    """

    flops: int
    parameters: int
    parameter_bytes: int
    buffers: int
    buffer_bytes: int


def cost(network: Network, input_shape: Sequence[int]) -> ModelCost:
    """Count what a network costs, on a copy: the network, its modes and the global generators stay as they are.

    Args:
        network: the network to measure.
        input_shape: shape of one sample.

    Raises:
        OptionError: the shape is none.

    Example:
        >>> from clframe.models import build
        >>> cost(build("mlp", (4,), 2, options={"hidden": (3,)}), (4,)).flops  # 2 * (4*3 + 3*2)
        36

    Differences:
        1. Matrix products, convolutions and attention are counted; sums, ReLUs and normalisation, a few per cent, are not.
    """
    from torch.utils.flop_counter import FlopCounterMode

    parameters, buffers = list(network.parameters()), list(network.buffers())
    device = next((tensor.device for tensor in [*parameters, *buffers]), torch.device("cpu"))
    x = torch.zeros(1, *shape_of(input_shape), device=device)
    task = torch.zeros(1, dtype=torch.int64, device=device)
    measured = copy.deepcopy(network)
    with isolated(measured), FlopCounterMode(display=False) as counter:
        measured(x, task)
    return ModelCost(counter.get_total_flops(), *_size(parameters), *_size(buffers))


def _size(tensors: Iterable[Tensor]) -> tuple[int, int]:
    """Numbers and bytes."""
    counts = [(t.numel(), t.numel() * t.element_size()) for t in tensors]
    return sum(n for n, _ in counts), sum(b for _, b in counts)
