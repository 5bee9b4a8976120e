"""What every benchmark shares: the data, the stream, the network 784-400-400-10 and its plain twin."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from clframe import models, scenarios
from clframe.data import Dataset, from_arrays, load
from clframe.models import Network
from clframe.scenarios import Stream

LR = 0.01
ENDLESS = 1000
"""Epochs: more than any benchmark walks."""


@dataclass(frozen=True)
class Setting:
    """What to measure on, and how long.

    Attributes:
        data: 28x28 images of 10 classes.
        described: what that data is, for the head of the table.
        full: more and longer blocks.
    """

    data: Dataset
    described: str
    full: bool

    @property
    def blocks(self) -> int:
        """Pairs of blocks of one comparison."""
        return 201 if self.full else 31

    def iterations(self, batch_size: int) -> int:
        """Iterations in a block of some 30 ms: short, so that a change of the machine's speed hits both blocks of a pair."""
        return 40 if batch_size <= 10 else 20

    @cached_property
    def x(self) -> Tensor:
        """All training images as the hand-written loops want them: (N, 784), float32, normalised beforehand."""
        return self.data.train.fetch(torch.arange(len(self.data.train))).flatten(1)

    @cached_property
    def y(self) -> Tensor:
        """Their labels (N,), int64."""
        return torch.from_numpy(np.ascontiguousarray(self.data.train.y))

    def stream(self, batch_size: int, experiences: int = 1) -> Stream:
        """Class-incremental, walked in batches without an end."""
        return scenarios.class_incremental(self.data, experiences=experiences).walked(batch_size=batch_size, epochs=ENDLESS)

    def network(self) -> Network:
        """784-400-400-10, with the same weights at every call."""
        return models.build("mlp", self.data.train.input_shape, 10)


def twin(network: Network) -> nn.Sequential:
    """The same network as a newcomer would write it, for flat inputs, with a copy of the weights."""
    plain = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 10))
    with torch.no_grad():
        for theirs, ours in zip(plain.parameters(), network.parameters(), strict=True):
            theirs.copy_(ours)
    return plain


def make_setting(data_dir: str | None, full: bool) -> Setting:
    """Fashion-MNIST where it lies in the data folder, else noise of the same shape."""
    folder = data_dir or os.environ.get("CLFRAME_DATA")
    if folder and any(Path(folder).expanduser().glob("fashion[-_]mnist*")):
        return Setting(load("fashion-mnist", folder), "Fashion-MNIST", full)
    if data_dir:
        raise SystemExit(f"--data-dir must hold fashion-mnist.npz; got {data_dir!r}. Leave it out for synthetic images.")
    draw = np.random.default_rng(0)
    centres = draw.integers(0, 256, (10, 28, 28))
    arrays = []
    for size in (60_000, 10_000):
        y = np.arange(size) % 10
        noise = draw.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        arrays += [((noise.astype(np.uint16) * 3 + centres[y].astype(np.uint16)) // 4).astype(np.uint8), y]
    return Setting(from_arrays(*arrays, name="synthetic"), "synthetic images of Fashion-MNIST's shape", full)
