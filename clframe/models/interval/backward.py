"""Linear bounds, backward: what a linear function of a network's outputs can be at the least, over all weights in their boxes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn import grad

from clframe.models.interval.box import Box, ends
from clframe.models.interval.forward import ADD, RELU, Walk, bilinear, exact
from clframe.models.interval.products import Bilinear
from clframe.models.interval.rules import NORMS, slope

if TYPE_CHECKING:
    from torch import Tensor

POOLED = (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d)
"""Layers that are linear in their inputs, with no weights."""
BACK: dict[Any, Any] = {F.conv1d: grad.conv1d_input, F.conv2d: grad.conv2d_input, F.conv3d: grad.conv3d_input}
LINEAR_CALLS = ("flatten", "mean", "contiguous")


def least(walk: Walk, rows: Tensor, layers: int | None = None) -> Tensor:
    """The least value of a . f(x; W) for each row a, over all W in their boxes.

    From the outputs backward, A . h is bounded by a linear function of what came before:

        h = W g + b, g >= 0    A h >= (A+ W_l + A- W_u) g + A+ b_l + A- b_u         exact for this layer, and linear in g
        h = relu(g)            A h >= A+ s g + A- t (g - g_l),  t = g_u / (g_u - g_l),  s = 1 if g_u > -g_l, else 0
        anything else          A h >= A+ h_l + A- h_u, with the box of interval bound propagation

    Args:
        walk: the network's interval bounds for these inputs.
        rows: linear functions of the outputs (B, S, K).
        layers: go through so many Linear or Conv layers and bound what is before by its box; 1: the last layer's differences of
            logits alone ("elided"); all by default.

    Returns:
        (B, S).

    Example:
        >>> from clframe.models.interval import ball, walk
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> x = torch.ones(1, 2)
        >>> first_minus_second = torch.tensor([[[1.0, -1.0]]])
        >>> found = least(walk(net, x, ball(net, 0.1)), first_minus_second)
        >>> bool(found <= (net(x) @ torch.tensor([1.0, -1.0])).detach())
        True

    Reference: Zhang et al., "Efficient neural network robustness certification with general activation functions", 2018, and Xu et
        al., "Automatic perturbation analysis for scalable certified robustness and beyond", 2020, for the relaxation.

    Differences:
        1. Perturbed are the weights, not the inputs: because what a ReLU puts out is not negative, the least over a box of weights
           is linear in it, so that a layer costs two products and no relaxation.
        2. Convolutions are treated alike, by their transposes.
    """
    nodes = list(walk.graph.graph.nodes)
    waiting: dict[fx.Node, Tensor] = {nodes[-1].args[0]: rows}
    total, passed = rows.new_zeros(rows.shape[:2]), 0
    with exact():
        for node in reversed(nodes[:-1]):
            if node not in waiting:
                continue
            a = waiting.pop(node)
            step = None if layers is not None and passed >= layers else _through(walk, node, a)
            passed += int(_has_weights(walk, node))
            if step is None:
                total = total + _by_box(a, walk.values[node])
                continue
            for before, coefficients, constant in step:
                waiting[before] = waiting[before] + coefficients if before in waiting else coefficients
                total = total + constant
    return total


Step = list[tuple[fx.Node, "Tensor", "Tensor | float"]]


def _through(walk: Walk, node: fx.Node, a: Tensor) -> Step | None:
    """A . (what the node puts out), as linear functions of what it gets and constants; None: only the box is known."""
    if not isinstance(walk.values[node], Box) or not node.args or not isinstance(node.args[0], fx.Node):
        return None
    before: fx.Node = node.args[0]
    if node.op == "call_module":
        return _layer(walk, node, before, a)
    if node.target in ADD:
        terms = [arg for arg in node.args if isinstance(arg, fx.Node)]
        shapes = {tuple(ends(walk.values[t])[0].shape) for t in terms}
        return [(t, a, 0.0) for t in terms] if len(terms) == 2 and len(shapes) == 1 else None
    if node.target is F.linear:
        weight, bias = (_box_of(walk, a) for a in (node.args[1], node.args[2] if len(node.args) > 2 else node.kwargs.get("bias")))
        return _product(F.linear, walk.values[before], weight, bias, before, a) if weight is not None else None
    if node.target in RELU or node.target in ("relu", "relu_"):
        return _relu(walk, before, a, 0.0)
    if node.target is torch.flatten or node.target in LINEAR_CALLS:
        return [(before, _transposed(lambda g: _again(node, g), walk.values[before], a), 0.0)]
    return None


def _has_weights(walk: Walk, node: fx.Node) -> bool:
    """Whether it is a Linear or Conv layer."""
    if node.op == "call_module":
        return bilinear(walk.graph.get_submodule(str(node.target))) is not None
    return node.target is F.linear


def _box_of(walk: Walk, argument: Any) -> Box | None:
    value = walk.values.get(argument) if isinstance(argument, fx.Node) else None
    return value if isinstance(value, Box) else None


def _layer(walk: Walk, node: fx.Node, before: fx.Node, a: Tensor) -> Step | None:
    layer, weight, bias = walk.of(str(node.target))
    value, op, bend = walk.values[before], bilinear(layer), slope(layer)
    if op is not None and weight is not None:
        return _product(op, value, weight, bias, before, a)
    if bend is not None:
        return _relu(walk, before, a, bend)
    if isinstance(layer, POOLED):
        return [(before, _transposed(layer, value, a), 0.0)]
    if isinstance(layer, nn.MaxPool1d | nn.MaxPool2d) and isinstance(value, Box):
        largest = _transposed(layer, value, a.clamp(min=0), at=value.lower)  # max(g) >= the g whose lower end is largest
        return [(before, largest, _by_box(a.clamp(max=0), walk.values[node]))]
    if isinstance(layer, NORMS) and (weight is None or weight.is_point):
        assert layer.running_mean is not None and layer.running_var is not None
        shape = (1, 1, -1, *[1] * (a.dim() - 3))
        factor = (layer.running_var.to(a.dtype) + layer.eps).rsqrt()
        factor = factor if weight is None else factor * weight.lower
        shift = -layer.running_mean.to(a.dtype) * factor
        low, high = (shift, shift) if bias is None else (shift + bias.lower, shift + bias.upper)
        at = a.clamp(min=0) * low.view(shape) + a.clamp(max=0) * high.view(shape)
        return [(before, a * factor.view(shape), at.flatten(2).sum(2))]
    return None


def _product(op: Bilinear, value: Any, weight: Box, bias: Box | None, before: fx.Node, a: Tensor) -> Step | None:
    """Through W g + b, where g is not negative or W is known."""
    if not isinstance(value, Box) or (op is F.linear and value.lower.dim() != 2):
        return None
    positive, negative = a.clamp(min=0), a.clamp(max=0)
    constant: Tensor | float = 0.0
    if bias is not None:
        low, high = (e.view(1, 1, -1, *[1] * (a.dim() - 3)) for e in ends(bias))
        constant = (positive * low + negative * high).flatten(2).sum(2)
    if weight.is_point:
        return [(before, _back(op, weight.lower, value, a), constant)]
    if not bool((value.lower >= 0).all()):
        return None
    return [(before, _back(op, weight.lower, value, positive) + _back(op, weight.upper, value, negative), constant)]


def _relu(walk: Walk, before: fx.Node, a: Tensor, bend: float) -> Step | None:
    """Through max(g, bend g): below by a line through 0, above by the line through both ends."""
    value = walk.values[before]
    if not isinstance(value, Box):
        return None
    low, high = value.lower, value.upper
    crossing = (low < 0) & (high > 0)
    inside = torch.where(low >= 0, 1.0, bend).to(low.dtype)
    above = torch.where(crossing, (high - bend * low) / (high - low).clamp(min=1e-30), inside)
    offset = torch.where(crossing, (bend - above) * low, 0.0)
    below = torch.where(crossing, torch.where(high > -low, 1.0, bend).to(low.dtype), inside)
    positive, negative = a.clamp(min=0), a.clamp(max=0)
    coefficients = positive * below[:, None] + negative * above[:, None]
    return [(before, coefficients, (negative * offset[:, None]).flatten(2).sum(2))]


def _by_box(a: Tensor, value: Any) -> Tensor:
    """The least of A . h over the box of h."""
    rows = a.flatten(2)
    if not isinstance(value, Box):
        return torch.bmm(rows, value.flatten(1)[:, :, None])[:, :, 0]
    centre, radius = (v.flatten(1)[:, :, None] for v in (value.centre, value.radius))
    return (torch.bmm(rows, centre) - torch.bmm(rows.abs(), radius))[:, :, 0]


def _back(op: Bilinear, weight: Tensor, value: Box, a: Tensor) -> Tensor:
    """A W: a product, or a convolution the other way round."""
    if op is F.linear:
        return a @ weight
    assert isinstance(op, partial)
    flat, options, shape = a.flatten(0, 1), dict(op.keywords), value.lower.shape[1:]
    if isinstance(options["padding"], str):
        return _transposed(lambda g: op(g, weight), value, a)
    found: Tensor = BACK[op.func]((len(flat), *shape), weight, flat, **options)
    return found.view(*a.shape[:2], *shape)


def _transposed(op: Any, value: Tensor | Box, a: Tensor, at: Tensor | None = None) -> Tensor:
    """A (B, S, ...) times the derivative of a map by its inputs, at `at`; for a linear map that is its transpose."""
    low = ends(value)[0] if at is None else at
    batch, rows = a.shape[:2]
    with torch.enable_grad():
        inputs = low.detach().repeat_interleave(rows, 0).requires_grad_()
        out = op(inputs)
        (found,) = torch.autograd.grad(out, inputs, a.reshape(out.shape), create_graph=a.requires_grad)
    return found.view(batch, rows, *low.shape[1:])


def _again(node: fx.Node, g: Tensor) -> Tensor:
    """A call that only moves or averages, of another input."""
    method = isinstance(node.target, str)
    others: Any = node.args[1:]
    out: Tensor = getattr(g, str(node.target))(*others, **node.kwargs) if method else node.target(g, *others, **node.kwargs)  # type: ignore[operator]
    return out
