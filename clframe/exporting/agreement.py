"""Whether a model that was exported says what the strategy says: measured on test samples, every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clframe.errors import bad_option
from clframe.eval.evaluator import modules
from clframe.exporting.standalone import Standalone
from clframe.scenarios import Stream
from clframe.seeding import isolated
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

    Where the strategy infers the task, only the samples that it takes to be of this task are compared.

    Raises:
        OptionError: it takes no sample to be of this task.
    """
    ids = np.concatenate([stream.tests[k] for k in exported.experiences])
    order = np.argsort(np.arange(len(ids)) % max(1, len(ids) // count), kind="stable")  # every n-th first, the others after them
    inputs, scores, found = [], [], 0
    for start in range(0, len(ids), CHUNK):
        if found >= count:
            break
        x = stream.data.test.fetch(torch.from_numpy(ids[order[start : start + CHUNK]]))
        task = torch.full((len(x),), exported.task or 0) if exported.told else None
        with isolated(*modules(strategy)):
            said = strategy.predict(x, task)[:, list(exported.classes)]
        own = torch.isfinite(said).all(1)
        inputs.append(x[own])
        scores.append(said[own])
        found += int(own.sum())
    if not found:
        remedy = "Give another task; the strategy infers it, and takes every sample to be of another one."
        raise bad_option("task", "one that some test sample is taken to be of", exported.task, remedy)
    return Reference(torch.cat(inputs)[:count].clone(), torch.cat(scores)[:count].clone())
