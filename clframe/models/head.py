"""Heads: one linear map from features to rows, and one table (task, class) -> row."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clframe.errors import OptionError, bad_option, unknown_name
from clframe.models.checks import positive

HEADS = ("single", "multi", "masked", "cosine")
"""The kinds of `Head`. `build` also knows "none": the model's own outputs are the logits."""

NO_ROW = -1


@final
class Head(nn.Module):
    """Scores of all classes from features: a linear map to rows, and a table that says which row scores which class.

    ::

        logit[b, c] = <w_r, f_b> + a_r     with r = table[task_b, c]        (linear)
        logit[b, c] = s <w_r, f_b> / (|w_r| |f_b|)                          (cosine)
        logit[b, c] = -inf                 where table[task_b, c] = -1

    where f is `features`, w is `weight`, a is `bias`, s is `scale`, and task_b is 0 for every kind but "multi". A class
    without a row scores -inf and its weights get exactly zero gradient.

    - "single": row c scores class c; every row is in use from the start (class-incremental over the full output space).
    - "masked": as single, but a row comes into use when `begin` first reveals its class.
    - "multi": every task has rows of its own, for the classes that `begin` names; the task of each sample chooses.
    - "cosine": as single, by cosine similarity; `cosine=True` does the same to the other kinds.

    Capacity is reserved at construction and only the table changes, in `begin`; it is a buffer, so `state_dict` holds all
    that a head ever learns. Optimizers never see a parameter appear.

    Args:
        num_features: length d of a feature vector.
        num_classes: classes C of the whole stream.
        kind: "single", "multi", "masked" or "cosine".
        num_tasks: tasks of the stream; only "multi" uses it.
        cosine: score by cosine similarity, whatever the kind.
        rows: rows reserved for "multi", by default num_tasks * num_classes; num_classes is enough where tasks share no class.
        scale: where the learned scale of the cosine starts.

    Shapes:
        weight (R, d), bias (R,) or None, scale () or None, table (T, C) int64.

    Raises:
        OptionError: an option breaks its rule.

    Example:
        >>> head = Head(4, 3, kind="masked")
        >>> head.begin((0, 2), task=None)
        >>> head(torch.ones(1, 4)).isneginf().tolist()
        [[False, True, False]]

    Reference:
        Cosine: Hou, Pan, Loy, Wang, Lin (2019), "Learning a unified classifier incrementally via rebalancing", eq. 3.

    Differences:
        1. The scale starts at 10 (the published code of the reference: 1), so that short online streams learn as well.
        2. The cosine head has no bias, as in the reference.
    """

    bias: Tensor | None
    scale: Tensor | None
    table: Tensor

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        *,
        kind: str = "single",
        num_tasks: int = 1,
        cosine: bool = False,
        rows: int | None = None,
        scale: float = 10.0,
    ) -> None:
        super().__init__()
        if kind not in HEADS:
            raise unknown_name("head", kind, HEADS)
        if scale <= 0:
            raise bad_option("scale", "a positive number", scale, "Give scale=10.")
        multi = kind == "multi"
        if rows is not None and not multi:
            raise bad_option("rows", f"left out, because head {kind!r} has one row per class", rows, "Leave it out.")
        self.num_features = positive("num_features", num_features)
        self.num_classes = positive("num_classes", num_classes)
        self.num_tasks = positive("num_tasks", num_tasks)
        self.kind = kind
        self.cosine = cosine or kind == "cosine"
        reserved = num_classes * (num_tasks if multi else 1) if rows is None else positive("rows", rows)
        linear = nn.Linear(num_features, reserved, bias=not self.cosine)
        self.weight = linear.weight
        self.register_parameter("bias", linear.bias)
        self.register_parameter("scale", nn.Parameter(torch.tensor(float(scale))) if self.cosine else None)
        table = torch.full((num_tasks if multi else 1, num_classes), NO_ROW)
        if kind in ("single", "cosine"):
            table[0] = torch.arange(num_classes)
        self.register_buffer("table", table)

    def forward(self, features: Tensor, task: Tensor | None = None) -> Tensor:
        """Logits (B, C) of the features (B, d); `task` (B,) int64 is needed by "multi" and ignored by the others.

        Raises:
            OptionError: a "multi" head is not told the task.
        """
        scores = self._cosine(features) if self.cosine else F.linear(features, self.weight, self.bias)
        if self.kind == "multi":
            if task is None:
                raise _needs_task()
            row = self.table[task]
            return scores.gather(1, row.clamp(min=0)).masked_fill(row < 0, -torch.inf)
        if self.kind == "masked":
            return scores.masked_fill(self.table[0] < 0, -torch.inf)
        return scores

    def begin(self, classes: tuple[int, ...] | None, task: int | None) -> None:
        """An experience begins: its classes come into use. What is in use already stays as it is.

        Args:
            classes: class ids of the experience; None where not revealed, which "multi" reads as all classes.
            task: task label of the experience; only "multi" uses it.

        Raises:
            OptionError: the kind needs something that is not revealed, a label is out of range, or no reserved row is left.
        """
        if classes is not None and any(not 0 <= c < self.num_classes for c in classes):
            raise bad_option("classes", f"ids in 0..{self.num_classes - 1}", classes, "Build the model with more classes.")
        if self.kind == "masked":
            if classes is None:
                remedy = "Use head='single', or a scenario that reveals the classes."
                raise bad_option("classes", "revealed, because the head is 'masked'", None, remedy)
            ids = torch.tensor(classes, dtype=torch.int64, device=self.table.device)
            self.table[0, ids] = ids
        elif self.kind == "multi":
            self._open(range(self.num_classes) if classes is None else classes, task)

    def _open(self, classes: range | tuple[int, ...], task: int | None) -> None:
        """Give every class of the task the next free row, unless it has one."""
        if task is None:
            raise _needs_task()
        if not 0 <= task < self.num_tasks:
            remedy = "Build the model with more tasks."
            raise bad_option("task", f"in 0..{self.num_tasks - 1}, the tasks the head was built for", task, remedy)
        known = self.table[task].tolist()
        new = [c for c in dict.fromkeys(classes) if known[c] == NO_ROW]
        first, reserved = int(self.table.max()) + 1, len(self.weight)
        if first + len(new) > reserved:
            rule = f"enough for all classes of all tasks: task {task} needs {first + len(new)}"
            raise bad_option("rows", rule, reserved, f"Leave it out to reserve {self.table.numel()}.")
        rows = torch.arange(first, first + len(new), device=self.table.device)
        self.table[task, torch.tensor(new, dtype=torch.int64, device=self.table.device)] = rows

    def _cosine(self, features: Tensor) -> Tensor:
        assert self.scale is not None
        return F.linear(self.scale * F.normalize(features), F.normalize(self.weight))


@final
class NoHead(nn.Module):
    """No map at all: the model's first C outputs are the logits.

    Example:
        >>> NoHead(num_classes=2)(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
        [[1.0, 2.0]]
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.kind = "none"
        self.num_classes = positive("num_classes", num_classes)

    def forward(self, features: Tensor, task: Tensor | None = None) -> Tensor:
        """The first C columns (B, C) of the outputs (B, at least C); `task` is ignored."""
        return features[:, : self.num_classes]

    def begin(self, classes: tuple[int, ...] | None, task: int | None) -> None:
        """Nothing grows."""


def _needs_task() -> OptionError:
    remedy = "Use head='single', or a scenario that reveals the task."
    return bad_option("task", "known, because the head is 'multi'", None, remedy)
