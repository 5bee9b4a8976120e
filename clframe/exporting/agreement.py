"""Whether a model that was exported says what the strategy says: measured on test samples, every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clframe.eval.evaluator import modules
from clframe.exporting.standalone import Standalone
from clframe.scenarios import Stream
from clframe.seeding import isolated
from clframe.strategies.sparse.subnets import Subnets
from clframe.types import Strategy

CHUNK = 256


@dataclass(frozen=True)
class Reference:
    """Test samples of a task and what the strategy says of them.

    Attributes:
        x: inputs (B, *input).
        scores: of the strategy, for the task's classes (B, C).
    """

    x: Tensor
    scores: Tensor

    @property
    def scale(self) -> float:
        """The largest score, by size; at least 1."""
        return max(1.0, float(self.scores.abs().max()))

    def difference(self, answer: Callable[[Tensor], Tensor]) -> float:
        """The largest difference of any score from the strategy's own; infinite where one of them is no number."""
        with torch.inference_mode():
            found = torch.cat([answer(x) for x in torch.split(self.x, CHUNK)])
        if found.shape != self.scores.shape:
            return float("inf")
        largest = float((found - self.scores).abs().max())
        return largest if largest == largest else float("inf")


def reference(strategy: Strategy, stream: Stream, exported: Standalone, count: int) -> Reference:
    """Up to `count` test samples of the task, evenly from all there are, with the strategy's scores.

    Where the strategy infers the task, its scores are those of the subnet of this task, whichever it would take.
    """
    ids = np.concatenate([stream.tests[k] for k in exported.experiences])
    order = np.argsort(np.arange(len(ids)) % max(1, len(ids) // count), kind="stable")  # every n-th first, the others after them
    inputs, scores = [], []
    for part in np.split(ids[order[:count]], range(CHUNK, count, CHUNK)):
        if len(part):
            x = stream.data.test.fetch(torch.from_numpy(part))
            with isolated(*modules(strategy)):
                inputs.append(x.clone())
                scores.append(_said(strategy, exported, x)[:, list(exported.classes)].clone())
    return Reference(torch.cat(inputs), torch.cat(scores))


def _said(strategy: Strategy, exported: Standalone, x: Tensor) -> Tensor:
    """The strategy's scores (B, C) for the task that is exported."""
    if isinstance(strategy, Subnets) and exported.task is not None:
        return strategy.scores_of(exported.task, x)
    return strategy.predict(x, torch.full((len(x),), exported.task or 0) if exported.told else None)
