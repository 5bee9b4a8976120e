"""Normalisation in backbones: what a model puts before its nonlinearities, and which weights it makes scale invariant."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import torch
from torch import nn

from clframe.errors import CompositionError, unknown_name
from clframe.locate import in_a_line
from clframe.models.ghost import CHUNK, GhostBatchNorm1d, GhostBatchNorm2d, with_ghost_norm

NORMS = ("none", "layer", "batch", "ghost")
"""What a model can put before each of its nonlinearities."""

Weighted = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d

Net = TypeVar("Net", bound=nn.Module)

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMALISATIONS = (
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
)
"""Layers whose output stays the same when their input is multiplied by a positive number (but for their eps)."""


def normalisation(kind: str, width: int, *, maps: bool = False, chunk: int = CHUNK) -> list[nn.Module]:
    """The layers that normalise `width` channels: one, or none.

    Args:
        kind: "none"; "layer" (over all units of a sample), "batch" or "ghost" (each channel over the batch, or over its chunks).
        width: channels.
        maps: whether these are maps (B, C, H, W), else vectors (B, C).
        chunk: of "ghost".

    Raises:
        OptionError: an unknown kind, or a chunk of fewer than 2 samples.

    Example:
        >>> [type(layer).__name__ for layer in normalisation("layer", 8, maps=True)]
        ['GroupNorm']
    """
    if kind not in NORMS:
        raise unknown_name("norm", kind, NORMS)
    if kind == "layer":
        return [nn.GroupNorm(1, width) if maps else nn.LayerNorm(width)]
    if kind == "batch":
        return [nn.BatchNorm2d(width) if maps else nn.BatchNorm1d(width)]
    if kind == "ghost":
        return [GhostBatchNorm2d(width, chunk) if maps else GhostBatchNorm1d(width, chunk)]
    return []


def renormed(model: Net, norm: str, chunk: int) -> Net:
    """The model with batch normalisation as it is (norm "batch"), or with ghost batch normalisation (norm "ghost").

    Raises:
        OptionError: an unknown norm, or a chunk of fewer than 2 samples.
    """
    if norm not in ("batch", "ghost"):
        raise unknown_name("norm", norm, ("batch", "ghost"))
    return cast(Net, with_ghost_norm(model, chunk)) if norm == "ghost" else model


def scale_invariant(backbone: nn.Module) -> list[tuple[Weighted, list[nn.Module]]]:
    """The linear and convolutional layers whose output goes into normalisation and nowhere else, each with that normalisation.

    Multiplying the weight and the bias of such a layer by a positive number leaves the network's function as it is (but for
    the eps of the normalisation, and for running statistics, which belong to the old scale). What follows a layer is read off
    the backbone's graph, so names and the order of attributes do not matter.

    Raises:
        CompositionError: the backbone's forward cannot be traced, because it decides by the values of its inputs, for example.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU())
        >>> [layer is net[0] for layer, _ in scale_invariant(net)]
        [True]
    """
    try:
        graph = _Tracer().trace(backbone)
    except Exception as error:  # whatever the user's forward raises when it is traced
        raise CompositionError(
            f"the forward of the backbone must be traceable by torch.fx, to see which layers are normalised; "
            f"{type(backbone).__name__} gave {in_a_line(error)}. Name the layers, or use one of clframe's models."
        ) from error
    found: dict[Weighted, list[nn.Module]] = {}
    excluded = set[nn.Module]()
    for node in graph.nodes:
        layer = _module(backbone, node)
        if isinstance(layer, WEIGHTED):
            after = [_module(backbone, user) for user in node.users]
            norms = [m for m in after if isinstance(m, NORMALISATIONS)]
            if not after or len(norms) < len(after):
                excluded.add(layer)
            known = found.setdefault(layer, [])
            known += [m for m in norms if m not in known]
    return [(layer, norms) for layer, norms in found.items() if layer not in excluded]


class _Tracer(torch.fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, NORMALISATIONS) or super().is_leaf_module(m, module_qualified_name)


def _module(backbone: nn.Module, node: Any) -> nn.Module | None:
    return backbone.get_submodule(node.target) if node.op == "call_module" else None
