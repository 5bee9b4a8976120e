"""Linear bounds, backward: what a linear function of a network's outputs can be at the least, over all weights in their boxes."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from clframe.models.interval.box import Box, ends
from clframe.models.interval.forward import ADD, RELU, Walk, bilinear, exact
from clframe.models.interval.products import Bilinear, least_linear
from clframe.models.interval.rules import NORMS, slope

AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
SAME = (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d)
"""Layers that leave all numbers as they are."""
LARGEST: dict[type[nn.Module], Any] = {nn.MaxPool1d: F.max_pool1d, nn.MaxPool2d: F.max_pool2d}
Parts = tuple[Tensor, Tensor | None]
Rows = Tensor | Parts
"""Coefficients (B, S, ...), or (1, S, ...) for all samples: as they are, or their positive and negative parts (None: all 0)."""
Step = list[tuple[fx.Node, Rows, Tensor | float]]


def least(walk: Walk, rows: Tensor, layers: int | None = None) -> Tensor:
    """The least value of a . f(x; W) for each row a, over all W in their boxes.

    From the outputs backward, A . h is bounded by a linear function of what came before:

        h = W g + b, g >= 0    A h >= (A+ W_l + A- W_u) g + A+ b_l + A- b_u         exact for this layer, and linear in g
        h = relu(g)            A h >= A+ s g + A- t (g - g_l),  t = g_u / (g_u - g_l),  s = 1 if g_u > -g_l, else 0
        h = max-pool(g)        A h >= A+ g_i + A- h_u,  i the place in each window with the largest g_l
        anything else          A h >= A+ h_l + A- h_u, with the box of interval bound propagation

    Going further back than the first layer's ReLU or max-pooling wins nothing where the inputs are known: a neuron's box is exact,
    other neurons have other weights, and every line above lies below the box at its ends. So there it ends. (Of a convolution, the
    same weights serve all positions; their boxes are taken as independent.)

    Args:
        walk: the network's interval bounds for these inputs.
        rows: linear functions of the outputs (B, S, K), or the same for all samples (1, S, K), which costs less.
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
    waiting: dict[fx.Node, Rows] = {nodes[-1].args[0]: rows}
    total, passed = rows.new_zeros(len(walk.out.lower), rows.shape[1]), 0
    with exact():
        for node in reversed(nodes[:-1]):
            if node not in waiting:
                continue
            a = waiting.pop(node)
            stops = (layers is not None and passed >= layers) or _filled(walk, node)
            step = None if stops else _through(walk, node, a)
            passed += int(_has_weights(walk, node))
            if step is None:
                total = total + _by_box(_whole(a), walk.values[node])
                continue
            for before, coefficients, constant in step:
                waiting[before] = _whole(waiting[before]) + _whole(coefficients) if before in waiting else coefficients
                total = total + constant
    return total


def _parts(a: Rows) -> Parts:
    return a if isinstance(a, tuple) else (a.clamp(min=0), a.clamp(max=0))


def _whole(a: Rows) -> Tensor:
    if isinstance(a, Tensor):
        return a
    positive, negative = a
    return positive if negative is None else positive + negative


def _filled(walk: Walk, node: fx.Node) -> bool:
    """Whether its box is made of exact boxes of neurons, each of which counts for nothing else: no line can be better."""
    if not node.args or not isinstance(node.args[0], fx.Node):
        return False
    before = node.args[0]
    if _has_weights(walk, node):
        return not isinstance(walk.values[before], Box)
    layer = walk.graph.get_submodule(str(node.target)) if node.op == "call_module" else None
    passes = _is_relu(node) if layer is None else slope(layer) is not None or isinstance(layer, (*SAME, *LARGEST))
    return passes and len(before.users) == 1 and _filled(walk, before)


def _is_relu(node: fx.Node) -> bool:
    return node.target in RELU or node.target in ("relu", "relu_")


