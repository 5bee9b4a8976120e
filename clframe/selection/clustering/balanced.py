"""Cells of limited size: rows of a cell that is too large go to the nearest one that has room."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from clframe.selection.clustering.nearest import assign
from clframe.selection.clustering.nearest import made as kernel_named
from clframe.selection.clustering.parts import Part
from clframe.selection.draws.draw import Rows
from clframe.selection.engine import Engine, Held, held
from clframe.selection.pool.pool import BLOCK
from clframe.selection.pool.vectors import Floats

INFINITE = int(np.float32(np.inf).view(np.int32))


def balance(parts: list[Part], found: list[Held], centres: Floats, most: int, engine: Engine, kernel: str) -> list[Held]:
    """Cells with at most so many rows each: a cell that has more keeps those nearest to its centre.

    The others go, in the order of their rows, to the nearest centre whose cell has room. Of rows that want the last room of a cell
    the first get it. Parts are gone through one after another in this process, because each leaves less room to the next; what
    was done of them is kept. The cost is that of assigning the rows that move.

    Args:
        parts: the pool.
        found: cell and distance of the rows of each part.
        centres: (k, d).
        most: rows of a cell, at least n / k.
        engine: keeps what is made.
        kernel: what finds nearest centres.

    Reference: none.
    """
    bits = held(engine.once("limits", lambda: limits(found, len(centres), most)))
    room: Rows = np.full(len(centres), most, dtype=np.int64)
    for one, stays in zip(map(held, found), staying(found, bits, most), strict=True):
        room -= np.bincount(one["cell"][stays], minlength=len(room))
    made = []
    for i, (part, where, stays) in enumerate(zip(parts, found, staying(found, bits, most), strict=True)):
        made.append(engine.once(f"balanced-{i:06d}", partial(moved, part, held(where), stays, centres, room.copy(), kernel)))
        room -= np.bincount(held(made[-1])["cell"][~stays], minlength=len(room))
        if engine.tell is not None:
            engine.tell("balancing", i + 1, len(parts))
    return made


def limits(found: list[Held], k: int, most: int) -> Rows:
    """Of each cell the largest squared distance that at most so many of its rows do not exceed, as the bits of a float32 (k,).

    -1 where more rows lie in the centre itself. All cells are halved at once: each halving is one pass over cells and distances,
    without the embeddings, and 31 find the last bit.

    Example:
        >>> rows = np.array([(0, 1.0), (0, 2.0), (0, 3.0), (1, 9.0)], dtype=[("cell", "<i4"), ("distance", "<f4")])
        >>> [_floats(limits([rows], 2, most)).round(3).tolist() for most in (3, 2)]
        [[inf, inf], [3.0, inf]]
    """
    low, high = np.full(k, -1, dtype=np.int64), np.full(k, INFINITE, dtype=np.int64)
    low = np.where(_within(found, high) <= most, high, low)
    while (high - low > 1).any():  # positive numbers are in the order of their bits
        middle = (low + high) // 2
        fits = _within(found, middle) <= most
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return low


def staying(found: list[Held], bits: Rows, most: int) -> Iterator[npt.NDArray[np.bool_]]:
    """Of each part the rows that stay in their cells: those within its limit, and the first of those at the next distance.

    Example:
        >>> rows = np.array([(0, 9.0), (0, 2.0), (0, 2.0), (0, 1.0)], dtype=[("cell", "<i4"), ("distance", "<f4")])
        >>> [stays.tolist() for stays in staying([rows], limits([rows], 1, 2), 2)]
        [[False, True, False, True]]
    """
    limit, tie, left = _floats(bits), _floats(bits + 1), most - _within(found, bits)
    for one in map(held, found):
        cell, distance = one["cell"], one["distance"]
        stays: npt.NDArray[np.bool_] = distance <= limit[cell]
        tied = np.flatnonzero(distance == tie[cell])
        taken = tied[_rank(cell[tied]) < left[cell[tied]]]
        stays[taken] = True
        left -= np.bincount(cell[taken], minlength=len(left))
        yield stays


def _within(found: list[Held], bits: Rows) -> Rows:
    """How many rows of each cell are within a limit."""
    total, limit = np.zeros(len(bits), dtype=np.int64), _floats(bits)
    for one in map(held, found):
        total += np.bincount(one["cell"][one["distance"] <= limit[one["cell"]]], minlength=len(bits))
    return total


def moved(
    part: Part, before: npt.NDArray[np.void], stays: npt.NDArray[np.bool_], centres: Floats, room: Rows, kernel: str
) -> npt.NDArray[np.void]:
    """Cell and distance of the rows of a part, after those that do not stay have moved to where there is room."""
    found = before.copy()
    for begin in range(0, part.count, BLOCK):
        left = np.flatnonzero(~stays[begin : begin + BLOCK])
        x = part.block(begin).x[left] if len(left) else np.empty((0, centres.shape[1]), dtype=np.float32)
        while len(left):
            free = np.flatnonzero(room > 0)
            nearest, distance = assign(x, centres[free], kernel_named(kernel, centres[free]))
            cell = free[nearest]
            taken = _rank(cell) < room[cell]
            found["cell"][begin + left[taken]], found["distance"][begin + left[taken]] = cell[taken], distance[taken]
            room -= np.bincount(cell[taken], minlength=len(room))
            left, x = left[~taken], x[~taken]
    return found


def _rank(cell: Rows) -> Rows:
    """How many rows before each one have the same cell."""
    order = np.argsort(cell, kind="stable")
    ordered = cell[order]
    begin = np.concatenate([[0], np.flatnonzero(np.diff(ordered)) + 1]) if len(cell) else np.empty(0, dtype=np.int64)
    rank = np.empty(len(cell), dtype=np.int64)
    rank[order] = np.arange(len(cell)) - np.repeat(begin, np.diff([*begin, len(cell)]))
    return rank


def _floats(bits: Rows) -> Floats:
    found = np.maximum(bits, 0).astype(np.int32).view(np.float32)
    return np.where(bits < 0, np.float32(-1), found).astype(np.float32)
