"""The kinds of a model: dense layers, or layers that compute with the weights that are not zero."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from clframe.errors import bad_option, unknown_name
from clframe.exporting.sparse_layers import CsrLinear, GatherLinear, SemiStructuredLinear

SPARSE: dict[str, Callable[[nn.Linear], nn.Module]] = {
    "csr": CsrLinear,
    "gather": GatherLinear,
    "2:4": SemiStructuredLinear,
}
"""Layers that take the place of a Linear layer."""

KERNELS = ("auto", "dense", "sliced", *SPARSE)
SHARE = 0.5
"""Layers with at least this share of zeros are replaced."""


def check_kernel(kernel: str, device: torch.device) -> str:
    """The name of a kernel.

    Raises:
        OptionError: an unknown one, or 2:4 where the device has no instructions for it.
    """
    if kernel not in KERNELS:
        raise unknown_name("kernel", kernel, KERNELS)
    if kernel == "2:4" and not has_two_of_four(device):
        rule = "another one on this device: 2:4 needs a CUDA GPU of compute capability 8.0 or more"
        raise bad_option("kernel", rule, kernel, "Give --device cuda on a machine with such a GPU, or --kernel auto.")
    return kernel


def has_two_of_four(device: torch.device) -> bool:
    """Whether the device has instructions for 2 weights in every 4."""
    return device.type == "cuda" and torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= (8, 0)


def sparse_layers(net: nn.Module, kernel: str) -> list[str]:
    """Names of the Linear layers that a kernel replaces: those with at least half of their weights zero; for 2:4, no others.

    Example:
        >>> layer = nn.Linear(4, 2)
        >>> _ = layer.weight.data.copy_(torch.tensor([[0.0, 0.0, 1.0, 0.0], [2.0, 0.0, 0.0, 0.0]]))
        >>> sparse_layers(nn.Sequential(layer, nn.Linear(2, 2)), "csr")
        ['0']
    """
    linear = {n: m for n, m in net.named_modules() if type(m) is nn.Linear}
    found = [n for n, m in linear.items() if float((m.weight == 0).float().mean()) >= SHARE]
    return [n for n in found if _two_of_four(linear[n])] if kernel == "2:4" else found


def _two_of_four(layer: nn.Linear) -> bool:
    """Whether every 4 weights in a row hold at most 2."""
    filled = F.pad(layer.weight, (0, -layer.in_features % 4))
    return int((filled.view(-1, 4) != 0).sum(1).max()) <= 2


def with_kernel(net: nn.Module, kernel: str) -> nn.Module:
    """A copy of the net with its sparse Linear layers replaced; the others, and convolutions, stay dense."""
    made = copy.deepcopy(net)
    for name in sparse_layers(net, kernel):
        parent, _, child = name.rpartition(".")
        layer = made.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        setattr(made.get_submodule(parent), child, SPARSE[kernel](layer))
    return made


def label(net: nn.Module, kernel: str) -> str:
    """The kernel's name for the table; a gather kernel with the largest number of weights of a unit.

    Example:
        >>> layer = nn.Linear(4, 2)
        >>> _ = layer.weight.data.copy_(torch.tensor([[0.0, 0.0, 1.0, 0.0], [2.0, 0.0, 0.0, 0.0]]))
        >>> label(with_kernel(nn.Sequential(layer), "gather"), "gather")
        'gather(1)'
    """
    fans = [m.index.shape[1] for m in net.modules() if isinstance(m, GatherLinear)]
    return f"{kernel}({max(fans)})" if fans else kernel
