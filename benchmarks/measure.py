"""Two sides, one process: CPU time in alternating blocks, and the row that says what came of it."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

Advance = Callable[[int], object]
"""Do n units of work."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was measured.
        clframe, against: both sides with their units, such as "0.46 ms" and "hand-written 0.43 ms"; "" where there is one side.
        ratio: the number that the floor speaks of; None where it is not a ratio.
        spread: lower and upper quartile of that ratio over the pairs of blocks.
        floor: what DESIGN.md asks for, such as "<= 1.10x"; "" for an informative row.
        ok: whether the floor holds; None for an informative row.
    """

    what: str
    clframe: str
    against: str = ""
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    floor: str = ""
    ok: bool | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """CPU seconds of one unit of work on either side.

    Attributes:
        ours, theirs: median over the blocks.
        ratio: median over the pairs of neighbouring blocks of ours / theirs: a slow spell of the machine hits both of a pair.
        spread: quartiles of the same.
    """

    ours: float
    theirs: float
    ratio: float
    spread: tuple[float, float]

    def at_most(self, what: str, floor: float | None, against: str) -> Row:
        """A row whose ratio, ours over theirs, must not exceed `floor`; None makes it informative."""
        ok, words = (None, "") if floor is None else (self.ratio <= floor, f"<= {floor:.2f}x")
        return Row(what, seconds(self.ours), f"{against} {seconds(self.theirs)}", self.ratio, self.spread, words, ok)

    def at_least(self, what: str, floor: float | None, against: str) -> Row:
        """A row whose ratio, theirs over ours (how many times faster), must reach `floor`; None makes it informative."""
        low, high = 1 / self.spread[1], 1 / self.spread[0]
        ok, words = (None, "faster") if floor is None else (1 / self.ratio >= floor, f">= {floor:g}x faster")
        return Row(what, seconds(self.ours), f"{against} {seconds(self.theirs)}", 1 / self.ratio, (low, high), words, ok)


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of one call, all threads of the process together; the garbage collector waits until after it."""
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        work()
        return time.process_time() - start
    finally:
        gc.enable()


def alternate(ours: Advance, theirs: Advance, size: int, blocks: int, their_size: int | None = None) -> Pair:
    """Run both in `blocks` pairs of blocks, ABBA..., after one short block each to warm up.

    Args:
        ours, theirs: do n units of work.
        size: units in a block of ours.
        their_size: units in a block of theirs, where a unit is too long for as many.
    """
    their_size = their_size or size
    gc.collect()
    gc.freeze()  # what is there already need not be looked through before every block
    ours(max(1, size // 4))
    theirs(max(1, their_size // 4))
    a, b = [], []
    for k in range(blocks):
        if k % 2 == 0:
            a.append(cpu(lambda: ours(size)) / size)
            b.append(cpu(lambda: theirs(their_size)) / their_size)
        else:
            b.append(cpu(lambda: theirs(their_size)) / their_size)
            a.append(cpu(lambda: ours(size)) / size)
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    gc.unfreeze()
    low, middle, high = quartiles(ratios)
    return Pair(statistics.median(a), statistics.median(b), middle, (low, high))


def quartiles(values: Iterable[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    low, middle, high = statistics.quantiles(list(values), n=4, method="inclusive")
    return low, middle, high


def seconds(value: float) -> str:
    """A time with a fitting unit.

    Example:
        >>> seconds(0.00043), seconds(1.2e-5)
        ('0.430 ms', '12.0 us')
    """
    if value >= 1:
        return f"{value:.2f} s"
    if value >= 0.1:
        return f"{value * 1e3:.0f} ms"
    if value >= 1e-4:
        return f"{value * 1e3:.3g} ms" if value >= 0.01 else f"{value * 1e3:.3f} ms"
    return f"{value * 1e6:.1f} us"


def same_weights(ours: Iterable[Tensor], theirs: Iterable[Tensor], what: str, tolerance: float = 1e-5) -> None:
    """Stop the benchmark unless both sides arrived at the same weights: otherwise they did not do the same work.

    Ninety-nine weights of a hundred must agree within `tolerance`: where rounding puts one unit of one sample on
    the other side of its ReLU, that unit's few weights differ by more.
    """
    apart = torch.cat([(p - q).detach().abs().flatten() for p, q in zip(ours, theirs, strict=True)])
    found = float(apart.kthvalue(int(0.99 * len(apart))).values)
    if not found <= tolerance:
        raise RuntimeError(f"{what}: both sides must arrive at weights within {tolerance}; they differ by {found:.2e}.")
