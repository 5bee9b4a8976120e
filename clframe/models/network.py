"""A model: a backbone and a head."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from clframe.models.head import Head, NoHead


@final
class Network(nn.Module):
    """A backbone g that makes features, and a head h that scores classes: logits = h(g(x), task).

    The head changes in `begin` and nowhere else, by tables and never by parameters, so an optimizer made once stays right.

    Args:
        backbone: x (B, *input) -> features, of any shape (B, ...); they are flattened to (B, d).
        head: features (B, d) -> logits (B, C), with C the classes of the whole stream.

    Example:
        >>> import torch
        >>> from clframe.models.mlp import MLP
        >>> net = Network(MLP((1, 8, 8), hidden=(16,)), Head(16, 10))
        >>> tuple(net(torch.zeros(2, 1, 8, 8)).shape)
        (2, 10)
    """

    def __init__(self, backbone: nn.Module, head: Head | NoHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    @property
    def num_classes(self) -> int:
        """Classes C of the whole stream: the length of a row of logits."""
        return self.head.num_classes

    def features(self, x: Tensor) -> Tensor:
        """Features (B, d) of the inputs (B, *input)."""
        out: Tensor = self.backbone(x)
        return out.flatten(1)

    def forward(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Logits (B, C) of the inputs (B, *input); a "multi" head needs the task (B,) of each sample.

        Raises:
            OptionError: a "multi" head is not told the task.
        """
        logits: Tensor = self.head(self.features(x), task)
        return logits

    def begin(self, classes: tuple[int, ...] | None, task: int | None) -> None:
        """An experience begins: the head brings its classes into use. Calling it again changes nothing.

        Raises:
            OptionError: the head needs something that is not revealed, or a label is out of range.
        """
        self.head.begin(classes, task)
