"""clframe's networks as Avalanche's strategies call them."""

from __future__ import annotations

from typing import Any

import torch
from avalanche.models import MultiTaskModule
from torch import Tensor, nn

from clframe.errors import bad_option
from clframe.models import Network

UNSEEN = -1000.0
"""Score of a class that is not in use, as in Avalanche's own classifiers: finite, because logits are subtracted there."""


NOT_TOLD = object()


class MultiHead(MultiTaskModule):  # type: ignore[misc]
    """A network whose head is chosen by the task."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, task_labels: Any = NOT_TOLD) -> Any:
        """Scores (B, C); of every task that has been trained, by task, where `task_labels` is None.

        Raises:
            OptionError: the strategy does not tell the task.
        """
        if task_labels is NOT_TOLD:
            remedy = "Use head='single', or a strategy that tells it."
            raise bad_option("task", "told to a model with head 'multi', which this Avalanche strategy does not do", None, remedy)
        if task_labels is None:
            return self.forward_all_tasks(x)
        if not isinstance(task_labels, Tensor):
            task_labels = torch.full((len(x),), int(task_labels), dtype=torch.int64)
        return _finite(self.network(x, task_labels.to(x.device)))

    def forward_single_task(self, x: Tensor, task_label: int) -> Tensor:
        """Scores (B, C) of one task."""
        found: Tensor = self.forward(x, task_label)
        return found


class Masked(nn.Module):
    """A network with a score for every class, also for those that are not in use yet."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, C)."""
        return _finite(self.network(x))


class Features(nn.Module):
    """The features of a network alone, for strategies that are given backbone and classifier apart."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.backbone = network.backbone

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, d)."""
        found: Tensor = self.backbone(x).flatten(1)
        return found


def for_avalanche(network: Network) -> nn.Module:
    """The network as an Avalanche model; the same weights."""
    if network.head.kind == "multi":
        return MultiHead(network)
    return Masked(network) if network.head.kind == "masked" else network


def networks_in(model: nn.Module) -> list[Network]:
    """clframe's networks in an Avalanche model."""
    return [m for m in model.modules() if isinstance(m, Network)]


def _finite(scores: Tensor) -> Tensor:
    return scores.masked_fill(scores == -torch.inf, UNSEEN)
