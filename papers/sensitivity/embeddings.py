"""Pools of one data set by embeddings that tell more and more of the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch

from clframe.seeding import rng
from clframe.selection import Pool, pool_of
from papers.sensitivity.images import Images
from papers.sensitivity.network import Floats, Networks, Numbers, Outputs, Rows, outputs, train

WORST_TO_BEST = ("pixels", "pca", "pretrained", "features", "log-probabilities", "log-probabilities + label", "logged")
"""By how much they can be expected to tell; "logged" is what a trainer logged half-way: its loss as a proxy, too."""


class Scored(NamedTuple):
    """A network trained on a part of the data, and what it says of all of it."""

    half: Outputs
    whole: Outputs
    loss: Numbers
    accuracy: float


def scored(data: Images, *, rows: int, passes: int, hidden: int, batch: int, lr: float, seed: int) -> Scored:
    """Train on `rows` rows drawn uniformly, first for half of the passes, then for the rest."""
    chosen = rng(seed, "rows").choice(len(data.y), rows, replace=False)[None]
    networks = Networks.fresh(1, data.x.shape[1], hidden, data.classes, seed)
    found = []
    for part, count in enumerate((passes // 2, passes - passes // 2)):
        train(networks, data.x, data.y, chosen, np.ones(chosen.shape), passes=count, batch=batch, lr=lr, seed=2 * seed + part)
        found.append(outputs(networks, data.x))
    return Scored(found[0], found[1], found[1].loss(data.y), networks.accuracy(data.x_test, data.y_test)[0])


def pools(data: Images, network: Scored, components: int) -> Iterator[tuple[str, Pool]]:
    """Every embedding by name, from the worst to the best, with the losses of the network."""
    for name in WORST_TO_BEST:
        if name != "pretrained" or data.pictures is not None:
            columns: Mapping[str, Numbers] = {"proxy": network.half.loss(data.y)} if name == "logged" else {}
            yield name, pool_of(_embedding(name, data, network, components), name=name, loss=network.loss, **columns)


def _embedding(name: str, data: Images, network: Scored, components: int) -> Floats:
    match name:
        case "pixels":
            return data.pixels()
        case "pca":
            return principal(data.pixels(), components)
        case "pretrained":
            return data.x
        case "features":
            return network.whole.hidden
        case "log-probabilities":
            return network.whole.log_probabilities
        case "log-probabilities + label":
            return with_label(network.whole.log_probabilities, data.y)
        case _:
            return with_label(network.half.log_probabilities, data.y)


def principal(x: Floats, components: int) -> Floats:
    """The first principal components (n, components).

    >>> found = principal(np.array([[0, 0], [2, 2], [4, 4]], dtype=np.float32), 1)
    >>> np.abs(found).astype(float).round(3).ravel().tolist()
    [2.828, 0.0, 2.828]
    """
    centred = torch.from_numpy(x - x.mean(0))
    vectors = torch.linalg.eigh(centred.T @ centred)[1][:, -components:]
    found: Floats = (centred @ vectors).numpy()
    return found


def with_label(x: Floats, y: Rows) -> Floats:
    """x and its label, scaled so that rows of two labels are as far apart by it as two rows of x are on average.

    >>> with_label(np.array([[0.0], [2.0]], dtype=np.float32), np.array([0, 1])).tolist()
    [[0.0, 1.0, 0.0], [2.0, 0.0, 1.0]]
    """
    hot = np.zeros((len(y), int(y.max()) + 1), dtype=np.float32)
    hot[np.arange(len(y)), y] = np.sqrt(x.var(0).sum())
    return np.concatenate([x, hot], axis=1)