def _through(walk: Walk, node: fx.Node, a: Rows) -> Step | None:
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
    if _is_relu(node):
        return _relu(walk, before, a, 0.0)
    if node.target in (torch.flatten, "flatten", "contiguous"):
        return [(before, _shaped(walk.values[before], a), 0.0)]
    if node.target == "mean":
        return [(before, _transposed(lambda g: _again(node, g), walk.values[before], _whole(a)), 0.0)]
    return None


def _has_weights(walk: Walk, node: fx.Node) -> bool:
    """Whether it is a Linear or Conv layer."""
    if node.op == "call_module":
        return bilinear(walk.graph.get_submodule(str(node.target))) is not None
    return node.target is F.linear


def _box_of(walk: Walk, argument: Any) -> Box | None:
    value = walk.values[argument] if isinstance(argument, fx.Node) else None
    return value if isinstance(value, Box) else None


def _layer(walk: Walk, node: fx.Node, before: fx.Node, a: Rows) -> Step | None:
    layer, weight, bias = walk.of(str(node.target))
    value, op, bend = walk.values[before], bilinear(layer), slope(layer)
    if op is not None and weight is not None:
        return _product(op, value, weight, bias, before, a)
    if bend is not None:
        return _relu(walk, before, a, bend)
    if isinstance(layer, SAME):
        return [(before, _shaped(value, a), 0.0)]
    if isinstance(layer, AVERAGES):
        return [(before, _transposed(layer, value, _whole(a)), 0.0)]
    if isinstance(layer, tuple(LARGEST)) and isinstance(value, Box):
        positive, negative = _parts(a)
        constant = 0.0 if negative is None else _inner(negative, walk.values[node].upper)
        return [(before, (_placed(layer, positive, value.lower), None), constant)]
    if isinstance(layer, NORMS) and (weight is None or weight.is_point):
        return _normalised(layer, weight, bias, before, _whole(a))
    return None


def _normalised(layer: Any, weight: Box | None, bias: Box | None, before: fx.Node, a: Tensor) -> Step:
    """Through normalisation by constants, with its bias in a box."""
    shape = (1, 1, -1, *[1] * (a.dim() - 3))
    factor = (layer.running_var.to(a.dtype) + layer.eps).rsqrt()
    factor = factor if weight is None else factor * weight.lower
    shift = -layer.running_mean.to(a.dtype) * factor
    low, high = (shift, shift) if bias is None else (shift + bias.lower, shift + bias.upper)
    return [(before, a * factor.view(shape), _shifted(a.clamp(min=0), low) + _shifted(a.clamp(max=0), high))]


def _product(op: Bilinear, value: Any, weight: Box, bias: Box | None, before: fx.Node, a: Rows) -> Step | None:
    """Through W g + b, where g is not negative or W is known."""
    if not isinstance(value, Box) or (op is F.linear and value.lower.dim() != 2):
        return None
    if not weight.is_point and not bool((value.lower >= 0).all()):
        return None
    positive, negative = _parts(a)
    constant: Tensor | float = 0.0
    if bias is not None:
        constant = _shifted(positive, bias.lower)
        constant = constant if negative is None else constant + _shifted(negative, bias.upper)
    if weight.is_point:
        return [(before, _back(op, weight.lower, value, _whole(a)), constant)]
    if op is F.linear and negative is not None:
        return [(before, least_linear(weight, positive, negative), constant)]
    found = _back(op, weight.lower, value, positive)
    return [(before, found if negative is None else found + _back(op, weight.upper, value, negative), constant)]


def _relu(walk: Walk, before: fx.Node, a: Rows, bend: float) -> Step | None:
    """Through max(g, bend g): below by a line through 0, above by the line through both ends."""
    value = walk.values[before]
    if not isinstance(value, Box):
        return None
    low, high = value.lower, value.upper
    crossing = (low < 0) & (high > 0)
    inside = torch.where(low >= 0, 1.0, bend).to(low.dtype)
    below = torch.where(crossing, torch.where(high > -low, 1.0, bend).to(low.dtype), inside)
    positive, negative = _parts(a)
    if negative is None:
        return [(before, (positive * below[:, None], None), 0.0)]
    above = torch.where(crossing, (high - bend * low) / (high - low).clamp(min=1e-30), inside)
    offset = torch.where(crossing, (bend - above) * low, 0.0)
    return [(before, (positive * below[:, None], negative * above[:, None]), _inner(negative, offset))]


