"""Digits, with the labels of the test samples as they are or shuffled: no choice may depend on that."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from clframe.data import from_arrays, load
from clframe.scenarios import Stream, class_incremental


def stream(shuffled: bool = False, validation: float = 0.0, seed: int = 0, name: str = "mine", data: Any = None) -> Stream:
    """Two experiences of five digits each."""
    digits = load("digits")
    y = np.array(digits.test.y)
    if shuffled:
        y = np.random.default_rng(7).permutation(y)
    x = [part.fetch(torch.arange(len(part))).numpy() for part in (digits.train, digits.test)]
    made = from_arrays(x[0], np.array(digits.train.y), x[1], y)
    return class_incremental(made, experiences=2, validation=validation, seed=seed, name="mine")
