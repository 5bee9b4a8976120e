"""Certificates: samples that a network classifies correctly whatever its weights are, within their boxes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import fx, nn

from clframe.errors import bad_option, unknown_name
from clframe.models.interval.box import Box, checked
from clframe.models.interval.forward import Walk, propagate, traced
from clframe.models.interval.margins import margins

if TYPE_CHECKING:
    from torch import Tensor

METHODS = ("logits", "elided", "linear", "best")
SLACK = 1e-9
"""What rounding in double precision may add up to, relative to the largest number that was met."""
MEMORY = 2**27
"""Bytes for the rows of the widest layer that are gone back through together."""


@dataclass(frozen=True)
class Certificate:
    """What is known of samples for all weights in their boxes.

    Attributes:
        margin: lower bound of the score of the true class minus that of each other class, (B, K); 0 for the true class itself.
        worst: its least over the other classes (B,).
        certified: samples that every network in the boxes classifies correctly (B,), bool: worst above what rounding may do.
        method: how the bound was found.
    """

    margin: Tensor
    worst: Tensor
    certified: Tensor
    method: str

    @property
    def accuracy(self) -> float:
        """The share of certified samples: every network in the boxes is at least so accurate on these samples."""
        return float(self.certified.double().mean())


def certify(
    net: nn.Module, x: Tensor | Box, y: Tensor, boxes: Mapping[str, Box], method: str = "best", chunk: int = 0
) -> Certificate:
    """Which samples every network with parameters in these boxes classifies correctly.

        margin_j <= min over W in the boxes of f_y(x; W) - f_j(x; W);   certified: margin_j > slack for all j != y

    "logits" subtracts the bounds of both logits; "elided" bounds their difference over the last layer's weights; "linear" goes
    backward through all layers (see `least`); "best" does so for the samples and classes that "elided" leaves open alone, and takes
    the larger of both bounds. All are sound, so a certified sample is classified correctly by every single network in the
    boxes. Computed in double precision, with 1e-9 of the largest number met as slack for rounding: a thousand times what rounding
    does to sums of thousands of terms.

    Args:
        net: the network, in evaluation mode: x -> logits (B, K).
        x: inputs (B, *input), known exactly or in a box.
        y: true classes (B,).
        boxes: of parameters, by name; the others are points. `ball(net, radius)` makes some.
        method: how to bound.
        chunk: samples that are bounded together; 0: at most 256, and so many that what the widest layer needs takes some 128 MB.

    Raises:
        OptionError: an unknown method, a layer without a sound rule, boxes that do not fit, a class that there is not, no samples,
            inputs that are no tensors or not finite.

    Example:
        >>> from clframe.models.interval import ball
        >>> net = nn.Sequential(nn.Linear(2, 2)).eval()
        >>> _ = net[0].weight.data.copy_(torch.eye(2)), net[0].bias.data.zero_()
        >>> x, y = torch.tensor([[1.0, 0.0], [0.5, 0.45]]), torch.tensor([0, 0])
        >>> certify(net, x, y, ball(net, 0.1)).certified.tolist()
        [True, False]

    Reference: Gowal et al., 2018, for "elided"; Xu et al., 2020, for "linear".

    Differences:
        1. Bounds over weights, not over inputs. Published code of interval networks for continual learning has bounds for plain
           layers and inputs that are not negative; the sorted outputs of three networks, which it has for convolutions, are none.
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if chunk < 0:
        raise bad_option("chunk", "a positive number of samples, or 0 for what memory allows", chunk, "Leave it out.")
    for name, value in (("x", x.lower + x.upper if isinstance(x, Box) else x), ("y", y)):
        if not isinstance(value, torch.Tensor):
            raise bad_option(name, "a tensor", type(value).__name__, "Give torch.as_tensor of it.")
        if value.numel() and not bool(torch.stack(value.aminmax()).isfinite().all()):
            raise bad_option(name, "finite", "NaN or infinity", "Leave these samples out.")
    if not 0 < len(y) == len(x.lower if isinstance(x, Box) else x):
        raise bad_option("y", "a class for each of one or more samples", f"{len(y)} classes", "Give as many classes as samples.")
    double = {name: box.to(torch.float64) for name, box in checked(boxes, net).items()}
    graph = traced(copy.deepcopy(net).double())
    order = y.argsort(stable=True)  # samples of one class share their work
    margin, slack = [], []
    for some in torch.split(order, chunk or _together(graph, _of(x, order[:1]), double)):
        with torch.no_grad():
            made = propagate(graph, _of(x, some), double)
            around = SLACK * (1 + _largest(made))
            margin.append(_margins(made, y[some], method, around))
        slack.append(around.expand(len(some)))
    back = order.argsort()
    found = torch.cat(margin)[back]
    worst = _worst(found, y)
    return Certificate(found, worst, worst > torch.cat(slack)[back], method)


def _of(x: Tensor | Box, some: Tensor) -> Tensor | Box:
    """Some of the inputs, in double precision."""
    return Box(x.lower[some].double(), x.upper[some].double()) if isinstance(x, Box) else x[some].double()


def _together(graph: fx.GraphModule, x: Tensor | Box, boxes: Mapping[str, Box]) -> int:
    """Samples for which (K - 1) rows of the widest layer take MEMORY; between 16 and 256."""
    with torch.no_grad():
        made = propagate(graph, x, boxes)
    wide = max(v.lower[0].numel() for v in (made.out, *made.values.values()) if isinstance(v, Box) and len(v.lower) == 1)
    return min(256, max(16, MEMORY // (8 * wide * max(1, made.out.lower.shape[1] - 1))))


def _worst(margin: Tensor, y: Tensor) -> Tensor:
    """The least margin over the other classes (B,)."""
    return margin.scatter(1, y[:, None], torch.inf).amin(1)


def _margins(made: Walk, y: Tensor, method: str, slack: Tensor) -> Tensor:
    """Lower bounds of f_y - f_j (B, K)."""
    low, high = made.out.lower, made.out.upper
    count = low.shape[1]
    if not 0 <= int(y.min()) <= int(y.max()) < count:
        raise bad_option(
            "y",
            f"classes in 0..{count - 1}, the outputs of the network",
            int(y[(y < 0) | (y >= count)][0]),
            "Map the labels to its outputs.",
        )
    if method == "logits":
        return (low.gather(1, y[:, None]) - high).scatter(1, y[:, None], 0.0)
    found = margins(made, y, None if method == "linear" else 1)
    if method != "best":
        return found
    left = (found <= slack).scatter(1, y[:, None], False)
    return found.maximum(margins(made, y, wanted=left))


def _shrinks(made: Walk, node: fx.Node) -> bool:
    """Whether nothing that it puts out is larger, by size, than what it gets."""
    return node.op == "call_module" and isinstance(made.graph.get_submodule(str(node.target)), nn.ReLU | nn.Flatten | nn.Identity)


def _largest(made: Walk) -> Tensor:
    """The largest number that was met, by size; what a ReLU leaves is no larger."""
    boxes = [v for node, v in made.values.items() if isinstance(v, Box) and not _shrinks(made, node)] or [made.out]
    return torch.stack([torch.maximum(-box.lower.min(), box.upper.max()) for box in boxes]).max()
