"""A sketch of a set of samples: enough to find out later whether other data shares some of them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from clframe.eval.protocol.access import Hashes

KEPT = 4096
"""Hashes of a sketch. Data that holds a share p of the samples is missed with probability (1 - p)^4096: 1e-18 for p = 0.01."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """The 4096 smallest of all hashes, or all where there are no more.

    The smallest hashes are a random draw of the samples, and the same one wherever the samples are: a hash that is in the
    sketch and in other data is a sample of both (that one of a million other samples agrees by chance: below 1e-9).

    Attributes:
        count: samples that it stands for.
        hashes: the smallest, in ascending order.

    Example:
        >>> sketch = Sketch.of(np.arange(1_000_000, dtype=np.uint64))
        >>> len(sketch.hashes), sketch.complete, sketch.shared(np.array([4095, 4096], dtype=np.uint64))
        (4096, False, 1)
    """

    count: int
    hashes: Hashes

    @classmethod
    def of(cls, hashes: Hashes) -> Sketch:
        """The sketch of the samples with these hashes."""
        found = np.unique(hashes)
        return cls(len(found), found[:KEPT])

    @property
    def complete(self) -> bool:
        """Whether all samples are in it."""
        return self.count == len(self.hashes)

    def shared(self, others: Hashes) -> int:
        """How many of these different samples are in the sketch: all that are shared where it is complete, else some of them."""
        return len(np.intersect1d(self.hashes, others, assume_unique=True))

    @cached_property
    def name(self) -> str:
        """A hash of its content."""
        content = np.array([self.count], dtype="<u8").tobytes() + self.hashes.astype("<u8").tobytes()
        return hashlib.blake2b(content, digest_size=8).hexdigest()

    def plain(self) -> dict[str, Any]:
        """It as JSON.

        Example:
            >>> Sketch.read(Sketch.of(np.array([7, 3], dtype=np.uint64)).plain()).hashes
            array([3, 7], dtype=uint64)
        """
        return {"count": self.count, "hashes": base64.b64encode(self.hashes.astype("<u8").tobytes()).decode("ascii")}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Sketch:
        """The sketch that `plain` wrote."""
        content = base64.b64decode(plain["hashes"], validate=True)
        return cls(int(plain["count"]), np.frombuffer(content, dtype="<u8").astype(np.uint64))
