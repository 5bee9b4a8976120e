"""Every kind of a model that can be had, each compared with the strategy, and timed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from clframe.exporting.agreement import Reference
from clframe.exporting.exported import Latency, Row
from clframe.exporting.kernels import SPARSE, has_two_of_four, label, sparse_layers, with_kernel
from clframe.exporting.measured import flops, memory, weights
from clframe.exporting.slicing import sliced
from clframe.exporting.stored import file_bytes, packed, plain
from clframe.locate import in_a_line

TOLERANCE = 1e-4
HALF = 1e-2
"""Largest difference from the strategy's scores, relative to their scale; in half precision."""


@dataclass
class Kinds:
    """The kinds of a model.

    Attributes:
        nets: by kind, on the device; "dense" is there always, "sliced" where some unit can be removed.
        base: what the sparse kinds are made from, on the CPU: sliced where that is there, else dense.
        differences: from the strategy's scores, by kind.
        notes: why a kind is not there.
    """

    nets: dict[str, nn.Module] = field(default_factory=dict)
    base: nn.Module = field(default_factory=nn.Identity)
    differences: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def on(self, kind: str, device: torch.device) -> Callable[[Tensor], Tensor]:
        """A function that computes with a kind and answers on the CPU."""
        net = self.nets[kind]
        return lambda x: net(x.to(device)).cpu()

    def without(self, kind: str) -> nn.Module:
        """What a kind was made from, with dense layers, on the CPU."""
        return self.nets["dense"].cpu() if kind == "dense" else self.base


def kinds(net: nn.Module, known: Reference, device: torch.device) -> Kinds:
    """Make them, and keep those that say what the strategy says."""
    found = Kinds(base=net)
    _add(found, "dense", net, known, device, TOLERANCE)
    try:
        small, removed = sliced(net)
    except Exception as error:  # whatever tracing a model of the user's own raises
        small, removed = net, 0
        found.notes.append(f"Slicing is left out, as torch.fx cannot trace the model: {in_a_line(error)}.")
    else:
        if not removed:
            found.notes.append("Slicing removes nothing: no unit is without weights that come in or weights that go out.")
    if removed and _add(found, "sliced", small, known, device, TOLERANCE):
        found.base = small
        found.notes.append(f"Slicing removes {removed} unit{'s' if removed > 1 else ''}.")
    for kernel in SPARSE:
        if kernel == "2:4" and not has_two_of_four(device):
            continue
        if sparse_layers(found.base, kernel):
            tolerance = HALF if kernel == "2:4" else TOLERANCE
            _add(found, kernel, found.base, known, device, tolerance)
        elif kernel == "csr":
            found.notes.append(
                "Sparse kernels are left out: no Linear layer has half of its weights zero; convolutions stay dense."
            )
    return found


def _add(found: Kinds, kind: str, net: nn.Module, known: Reference, device: torch.device, tolerance: float) -> bool:
    moved = copy.deepcopy(net).to(device)
    found.nets[kind] = with_kernel(moved, kind) if kind in SPARSE else moved
    found.differences[kind] = known.difference(found.on(kind, device))
    if kind != "dense" and found.differences[kind] > tolerance * known.scale:
        found.notes.append(f"{kind} is left out: its scores differ by {found.differences[kind]:.3g}.")
        del found.nets[kind]
        return False
    return True


def rows(found: Kinds, times: dict[str, dict[int, Latency]], x: Tensor, onnx_bytes: int, onnx_difference: float) -> list[Row]:
    """One row a kind, in the order in which they were timed."""
    made = []
    for kind, latency in times.items():
        if kind == "onnx":
            computed, one = weights(found.base), flops(found.base, found.base, x)
            made.append(Row("onnx", "onnx", onnx_bytes, None, computed, one, latency, onnx_difference))
            continue
        net, dense = found.nets[kind], found.without(kind)
        state = dense.state_dict()
        size = file_bytes(plain(state) if kind == "dense" else packed(state))
        moved = copy.deepcopy(dense).to(x.device)
        one = flops(moved, net, x) if kind in SPARSE else flops(moved, moved, x)
        made.append(Row(kind, label(net, kind), size, memory(net), weights(net), one, latency, found.differences[kind]))
    return made


def verdict(made: list[Row], batches: tuple[int, ...]) -> list[str]:
    """What sparsity buys, in a sentence for each batch size; and whether ONNX Runtime is faster with dense layers."""
    by_kind = {row.kind: row for row in made}
    dense, onnx = by_kind["dense"], by_kind.get("onnx")
    others = [row for row in made if row.kind not in ("dense", "onnx")]
    said = []
    for batch in batches if others else ():
        best = min(others, key=lambda row: row.latency[batch].median)
        fewer, speed = dense.flops / best.flops, dense.latency[batch].median / best.latency[batch].median
        less = f"{fewer:.1f} times fewer FLOPs than" if fewer >= 1.05 else "about as many FLOPs as"
        text = f"A batch of {batch}: {best.label} needs {less} dense and is {speed:.2f} times as fast"
        text += "." if speed >= 1.05 else ": it does not pay."
        if onnx is not None and onnx.latency[batch].median < 0.95 * best.latency[batch].median:
            text += (
                f" ONNX Runtime with dense layers is {dense.latency[batch].median / onnx.latency[batch].median:.2f} times as fast."
            )
        said.append(text)
    return said
