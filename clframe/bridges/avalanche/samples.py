"""The samples of a clframe source as a data set that Avalanche can wrap."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from clframe.eval.probe import CACHE_BYTES
from clframe.types import Source


class SourceSamples(Dataset[tuple[Tensor, int]]):
    """Sample i of a source as (input, label); inputs are kept in memory where all of them fit into 1 GiB.

    Attributes:
        source: the source, on the CPU.
        targets: its labels.
    """

    def __init__(self, source: Source) -> None:
        self.source = source.to(torch.device("cpu"))
        self.targets: list[int] = source.y.tolist()
        self._x: Tensor | None = None
        size = 4 * len(source)
        for side in source.input_shape:
            size *= side
        self._fits = size <= CACHE_BYTES

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        if not self._fits:
            return self.source.fetch(torch.tensor([i]))[0], self.targets[i]
        if self._x is None:
            self._x = self.source.fetch(torch.arange(len(self)))
        return self._x[i], self.targets[i]
