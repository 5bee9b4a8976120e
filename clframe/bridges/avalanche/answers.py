"""What an Avalanche strategy answers on a batch, measured without a trace."""

from __future__ import annotations

from typing import Any

import torch
from avalanche.models import MultiTaskModule, NCMClassifier
from avalanche.training.plugins import EvaluationPlugin
from torch import Tensor, nn

HELD = ("experience", "is_training", "mbatch", "mb_output", "loss")


class Asked:
    """Stands for the experience while a batch is predicted: task labels are told."""

    task_labels = (0,)


def answer(strategy: Any, x: Tensor, task: Tensor | None, num_classes: int) -> Tensor:
    """Scores (B, C) of an Avalanche strategy, as one iteration of its `eval` gives them.

    The strategy's `forward` and the `before_eval_forward` and `after_eval_forward` of its plugins are called, so that BiC corrects
    its scores and iCaRL answers with its means. Nothing is adapted, counted or logged, and every attribute is put back. The model's
    modes are the caller's.

    Args:
        strategy: a `SupervisedTemplate`.
        x: inputs (B, *input).
        task: task label of each (B,), or None for 0.
        num_classes: C; classes that the model has no output for yet get -inf.
    """
    if task is None:
        task = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    scores = torch.full((len(x), num_classes), -torch.inf, device=x.device)
    known = answerable(strategy.model, task)
    if not known.any():
        return scores
    if not known.all():
        scores[known] = answer(strategy, x[known], task[known], num_classes)
        return scores
    before = {name: getattr(strategy, name) for name in HELD}
    try:
        strategy.experience, strategy.is_training = Asked(), False
        strategy.mbatch = [x, torch.zeros_like(task), task]
        _call(strategy, "before_eval_forward")
        strategy.mb_output = strategy.forward()
        _call(strategy, "after_eval_forward")
        found = strategy.mb_output[:, :num_classes]
    finally:
        for name, value in before.items():
            setattr(strategy, name, value)
    scores[:, : found.shape[1]] = found
    return scores


def answerable(model: nn.Module, task: Tensor) -> Tensor:
    """Whether the model has an answer for samples of these tasks (B,): a head for the task, or means of classes."""
    if any(isinstance(m, NCMClassifier) and not m.class_means_dict for m in model.modules()):
        return torch.zeros_like(task, dtype=torch.bool)
    if isinstance(model, MultiTaskModule):
        known = sorted(model.known_train_tasks_labels)
        return torch.isin(task, torch.tensor(known, dtype=task.dtype, device=task.device))
    return torch.ones_like(task, dtype=torch.bool)


def _call(strategy: Any, hook: str) -> None:
    for plugin in strategy.plugins:
        if not isinstance(plugin, EvaluationPlugin) and hasattr(plugin, hook):
            getattr(plugin, hook)(strategy)
