"""Successive halving: after some experiences only the better trials go on, from where they stand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clframe.errors import bad_option
from clframe.registry import Registry, call, parse


@dataclass(frozen=True)
class Halving:
    """After `first`, 2 `first`, 4 `first`, ... experiences, the share `keep` of the trials that are left goes on.

    A trial is judged by its mean accuracy on the validation samples of the experiences so far. Those that go on do so from their
    checkpoints, so nothing is trained twice; the others stay where they are, and can be looked at.

    Args:
        keep: share in (0, 1); at least one trial goes on.
        first: experiences before the first decision.

    Raises:
        OptionError: out of range.

    Example:
        >>> list(Halving().rungs(10)), Halving(keep=0.5).left(5)
        ([1, 2, 4, 8], 3)

    Reference: Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", 2016.
    Differences: 1. The resource is experiences, whose scores are not those of one curve: a method that forgets looks better early.
    """

    keep: float = 0.5
    first: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.keep < 1:
            raise bad_option("keep", "a share in (0, 1)", self.keep, "Give keep=0.5.")
        if not isinstance(self.first, int) or self.first < 1:
            raise bad_option("first", "a positive number of experiences", self.first, "Give first=1.")

    def rungs(self, experiences: int) -> Iterator[int]:
        """Experiences after which trials end."""
        reached = self.first
        while reached < experiences:
            yield reached
            reached *= 2

    def left(self, trials: int) -> int:
        """How many of the trials go on."""
        return max(1, math.ceil(self.keep * trials))


PRUNING = Registry("pruning", {"halving": f"{__name__}:Halving"}, group="clframe.pruning")


def pruning(written: str) -> Halving:
    """A rule by name, with options.

    Example:
        >>> pruning("halving(keep=0.25)")
        Halving(keep=0.25, first=1)
    """
    name, options = parse(written)
    found: Halving = call("pruning", name, PRUNING.load(name), options)
    return found


def survivors(scores: Sequence[float | None], rule: Halving) -> list[int]:
    """Positions of those that go on, in their order; the first of equals. Those that diverged do not.

    Example:
        >>> survivors([0.1, 0.3, None, 0.3], Halving(keep=0.5))
        [1, 3]
    """
    known = sorted((-score, i) for i, score in enumerate(scores) if score is not None)
    return sorted(i for _, i in known[: rule.left(len(scores))])
