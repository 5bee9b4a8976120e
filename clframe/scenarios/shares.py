"""Who gets which rows: equal and unequal shares, dealt or repeated, and rows held out of the whole stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clframe.errors import bad_option
from clframe.scenarios.build import held_out
from clframe.seeding import rng
from clframe.types import Ids


def count(name: str, value: object, least: int = 1) -> int:
    """An option that counts something.

    Raises:
        OptionError: not an integer, or below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise bad_option(name, f"an integer, {least} or more", value, f"Give {name}={max(least, 5)}.")
    return int(value)


def equal_sizes(total: int, parts: int) -> list[int]:
    """`parts` sizes that add up to `total` and differ by at most one, the larger first.

    Example:
        >>> equal_sizes(10, 4)
        [3, 3, 2, 2]
    """
    return [total // parts + (k < total % parts) for k in range(parts)]


def cut(ids: Ids, sizes: Sequence[int]) -> list[Ids]:
    """Consecutive pieces of the given sizes; what is left over is dropped.

    Example:
        >>> [piece.tolist() for piece in cut(np.arange(6), [1, 3])]
        [[0], [1, 2, 3]]
    """
    ends = np.cumsum(sizes).tolist()
    return [ids[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def rows_of_domains(total: int, domains: int, samples: int | Sequence[int] | None, disjoint: bool, seed: int) -> list[Ids]:
    """Rows (ascending) of each domain: all of them, `samples` of them, or, where `disjoint`, a part that no other domain has.

    Args:
        total: rows that there are.
        domains: how many domains.
        samples: how many rows a domain gets, or one number a domain.
        disjoint: deal the rows out instead of repeating them.
        seed: root of the draw.

    Raises:
        OptionError: another number of sizes than domains, or more rows than there are.
    """
    if samples is None:
        if not disjoint:
            return [np.arange(total, dtype=np.int64)] * domains
        if domains > total:
            raise bad_option("experiences", f"at most the number of rows, {total}, to deal them out", domains, "Ask for fewer.")
        sizes = equal_sizes(total, domains)
    else:
        sizes = [samples] * domains if isinstance(samples, int) else list(samples)
    needed = sum(sizes) if disjoint else max(sizes, default=0)
    if len(sizes) != domains or min(sizes, default=0) < 1 or needed > total:
        rule = f"from 1 to {total} rows for each of {domains} domains" + (f", {total} together" if disjoint else "")
        raise bad_option("samples_per_experience", rule, samples, "Ask for fewer rows, or leave the option out for all of them.")
    if disjoint:
        return [np.sort(piece) for piece in cut(rng(seed, "rows").permutation(total), sizes)]
    return [np.sort(rng(seed, "rows", d).permutation(total)[:size]) for d, size in enumerate(sizes)]


def held_rows(segments: Sequence[Ids], y: Ids, share: float, seed: int) -> tuple[list[Ids], list[Ids]]:
    """Split each segment into (kept, held out) so that an id held out in one place is held out wherever it comes.

    The held-out ids are one stratified draw from the whole source. For streams in which samples return.

    Args:
        segments: ids of each experience; an id may stand in several.
        y: labels of the whole source.
        share: part of the source to hold out, in [0, 1).
        seed: root of the draw.

    Raises:
        OptionError: a share outside [0, 1).
    """
    _, held = held_out([np.arange(len(y), dtype=np.int64)], y, share, seed)
    if not held:
        return list(segments), []
    out = np.zeros(len(y), dtype=np.bool_)
    out[held[0]] = True
    return [ids[~out[ids]] for ids in segments], [ids[out[ids]] for ids in segments]
