"""The image data sets, as the networks and the embeddings need them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
import torch

from clframe.data import load
from clframe.types import Source
from papers.sensitivity.network import BLOCK, Floats, Rows

NETWORK_INPUT = {"cifar100": "cifar100-features"}
"""Data sets whose networks are trained on features of a pre-trained one, in a file of their own, in the same order."""


@final
@dataclass(frozen=True)
class Images:
    """A data set, flattened.

    Attributes:
        x, y: what networks are trained on (n, d), and labels (n,).
        x_test, y_test: what their accuracy is measured on.
        pictures: the pixels behind x; None where x are the pixels.
    """

    x: Floats
    y: Rows
    x_test: Floats
    y_test: Rows
    pictures: Source | None

    @property
    def classes(self) -> int:
        """How many."""
        return int(self.y.max()) + 1

    def pixels(self) -> Floats:
        """Standardised (n, p)."""
        return self.x if self.pictures is None else _flat(self.pictures)


@lru_cache(3)
def images(name: str, data_dir: str | None) -> Images:
    """A data set by name.

    Raises:
        ClframeError: it is not there.
    """
    pictures = load(name, data_dir)
    given = load(NETWORK_INPUT[name], data_dir) if name in NETWORK_INPUT else pictures
    parts = _flat(given.train), given.train.y, _flat(given.test), given.test.y
    return Images(*parts, None if given is pictures else pictures.train)


def _flat(source: Source) -> Floats:
    ids = torch.arange(len(source))
    blocks = [ids[start : start + BLOCK] for start in range(0, len(source), BLOCK)]
    return np.concatenate([source.fetch(block).flatten(1).numpy() for block in blocks])
