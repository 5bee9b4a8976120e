"""The order in which the samples of an experience come: a pure function of (seed, experience, epoch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from clframe.seeding import rng
from clframe.types import Ids


class Order(Protocol):
    """Ids of one epoch of one experience; a frozen dataclass, so that its repr says all."""

    def ids(self, segments: Sequence[Ids], k: int, epoch: int, epochs: int, seed: int) -> Ids:
        """Training ids of epoch `epoch` (of `epochs`) of experience `k`, in order."""
        ...

    def length(self, segments: Sequence[Ids], k: int, epoch: int, epochs: int) -> int:
        """How many ids that is, without making them."""
        ...


@dataclass(frozen=True, slots=True)
class Shuffled:
    """The experience's own ids, shuffled anew each epoch. The default."""

    def ids(self, segments: Sequence[Ids], k: int, epoch: int, epochs: int, seed: int) -> Ids:
        """A permutation of `segments[k]`."""
        return rng(seed, "order", k, epoch).permutation(segments[k])

    def length(self, segments: Sequence[Ids], k: int, epoch: int, epochs: int) -> int:
        """All of them."""
        return len(segments[k])


@dataclass(frozen=True, slots=True)
class AsGiven:
    """The experience's own ids in the order of the segment: streams whose time order is the point."""

    def ids(self, segments: Sequence[Ids], k: int, epoch: int, epochs: int, seed: int) -> Ids:
        """`segments[k]` itself."""
        return segments[k]

    def length(self, segments: Sequence[Ids], k: int, epoch: int, epochs: int) -> int:
        """All of them."""
        return len(segments[k])


@dataclass(frozen=True, slots=True)
class Cumulative:
    """The ids of this experience and of all before it, shuffled: retraining on everything seen, an upper bound."""

    def ids(self, segments: Sequence[Ids], k: int, epoch: int, epochs: int, seed: int) -> Ids:
        """A permutation of `segments[0] + ... + segments[k]`."""
        return rng(seed, "order", k, epoch).permutation(np.concatenate(segments[: k + 1]))

    def length(self, segments: Sequence[Ids], k: int, epoch: int, epochs: int) -> int:
        """Everything up to k."""
        return sum(map(len, segments[: k + 1]))


@dataclass(frozen=True, slots=True)
class Joint:
    """All ids of the stream in one shuffled training, cut into as many stretches as there are experiences.

    With K experiences and E epochs, stretch s = k E + e (0 <= s < K E) is slice s mod K of the permutation of joint epoch
    s div K. After the last experience every sample was seen exactly E times, the number of updates is that of the original
    stream (up to rounding), and the boundaries stand at the same places, so that joint training can be drawn on the same axis.
    It is also the control experiment of a stream without any change of distribution (Kamath et al. 2024).
    """

    def ids(self, segments: Sequence[Ids], k: int, epoch: int, epochs: int, seed: int) -> Ids:
        """One slice of one joint epoch."""
        joint, part = divmod(k * epochs + epoch, len(segments))
        everything = np.concatenate(segments)
        low, high = _slice(len(everything), part, len(segments))
        picked: Ids = everything[_joint_permutation(len(everything), seed, joint)[low:high]]
        return picked

    def length(self, segments: Sequence[Ids], k: int, epoch: int, epochs: int) -> int:
        """An equal share of everything."""
        low, high = _slice(sum(map(len, segments)), (k * epochs + epoch) % len(segments), len(segments))
        return high - low


@lru_cache(maxsize=2)
def _joint_permutation(total: int, seed: int, joint: int) -> Ids:
    """Places in the order of one joint epoch; kept, because each of its slices asks for it."""
    return rng(seed, "order", "joint", joint).permutation(total)


def _slice(total: int, part: int, parts: int) -> tuple[int, int]:
    return total * part // parts, total * (part + 1) // parts
