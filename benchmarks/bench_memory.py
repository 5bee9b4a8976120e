"""A replay memory takes in ten samples: in no time, and in the same time whatever its size."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.measure import Row, cpu, quartiles, seconds
from benchmarks.setting import Setting
from clframe.selection import MEMORIES, Memory, memory

SIZES = (1_000, 10_000, 50_000)
NEW = 10
FLOOR = 1e-4
SAME = 1.5
"""Largest ratio between two sizes that still counts as independent of the size."""


def rows(setting: Setting) -> Iterator[Row]:
    """Both kinds of memory; 10 classes as in the other benchmarks, and 100 because one kind looks at every class."""
    for kind in MEMORIES:
        for classes in (10, 100):
            yield updates(kind, classes, 61 if setting.full else 21)


def updates(kind: str, classes: int, blocks: int) -> Row:
    """Full memories of every size, by turns."""
    draw = torch.Generator().manual_seed(0)
    memories = [memory(kind, size, torch.Generator().manual_seed(0)) for size in SIZES]
    for each in memories:
        stream(each, torch.randint(classes, (each.size + each.size // 2,), generator=draw), 1000)
    times: list[list[float]] = [[] for _ in SIZES]
    for _ in range(blocks):
        y = torch.randint(classes, (100 * NEW,), generator=draw)
        for each, measured in zip(memories, times, strict=True):
            measured.append(cpu(partial(stream, each, y, NEW)) / 100)
    medians = [statistics.median(t) for t in times]
    low, _, high = quartiles(large / small for small, large in zip(times[0], times[-1], strict=True))
    return Row(
        f"memory update, {NEW} samples, {kind}, {classes} classes, sizes {', '.join(f'{s // 1000}k' for s in SIZES)}",
        " / ".join(seconds(m) for m in medians),
        "",
        max(medians) / min(medians),
        (low, high),
        f"< {seconds(FLOOR)}, sizes alike (<= {SAME:g}x)",
        max(medians) < FLOOR and max(medians) / min(medians) <= SAME,
    )


def stream(into: Memory, y: torch.Tensor, size: int) -> None:
    """Offer these samples in batches of `size`."""
    for labels in torch.split(y, size):
        into.update(torch.arange(into.seen, into.seen + len(labels)), labels)
