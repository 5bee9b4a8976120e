"""A virtual source: every row of a base source once per domain, transformed when it is fetched."""

from __future__ import annotations

import math
from typing import Protocol, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clframe.data import Dataset
from clframe.data.hashing import fingerprint
from clframe.types import Ids, Source


class DomainTransform(Protocol):
    """What each of `len(self)` domains does to a sample; one call may hold samples of several domains."""

    def __len__(self) -> int: ...

    def __call__(self, x: Tensor, domain: Tensor) -> Tensor:
        """Inputs (B, *input), each as its domain (B,), int64, on the CPU, sees it; a sample is bit-equal in any batch."""
        ...

    def to(self, device: torch.device) -> DomainTransform:
        """The same transform on `device`."""
        ...

    def parts(self) -> tuple[object, ...]:
        """Everything as plain pieces, to be hashed."""
        ...


@final
class Domains:
    """D domains over N rows: id = domain * N + row. No input is copied; labels and domains take 16 bytes an id.

    Args:
        base: the source of the rows.
        transform: what the domains do to an input.

    Example:
        >>> from clframe.data import load
        >>> from clframe.scenarios.domain_transforms import Permutation
        >>> base = load("digits").train
        >>> source = Domains(base, Permutation.drawn(base.input_shape, domains=3, seed=0))
        >>> len(source) == 3 * len(base), int(source.task[len(base)])
        (True, 1)
        >>> bool((source.fetch(torch.tensor([5])) == base.fetch(torch.tensor([5]))).all())
        True
    """

    def __init__(self, base: Source, transform: DomainTransform) -> None:
        self.base, self.transform = base, transform
        self.name = base.name
        self.input_shape, self.class_names = base.input_shape, base.class_names
        self.y: Ids = np.tile(base.y, len(transform))
        self.task: Ids | None = np.repeat(np.arange(len(transform), dtype=np.int64), len(base))
        self.weight: npt.NDArray[np.float32] | None = None if base.weight is None else np.tile(base.weight, len(transform))

    @property
    def sample_bytes(self) -> int:
        """Bytes of one stored sample: a row of the base source."""
        return int(getattr(self.base, "sample_bytes", 4 * math.prod(self.input_shape)))

    def __len__(self) -> int:
        return len(self.y)

    def fetch(self, index: Tensor) -> Tensor:
        """Inputs (B, *input_shape) of the ids (B,), which may belong to different domains."""
        index = index.cpu()
        return self.transform(self.base.fetch(index % len(self.base)), index // len(self.base))

    def to(self, device: torch.device) -> Domains:
        """The same source, delivering on `device`."""
        base, transform = self.base.to(device), self.transform.to(device)
        return self if base is self.base and transform is self.transform else Domains(base, transform)

    def fingerprint(self) -> str:
        """A hash of the base source and the transform."""
        return fingerprint("domains", self.base.fingerprint(), *self.transform.parts())


def with_domains(data: Dataset, transform: DomainTransform) -> Dataset:
    """A data set whose training and test rows both come once per domain, transformed alike."""
    return Dataset(data.name, Domains(data.train, transform), Domains(data.test, transform), allow_missing=data.allow_missing)
