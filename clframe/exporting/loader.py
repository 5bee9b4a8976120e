"""model.py: the text of a loader that needs torch and safetensors, and nothing of clframe."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from typing import Any, cast

import torch
from torch import fx, nn

from clframe.exporting.flat import constructor, forward_lines, standard_imports
from clframe.exporting.kernels import SPARSE, sparse_layers
from clframe.exporting.standalone import Standalone

TEXT = '''"""{what}

    from model import load

    net = load()
    scores = net(x)  # x (B, {shape}), float32 -> scores (B, {count}), in the order of CLASSES

export.json says what the classes and the inputs are. Needs torch and safetensors.
"""

{standard}from pathlib import Path

import torch
{imports}from safetensors.torch import load_file
from torch import {names}

CLASSES = {classes}
LABELS = {labels}


class Net(nn.Module):
    """Scores of the classes."""

    def __init__(self) -> None:
        super().__init__()
{layers}

    def forward(self, x):
{forward}

{sparse}
def load(folder=None, device="cpu"):
    """The net with its weights, for evaluation; `folder` is where model.safetensors is, beside this file by default."""
    stored = load_file(Path(folder or Path(__file__).parent) / "model.safetensors")
    net = Net()
    net.load_state_dict({{name: _weight(stored, name, value) for name, value in net.state_dict().items()}})
    net = net.eval().requires_grad_(False).to(device)
{replace}    return net


def _weight(stored, name, like):
    """A weight as it was stored: as it is, or as a bit for each number and the values where the bit is 1."""
    if name in stored:
        return stored[name]
    bits = stored[name + ".bits"].int()[:, None] >> torch.arange(7, -1, -1)
    dense = torch.zeros(like.numel(), dtype=like.dtype)
    dense[(bits & 1).flatten()[: like.numel()].bool()] = stored[name + ".values"]
    return dense.view_as(like)
'''


def loader(flat: fx.GraphModule, kernel: str, exported: Standalone, shape: tuple[int, ...], names: tuple[str, ...]) -> str:
    """The text of model.py.

    Args:
        flat: the net.
        kernel: what its sparse layers compute with.
        exported: what it was made from.
        shape: of one sample.
        names: of the classes.

    Raises:
        NotWritableError: a layer or a call that is not torch's.
    """
    layers = [f"        self.{name} = {constructor(layer)}" for name, layer in flat.named_children()]
    layers += [
        f'        self.register_buffer("{name}", torch.zeros({tuple(value.shape)}, dtype={value.dtype}))'
        for name, value in flat.named_buffers(recurse=False)
    ]
    kind = SPARSE.get(kernel)
    replaced = sparse_layers(flat, kernel) if kind is not None else []
    source = inspect.getsource(cast(type, kind)) if kind is not None else ""
    replace = [f"    net.{name} = {cast(Any, kind).__name__}(net.{name})\n" for name in replaced]
    what = "all classes" if exported.task is None else f"task {exported.task}"
    return TEXT.format(
        what=f"The model of {what}: scores of {len(names)} classes. Written by clframe export.",
        shape=", ".join(map(str, shape)),
        count=len(names),
        standard="".join(f"{line}\n" for line in standard_imports(flat) + (["import warnings"] if "warnings." in source else [])),
        imports="import torch.nn.functional as F\n" if "F." in source else "",
        names="Tensor, nn" if source else "nn",
        classes=tuple(names),
        labels=exported.classes,
        layers="\n".join(layers),
        forward="\n".join(f"        {line}" for line in forward_lines(flat)),
        sparse=f"\n{source}\n" if source else "",
        replace="".join(replace),
    )


def loaded(folder: Path, device: torch.device | str = "cpu") -> nn.Module:
    """What model.py in a folder loads."""
    spec = importlib.util.spec_from_file_location("clframe_exported_model", folder / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net: nn.Module = module.load(folder, device)
    return net
