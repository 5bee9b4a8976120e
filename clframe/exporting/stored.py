"""Weights as a file holds them: a sparse one as bits and values, where that is smaller."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from clframe.strategies.sparse.bits import pack


def packed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a net; a weight with many zeros becomes NAME.bits (eight in a byte, 1 for a number) and NAME.values.

    Example:
        >>> import torch
        >>> {name: len(value) for name, value in packed({"w": torch.eye(8)}).items()}
        {'w.bits': 8, 'w.values': 8}
    """
    found: dict[str, Tensor] = {}
    for name, value in plain(state).items():
        mask = value != 0
        if value.is_floating_point() and -(-value.numel() // 8) + int(mask.sum()) * value.element_size() < value.nbytes:
            found |= {f"{name}.bits": pack({name: mask}), f"{name}.values": value[mask].contiguous()}
        else:
            found[name] = value
    return found


def plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a net, each tensor with memory of its own."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}


def file_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of the safetensors file of these tensors.

    Example:
        >>> import torch
        >>> file_bytes({"w": torch.zeros(1000)}) - 4000 < 100
        True
    """
    from safetensors.torch import save

    return len(save(dict(tensors)))
