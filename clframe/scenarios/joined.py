"""Several sources under one numbering: the rows of the first, then those of the second, ..."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clframe.data.hashing import fingerprint
from clframe.errors import DataError
from clframe.types import Ids, Source


@final
class Joined:
    """One source out of several with the same classes and input shape: id = starts[part] + row.

    Args:
        parts: at least one source; `task` becomes the number of the part.

    Raises:
        DataError: no part, or parts of different input shapes or classes.

    Example:
        >>> from clframe.data import load
        >>> digits = load("digits")
        >>> both = Joined([digits.train, digits.test])
        >>> len(both), both.starts.tolist()
        (1797, [0, 1438, 1797])
    """

    def __init__(self, parts: Sequence[Source]) -> None:
        if not parts:
            raise DataError("domains must name at least one data set; got none. Give a list of data sets, one a domain.")
        first = parts[0]
        for k, part in enumerate(parts):
            for what in ("input_shape", "class_names"):
                here, there = getattr(first, what), getattr(part, what)
                if here != there:
                    raise DataError(
                        f"domains must have the same {what}; got {here} in {first.name!r} and {there} in {part.name!r} "
                        f"(domain {k}). Prepare all of them alike."
                    )
        self.parts = tuple(parts)
        self.name = "+".join(part.name for part in parts)
        self.input_shape, self.class_names = first.input_shape, first.class_names
        sizes = [len(part) for part in parts]
        self.starts: Ids = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.y: Ids = np.concatenate([part.y for part in parts])
        self.task: Ids | None = np.repeat(np.arange(len(parts), dtype=np.int64), sizes)
        self.weight: npt.NDArray[np.float32] | None = None
        if any(part.weight is not None for part in parts):
            self.weight = np.concatenate([np.ones(len(p), np.float32) if p.weight is None else p.weight for p in parts])

    @property
    def sample_bytes(self) -> int:
        """Bytes of one stored sample: the largest of the parts."""
        return max(int(getattr(part, "sample_bytes", 4 * math.prod(self.input_shape))) for part in self.parts)

    def __len__(self) -> int:
        return len(self.y)

    def fetch(self, index: Tensor) -> Tensor:
        """Inputs (B, *input_shape) of the ids (B,), which may belong to different parts."""
        index = index.cpu()
        starts = torch.from_numpy(self.starts)
        part = torch.bucketize(index, starts[1:], right=True)
        present: list[int] = sorted(set(part.tolist()))
        if len(present) == 1:
            return self.parts[present[0]].fetch(index - starts[present[0]])
        pieces = [(part == p).nonzero().flatten() for p in present]
        fetched: Tensor = torch.cat([self.parts[p].fetch(index[w] - starts[p]) for p, w in zip(present, pieces, strict=True)])
        back = torch.cat(pieces).argsort()
        return fetched.index_select(0, back.to(fetched.device))

    def to(self, device: torch.device) -> Joined:
        """The same source, delivering on `device`."""
        moved = [part.to(device) for part in self.parts]
        return self if all(m is p for m, p in zip(moved, self.parts, strict=True)) else Joined(moved)

    def fingerprint(self) -> str:
        """A hash of all parts in order."""
        return fingerprint("joined", *(part.fingerprint() for part in self.parts))