def _by_box(a: Tensor, value: Any) -> Tensor:
    """The least of A . h over the box of h."""
    if not isinstance(value, Box):
        return _inner(a, value)
    if len(a) == 1:
        return _inner(a.clamp(min=0), value.lower) + _inner(a.clamp(max=0), value.upper)
    return _inner(a, value.centre) - _inner(a.abs(), value.radius)


def _inner(a: Tensor, value: Tensor) -> Tensor:
    """A . v (B, S) of A (B, S, ...) or (1, S, ...) and v (B, ...)."""
    rows, flat = a.flatten(2), value.flatten(1)
    return flat @ rows[0].T if len(rows) == 1 else torch.bmm(rows, flat[:, :, None])[:, :, 0]


def _shifted(a: Tensor, shift: Tensor) -> Tensor:
    """A . b (B, S) of A (B, S, C, ...) and the b (C,) of channels."""
    return (a if a.dim() == 3 else a.flatten(3).sum(3)) @ shift


def _shaped(value: Tensor | Box, a: Rows) -> Rows:
    """A in the shape of what it is of."""
    shape = ends(value)[0].shape[1:]
    if isinstance(a, Tensor):
        return a.reshape(*a.shape[:2], *shape)
    positive, negative = (None if part is None else part.reshape(*part.shape[:2], *shape) for part in a)
    assert positive is not None
    return positive, negative


def _back(op: Bilinear, weight: Tensor, value: Box, a: Tensor) -> Tensor:
    """A W: a product, or a convolution the other way round."""
    if op is F.linear:
        return a @ weight
    assert isinstance(op, partial)
    stride, padding, dilation, groups = (op.keywords[n] for n in ("stride", "padding", "dilation", "groups"))
    if isinstance(padding, str):
        return _transposed(lambda g: op(g, weight), value, a)
    flat = a.flatten(0, 1)
    inputs = flat.new_empty(len(flat), *value.lower.shape[1:])  # of which the shape matters alone
    found: Tensor
    found, _, _ = torch.ops.aten.convolution_backward(
        flat, inputs, weight, None, stride, padding, dilation, False, [0], groups, (True, False, False)
    )
    return found.view(*a.shape[:2], *inputs.shape[1:])


def _placed(layer: Any, a: Tensor, at: Tensor) -> Tensor:
    """A (B, S, C, ...) of what a max-pooling puts out, at the places in each window where `at` (B, C, ...) is largest."""
    options = {n: getattr(layer, n) for n in ("kernel_size", "stride", "padding", "dilation", "ceil_mode")}
    _, places = LARGEST[type(layer)](at, **options, return_indices=True)
    shape = (len(at), *a.shape[1:3])
    places = places.flatten(2)[:, None].expand(*shape, -1)
    found = a.new_zeros(*shape, at[0, 0].numel()).scatter_add(3, places, a.flatten(3).expand(*shape, -1))
    return found.view(*shape, *at.shape[2:])


def _transposed(op: Any, value: Tensor | Box, a: Tensor) -> Tensor:
    """A (B, S, ...) times a linear map of its inputs."""
    low = ends(value)[0]
    batch, rows = len(low), a.shape[1]
    with torch.enable_grad():
        inputs = low.detach().repeat_interleave(rows, 0).requires_grad_()
        out = op(inputs)
        (found,) = torch.autograd.grad(out, inputs, a.expand(batch, *a.shape[1:]).reshape(out.shape), create_graph=a.requires_grad)
    return found.view(batch, rows, *low.shape[1:])


def _again(node: fx.Node, g: Tensor) -> Tensor:
    """A call that only averages, of another input."""
    others: Any = node.args[1:]
    out: Tensor = getattr(g, str(node.target))(*others, **node.kwargs)
    return out
