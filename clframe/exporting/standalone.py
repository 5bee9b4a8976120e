"""The model of one task as plain torch: features and the rows of the head that score the task's classes."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clframe.errors import OptionError, bad_option
from clframe.models import Head, Network
from clframe.scenarios import Stream
from clframe.strategies.sparse.subnets import Subnets
from clframe.types import Strategy

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Standalone:
    """What is exported.

    Attributes:
        net: inputs (B, *input) -> scores (B, C), in evaluation mode, on the CPU.
        classes: the class of each of the C scores.
        task: the task, or None for all classes of a single head.
        experiences: whose test samples belong to it.
        told: whether the strategy is told the task when it predicts.
    """

    net: nn.Module
    classes: tuple[int, ...]
    task: int | None
    experiences: tuple[int, ...]
    told: bool


@final
class Direction(nn.Module):
    """Vectors of one length: what a cosine head scores.

    Example:
        >>> Direction(10.0)(torch.tensor([[3.0, 4.0]])).tolist()
        [[6.0, 8.0]]
    """

    def __init__(self, length: float) -> None:
        super().__init__()
        self.length = length

    def forward(self, x: Tensor) -> Tensor:
        """Vectors (B, d) of the length."""
        return F.normalize(x) * self.length


@final
class Columns(nn.Module):
    """Some of the outputs of a model that has no head.

    Example:
        >>> Columns((0, 2))(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
        [[1.0, 3.0]]
    """

    def __init__(self, columns: tuple[int, ...]) -> None:
        super().__init__()
        self.columns = list(columns)

    def forward(self, x: Tensor) -> Tensor:
        """Columns (B, C) of (B, d)."""
        return x[:, self.columns]


def standalone(strategy: Strategy, name: str, stream: Stream, task: int | None = None) -> Standalone:
    """The model of a trained strategy for one task.

    Args:
        strategy: trained.
        name: of the strategy, for messages.
        stream: what it was trained on.
        task: task label where the head has rows of its own for each task, else the number of an experience; None for a head that
            all share takes all classes.

    Raises:
        OptionError: a strategy without a model, a task that there is not, or none where one is needed.
    """
    model = getattr(strategy, "model", None)
    if not isinstance(model, Network):
        raise bad_option("strategy", "one that answers by its model", name, "Such as dst, packnet, er or finetune.")
    told = model.head.kind == "multi"
    known = _tasks(strategy, model, stream)
    if task is None and len(known) == 1:
        task = known[0]
    if task is None and (told or isinstance(strategy, Subnets)):
        raise bad_option("task", f"one of {known}, because {name!r} has a model for each", None, "Give --task 0.")
    if task is not None and task not in known:
        raise bad_option("task", f"one of the tasks of the run: {known}", task, f"Give --task {known[0]}." if known else "")
    backbone, own_head = copy.deepcopy(model.backbone), copy.deepcopy(model.head)
    if isinstance(strategy, Subnets):
        assert task is not None
        subnet = {n: v.clone() for n, v in strategy.subnet(task).items()}
        backbone.load_state_dict({n.removeprefix("backbone."): v for n, v in subnet.items() if n.startswith("backbone.")})
        heads = {n.removeprefix("head."): v for n, v in subnet.items() if n.startswith("head.")}
        own_head.load_state_dict({**own_head.state_dict(), **heads})
    classes, head = _head(own_head, task, stream)
    layers = {"backbone": backbone, **({} if _is_flat(backbone, stream) else {"flatten": nn.Flatten()}), **head}
    net = plain(nn.Sequential(OrderedDict(layers))).cpu().eval().requires_grad_(False)
    every = range(len(stream))
    mine = [k for k in every if task is None or task == (stream.experiences[k].task if told else k)]
    return Standalone(net, classes, task, tuple(mine), told)


def _tasks(strategy: Strategy, model: Network, stream: Stream) -> list[int]:
    """The tasks that have a model."""
    if isinstance(strategy, Subnets):
        return strategy.archive.tasks
    if isinstance(model.head, Head) and model.head.kind == "multi":
        return [t for t, row in enumerate(model.head.table.tolist()) if max(row) >= 0]
    return list(range(len(stream)))


def _head(head: Any, task: int | None, stream: Stream) -> tuple[tuple[int, ...], dict[str, nn.Module]]:
    """The classes that are scored, and the layers that do it, by name."""
    single = head.kind != "multi"
    wanted = tuple(range(head.num_classes)) if task is None or not single else stream.experiences[task].classes
    if not isinstance(head, Head):
        return wanted, {"head": Columns(wanted)}
    table = head.table[0 if single else task].cpu()
    classes = tuple(c for c in wanted if table[c] >= 0)
    rows = table[list(classes)]
    weight = head.weight.detach().cpu()[rows]
    linear = nn.Linear(head.num_features, len(classes), bias=head.bias is not None)
    with torch.no_grad():
        linear.weight.copy_(F.normalize(weight) if head.cosine else weight)
        if head.bias is not None:
            linear.bias.copy_(head.bias.detach().cpu()[rows])
    return classes, {"direction": Direction(head.scale.item()), "head": linear} if head.scale is not None else {"head": linear}


def _is_flat(backbone: nn.Module, stream: Stream) -> bool:
    with torch.no_grad():
        features: Tensor = copy.deepcopy(backbone).eval()(torch.zeros(1, *stream.data.train.input_shape))
    return features.dim() == 2


def plain(net: nn.Module) -> nn.Module:
    """The net in place, for evaluation alone: normalisation layers of torch's own types, and no dropout.

    Example:
        >>> plain(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)))[1]
        Identity()
    """
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            kind = next((k for k in NORMS if isinstance(child, k)), None)
            if isinstance(child, nn.modules.dropout._DropoutNd):
                setattr(parent, name, nn.Identity())
            elif kind is not None and type(child) is not kind:
                assert isinstance(child, NORMS)
                made = kind(child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats)
                made.load_state_dict(child.state_dict())
                setattr(parent, name, made)
    return net


def refuse(name: str, found: float, tolerance: float) -> OptionError:
    """The sentence for a strategy whose answer is not its model's."""
    return OptionError(
        f"strategy must answer by its model to be exported; the scores of {name!r} differ from its model's by {found:.3g} of their "
        f"scale, more than {tolerance:g}. Export a strategy that answers by its model, such as dst, packnet, er or finetune."
    )
