"""The small streams and the model that strategies are checked on: 6 classes of noisy 8 x 8 images, 3 experiences."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np
from torch import nn

from clframe.data import Dataset, from_arrays
from clframe.scenarios import Stream, class_incremental, permuted, task_incremental
from clframe.seeding import rng
from clframe.types import Reveals

CLASSES = 6
BATCH, EPOCHS = 8, 2
MODEL = "clframe.testing.worlds:mlp"
TOUCHY_MODEL = "clframe.testing.worlds:mlp(touchy=True)"


@lru_cache(maxsize=4)
def data(per_class: int = 24) -> Dataset:
    """`per_class` training samples of each class, and 10 test samples of each."""
    draw = rng(0, "conformance")
    centres = draw.uniform(40, 215, (CLASSES, 8, 8))
    y, y_test = np.repeat(np.arange(CLASSES), per_class), np.repeat(np.arange(CLASSES), 10)
    x, x_test = (np.clip(centres[labels] + draw.normal(0, 40, (len(labels), 8, 8)), 0, 255) for labels in (y, y_test))
    return from_arrays(x.astype(np.uint8), y, x_test.astype(np.uint8), y_test, name="conformance")


@lru_cache(maxsize=1)
def worlds() -> dict[str, Stream]:
    """One stream of each kind, by name."""
    by_class = class_incremental(data(), experiences=3)
    return {
        "class-incremental": by_class,
        "task-incremental": task_incremental(data(), experiences=3),
        "domain-incremental": permuted(data(), experiences=3, samples_per_experience=48),
        "hidden boundaries": dataclasses.replace(by_class, reveals=Reveals(boundaries=False, classes=False)),
    }


def world_for(requires: frozenset[str]) -> Stream:
    """The first world that reveals what is required; every world reveals at most what the task-incremental one does."""
    found = [stream for stream in worlds().values() if requires <= stream.reveals.names()]
    return found[0] if found else worlds()["task-incremental"]


def repeating(like: Stream, per_class: int, rounds: int) -> Stream:
    """As `like`, with this many samples a class and the same three pairs of classes `rounds` times over."""
    source = data(per_class)
    ids, tests = (_by_pair(s.y) for s in (source.train, source.test))
    parts = [np.array_split(rng(0, "pair", k).permutation(pair), rounds) for k, pair in enumerate(ids)]
    segments = [np.sort(parts[pair][r]) for r in range(rounds) for pair in range(3)]
    tasks = [pair for _ in range(rounds) for pair in range(3)]
    return Stream("repeating", source, segments, tests * rounds, like.reveals, tasks=tasks)


def _by_pair(y: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    return [np.flatnonzero(y // 2 == k) for k in range(3)]


def mlp(input_shape: Sequence[int], touchy: bool = False) -> nn.Module:
    """A backbone of 24 features; the touchy one has batch normalisation and dropout, so that it notices being looked at."""
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(prod(input_shape), 24)]
    if touchy:
        layers.append(nn.BatchNorm1d(24))
    layers.append(nn.ReLU())
    if touchy:
        layers.append(nn.Dropout(0.2))
    return nn.Sequential(*layers)
