"""What answers for a task of a network whose weights lie in boxes: its rows of the head, their bounds, and the promise."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

from clframe.errors import bad_option
from clframe.models import Head, Network
from clframe.models.interval import Box, Promise
from clframe.models.interval.forward import propagate, traced
from clframe.models.interval.margins import margins
from clframe.strategies.sparse.checks import check_weights, maskable

if TYPE_CHECKING:
    from torch import Tensor


class Answer(nn.Module):
    """A backbone, and a linear head of the rows that answer for one experience; parameters are named as those of a `Network`.

    Args:
        backbone: x (B, *input) -> features (B, ...), flattened to (B, d).
        weight, bias: the rows (K, d) and (K,); copied.

    Example:
        >>> net = Answer(nn.Flatten(), torch.ones(3, 4), torch.zeros(3))
        >>> tuple(net(torch.ones(5, 2, 2)).shape), [n for n, _ in net.named_parameters()]
        ((5, 3), ['head.weight', 'head.bias'])
    """

    def __init__(self, backbone: nn.Module, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = _Rows(weight, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, K)."""
        scores: Tensor = self.head(self.backbone(x).flatten(1))
        return scores


class _Rows(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        return functional.linear(features, self.weight, self.bias)


class Answers:
    """What a network says of each task: the scores of the classes that have a row for it. Where no task is told, there is task 0.

    Args:
        model: a network with a "multi" or a "single" head.

    Raises:
        OptionError: torch.fx cannot trace its backbone.

    Example:
        >>> from clframe.models import build
        >>> answers = Answers(build("mlp", (2, 2), 4, options={"hidden": (3,)}))
        >>> answers.classes(0), sorted(answers.weights(0))[-2:]
        ([0, 1, 2, 3], ['head.bias', 'head.weight'])
    """

    def __init__(self, model: Network) -> None:
        self._model, self._head = model, cast(Head, model.head)
        weights = self.weights(0)
        self._graph = traced(Answer(model.backbone, weights["head.weight"], weights["head.bias"]))

    def classes(self, task: int) -> list[int]:
        """The classes that have a row for the task."""
        found: list[int] = (self._head.table[task] >= 0).nonzero().flatten().tolist()
        return found

    def outputs(self, task: int, y: Tensor) -> Tensor:
        """The place of each class of y (B,) among those of the task."""
        return torch.searchsorted(torch.tensor(self.classes(task), device=y.device), y)

    def weights(self, task: int) -> dict[str, Tensor]:
        """All that computes the scores of a task, as it is now, by the names of `Answer`."""
        head = self._head
        assert head.bias is not None
        rows = head.table[task, self.classes(task)]
        found = {n: p.detach() for n, p in self._model.named_parameters() if n.startswith("backbone.")}
        return {**found, "head.weight": head.weight.detach()[rows], "head.bias": head.bias.detach()[rows]}

    def boxes(self, task: int, known: Mapping[str, Box]) -> dict[str, Box]:
        """The boxes of all of them: those that are known, and points."""
        return {n: known[n] if n in known else Box(v, v) for n, v in self.weights(task).items()}

    def margins(self, x: Tensor, y: Tensor, boxes: Mapping[str, Box]) -> Tensor:
        """Lower bounds (B, K) of f_y - f_j over the boxes, differentiable by their ends; 0 for j = y.

        Args:
            x: inputs (B, *input).
            y: the output (B,) of each sample's class.
            boxes: of all weights.

        Raises:
            OptionError: a layer has no sound rule.
        """
        return margins(propagate(self._graph, x, boxes), y, 1)

    def promise(self, task: int, boxes: Mapping[str, Box]) -> Promise:
        """The boxes, and the weights that answer now."""
        deployed = {n: v.clone() for n, v in self.weights(task).items()}
        net = Answer(copy.deepcopy(self._model.backbone), deployed["head.weight"], deployed["head.bias"]).eval()
        return Promise(net, boxes, deployed, tuple(self.classes(task)))


def check_network(model: Network) -> bool:
    """Whether the head has rows for each task; of a network whose weights can lie in boxes.

    Raises:
        OptionError: a head that is neither "multi" nor "single", or scores by cosines; no Linear or Conv layer; shared, computed or
            frozen weights.
    """
    head = model.head
    if not isinstance(head, Head) or head.kind not in ("multi", "single") or head.cosine:
        rule = "'multi' or 'single' for 'intercontinet', so that linear scores of all classes compete from the start"
        raise bad_option("head", rule, getattr(head, "kind", "none"), "Leave it out.")
    check_weights(maskable(model), model, "intercontinet")
    if not any(p.requires_grad for p in model.backbone.parameters()):
        raise bad_option("model", "one with trained weights for 'intercontinet'", "a frozen backbone", "Set requires_grad.")
    return head.kind == "multi"


def check_options(options: Mapping[str, float]) -> None:
    """The options of InterContiNet, each by its rule.

    Raises:
        OptionError: one breaks it.
    """
    for name, usual in (("radius", 0.1), ("shift_lr", 1.0), ("shrink", 12.0)):
        if not 0 < options[name] < inf:
            raise bad_option(name, "a positive number", options[name], f"Give {name}={usual:g}.")
    if not 0 <= options["threshold"] <= 1:
        raise bad_option("threshold", "a share in [0, 1]", options["threshold"], "Give threshold=0.9.")
    if not 0 < options["contract"] < 1:
        raise bad_option("contract", "a share in (0, 1)", options["contract"], "Give contract=0.33.")
