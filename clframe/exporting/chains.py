"""Two layers of a net with nothing between them but what treats every unit by itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

Layer = nn.Linear | nn.Conv2d
BETWEEN = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.Identity, nn.MaxPool2d, nn.Flatten)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True)
class Chain:
    """The units of one layer, and where they go.

    Attributes:
        before: the layer whose outputs the units are.
        norms: normalisations between the layers, channel by channel.
        after: the only layer that reads the units.
        through: what is between the layers, in order, as functions.
    """

    before: Layer
    norms: list[nn.BatchNorm1d | nn.BatchNorm2d]
    after: Layer
    through: list[nn.Module]

    @property
    def units(self) -> int:
        """How many units there are."""
        return len(self.before.weight)

    def columns(self) -> Tensor:
        """The weights that read each unit (units, weights); a view cannot be had, so a copy."""
        weight = self.after.weight.detach()
        return weight.reshape(len(weight), self.units, -1).transpose(0, 1).flatten(1)

    @torch.no_grad()
    def constants(self) -> Tensor:
        """What `after` reads of each unit (units,) where none of its incoming weights is there."""
        bias = self.before.bias
        value = self.before.weight.new_zeros(1, self.units) if bias is None else bias.detach().clone()[None]
        value = value[:, :, None, None] if isinstance(self.before, nn.Conv2d) else value
        for module in self.through:
            if not isinstance(module, nn.MaxPool2d | nn.Flatten):
                value = module(value)
        return value.flatten()


def chains(net: nn.Module) -> list[Chain]:
    """Every chain of a net, in the order in which they are computed. Other layers are in none.

    Raises:
        Exception: whatever tracing the net's forward raises.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> [(c.before is net[0], c.after is net[2]) for c in chains(net)]
        [(True, True)]
    """
    graph = fx.Tracer().trace(net)
    modules = dict(net.named_modules())
    uses = Counter(id(modules[str(n.target)]) for n in graph.nodes if n.op == "call_module")
    found = []
    for node in graph.nodes:
        layer = modules[str(node.target)] if node.op == "call_module" else None
        if _prunable(layer) and uses[id(layer)] == 1:
            chain = _follow(node, modules, uses)
            if chain is not None:
                found.append(chain)
    return found


def _follow(node: fx.Node, modules: dict[str, nn.Module], uses: Counter[int]) -> Chain | None:
    before = modules[str(node.target)]
    through: list[nn.Module] = []
    while len(node.users) == 1:
        node = next(iter(node.users))
        module = modules[str(node.target)] if node.op == "call_module" else None
        if module is not None and uses[id(module)] > 1 and not isinstance(module, BETWEEN):
            return None
        if _prunable(module):
            assert isinstance(before, Layer) and isinstance(module, Layer)
            norms = [m for m in through if isinstance(m, NORMS)]
            fits = isinstance(module, nn.Linear) or isinstance(before, nn.Conv2d)
            return Chain(before, norms, module, through) if fits else None
        if isinstance(module, nn.Flatten) and module.start_dim != 1:
            return None
        if isinstance(module, (*BETWEEN, *NORMS)):
            through.append(module)
        elif _is_relu(node):
            through.append(nn.ReLU())
        elif not _is_flatten(node):
            return None
    return None


def _prunable(module: nn.Module | None) -> bool:
    return type(module) is nn.Linear or (type(module) is nn.Conv2d and module.groups == 1)


def _is_relu(node: fx.Node) -> bool:
    return node.target in (F.relu, torch.relu) or (node.op == "call_method" and node.target == "relu")


def _is_flatten(node: fx.Node) -> bool:
    called = node.target is torch.flatten or (node.op == "call_method" and node.target == "flatten")
    return called and node.args[1:] == (1,) and not node.kwargs
