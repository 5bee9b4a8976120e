"""Where the weights of a mask may stand: anywhere in a layer, as many in each row, or two of every four."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from clframe.errors import bad_option
from clframe.strategies.sparse.exchange import draw_mask, grown

if TYPE_CHECKING:
    from torch import Tensor

PATTERNS = ("free", "fan-in", "2:4")


class Anywhere:
    """A layer as a whole keeps its count."""

    def held(self, mask: Tensor) -> Tensor:
        """How many are in the mask, ()."""
        return mask.sum()

    def lacking(self, mask: Tensor, count: int) -> Tensor:
        """How many the mask has too few of the count, ()."""
        return count - self.held(mask)

    def draw(self, among: Tensor, need: Tensor, generator: torch.Generator) -> Tensor:
        """As many at random."""
        return draw_mask(among, int(need), generator)

    def grow(
        self, candidates: Tensor, need: Tensor, how: str, generator: torch.Generator, fired: Tensor | None, signal: Tensor | None
    ) -> Tensor:
        """As many, chosen as `exchange.grown` does."""
        return grown(candidates, int(need), how, generator, fired=fired, signal=signal)


class Rows:
    """Each run of `size` weights, in the order of memory, keeps its part of the count.

    Args:
        size: weights in a run; the fan-in of a unit for as many weights in each.

    Example:
        >>> rows = Rows(3)
        >>> mask = torch.tensor([[True, True, False], [False, False, False]])
        >>> rows.lacking(mask, 4).tolist()
        [0, 2]
        >>> rows.draw(~mask, rows.lacking(mask, 4), torch.Generator()).sum(1).tolist()
        [0, 2]
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def held(self, mask: Tensor) -> Tensor:
        """How many are in each run of the mask, (runs,)."""
        return mask.reshape(-1, self.size).sum(1)

    def lacking(self, mask: Tensor, count: int) -> Tensor:
        """How many each run has too few of its part of the count, (runs,)."""
        held = self.held(mask)
        return count // len(held) - held

    def draw(self, among: Tensor, need: Tensor, generator: torch.Generator) -> Tensor:
        """As many in each run at random, or all where there are fewer."""
        return self._highest(_drawn(among, generator), among, need)

    def grow(
        self, candidates: Tensor, need: Tensor, how: str, generator: torch.Generator, fired: Tensor | None, signal: Tensor | None
    ) -> Tensor:
        """As many in each run, chosen as `exchange.grown` does."""
        if how in ("gradient", "momentum"):
            assert signal is not None
            return self._highest(signal.abs(), candidates, need)
        score = _drawn(candidates, generator)
        if how == "unfired":
            assert fired is not None
            score = score + ~fired
        return self._highest(score, candidates, need)

    def _highest(self, score: Tensor, among: Tensor, need: Tensor) -> Tensor:
        allowed = among.reshape(-1, self.size)
        order = score.reshape(-1, self.size).masked_fill(~allowed, -math.inf).sort(dim=1, descending=True, stable=True).indices
        first = torch.arange(self.size, device=among.device) < need[:, None]
        found = torch.zeros_like(allowed).scatter_(1, order, first)
        return (found & allowed).view(among.shape)


Pattern = Anywhere | Rows


def pattern_of(name: str, shape: Sequence[int]) -> Pattern:
    """The pattern of a layer. Of a layer whose fan-in is no multiple of four, "2:4" keeps half of each row.

    Raises:
        OptionError: an unknown pattern.
    """
    if name not in PATTERNS:
        raise bad_option("pattern", f"one of {', '.join(PATTERNS)}", name, "Leave it out for weights anywhere in a layer.")
    fan_in = math.prod(shape[1:])
    if name == "free":
        return Anywhere()
    return Rows(4 if name == "2:4" and fan_in % 4 == 0 else fan_in)


def whole_rows(pattern: Pattern, shape: Sequence[int], count: int, at_most: bool = False) -> int:
    """The nearest count, or the next one below, that gives each run as many, at least one.

    Example:
        >>> whole_rows(Rows(8), (10, 8), 17)
        20
    """
    if isinstance(pattern, Anywhere):
        return count
    runs = math.prod(shape) // pattern.size
    return runs * max(1, count // runs if at_most else round(count / runs))


def _drawn(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator).to(like.device)
