"""A net as one list of layers and the few lines that apply them, in plain torch."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import fx, nn

from clframe.errors import ClframeError
from clframe.locate import in_a_line


class NotWritableError(ClframeError):
    """A net that cannot be written as a file of plain torch code."""


def flattened(net: nn.Module) -> fx.GraphModule:
    """The same net with all its layers side by side, without containers and without what does nothing.

    Raises:
        NotWritableError: its forward cannot be traced, because it decides by the values of its inputs, for example.

    Example:
        >>> flat = flattened(nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Identity()))
        >>> [name for name, _ in flat.named_children()]
        ['_0_0']
    """
    try:
        graph = fx.Tracer().trace(net)
    except Exception as error:  # whatever the user's forward raises when it is traced
        raise NotWritableError(
            f"model.py must hold what torch.fx can trace; {type(net).__name__} gave {in_a_line(error)}. Use model.onnx."
        ) from error
    modules = dict(net.named_modules())
    held: dict[str, Any] = {}
    for node in list(graph.nodes):
        if node.op == "placeholder":
            node.target = "x"
        elif node.op == "call_module" and isinstance(modules[str(node.target)], nn.Identity):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif node.op in ("call_module", "get_attr"):
            name = _plain_name(str(node.target))
            value = modules[str(node.target)] if node.op == "call_module" else _attribute(net, str(node.target))
            while held.get(name, value) is not value:  # a.b and a_b would have one name
                name += "_"
            held[name] = value
            node.target = name
    flat = nn.Module()
    for name, value in held.items():
        if isinstance(value, nn.Module):
            flat.add_module(name, value)
        else:
            flat.register_buffer(name, value.detach())
    return fx.symbolic_trace(fx.GraphModule(flat, graph))


GIVEN = {"inf": "from math import inf", "nan": "from math import nan", "device": "from torch import device"}
"""What the code of a graph may need besides torch."""


def standard_imports(net: fx.GraphModule) -> list[str]:
    """Import lines for the names that its forward uses, torch left out.

    Raises:
        NotWritableError: it calls something that is not torch's.
    """
    code = net.graph.python_code("self")
    body = "\n".join(forward_lines(net))
    used = [name for name in code.globals if name != "torch" and re.search(rf"\b{name}\b", body)]
    strange = [name for name in used if name not in GIVEN]
    if strange:
        raise NotWritableError(f"model.py must call torch alone; the model also calls {', '.join(strange)}. Use model.onnx.")
    return [GIVEN[name] for name in used]


def forward_lines(net: fx.GraphModule) -> list[str]:
    """The body of its forward, line by line."""
    lines = [line.strip() for line in net.graph.python_code("self").src.splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith("def forward"))
    return [re.sub(r";\s.*= None$", "", line) for line in lines[start + 1 :] if line]


def constructor(layer: nn.Module) -> str:
    """The call that makes a layer of torch like this one.

    Raises:
        NotWritableError: its own words about itself do not tell.

    Example:
        >>> constructor(nn.Linear(2, 3))
        'nn.Linear(in_features=2, out_features=3, bias=True)'
    """
    words = f"nn.{layer!r}"
    try:
        made = eval(words, {"nn": nn, "torch": torch})
        same = type(made) is type(layer) and _shapes(made) == _shapes(layer) and _options(made) == _options(layer)
    except Exception:  # the words are none of Python's
        same = False
    if not same:
        raise NotWritableError(
            f"model.py must be able to make each layer anew; {type(layer).__name__} does not say how. Use model.onnx."
        )
    return words


def _shapes(module: nn.Module) -> dict[str, Any]:
    return {name: (value.shape, value.dtype) for name, value in module.state_dict().items()}


def _options(module: nn.Module) -> dict[str, Any]:
    """What its constructor was given, as far as it is kept as numbers and words."""
    plain = (bool, int, float, str, tuple, type(None))
    return {n: v for n, v in vars(module).items() if not n.startswith("_") and n != "training" and isinstance(v, plain)}


def _plain_name(target: str) -> str:
    name = re.sub(r"\W", "_", target.removeprefix("backbone."))
    name = f"backbone_{name}" if name == "head" and target != "head" else name
    return name if name.isidentifier() else f"_{name}"


def _attribute(net: nn.Module, target: str) -> torch.Tensor:
    found: Any = net
    for part in target.split("."):
        found = getattr(found, part)
    if not isinstance(found, torch.Tensor):
        raise NotWritableError(f"model.py must hold tensors alone; {target!r} is a {type(found).__name__}. Use model.onnx.")
    return found
