"""Coverage in words and lines of a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clframe.selection.coverage import Coverage
from clframe.selection.draws.draw import Rows

FEW = 10
"""Up to twice as many classes the least covered one is named; of more, the tenth that is covered least."""


def sentence(c: Coverage) -> str:
    """What matters of it, in words.

    Example:
        >>> print(sentence(Coverage("cell", ["0", "1"], np.array([90, 10]), np.array([5, 0]), np.array([100.0, 0.0]))))
        1 of 2 cells has no chosen row: 10 % of the pool. Of the tenth of the cells that is covered least, the coverage is 0.00.
    """
    many = {"cell": "cells", "label": "classes"}.get(c.name, f"values of {c.name}")
    missing = f"{c.empty:,} of {len(c.parts):,} {many} {'has' if c.empty == 1 else 'have'} no chosen row"
    said = f"All {len(c.parts):,} {many} have a chosen row" if not c.empty else missing
    if c.empty:
        said += f": {100 * float(c.shares[c.chosen == 0].sum()):.2g} % of the pool"
    if len(c.parts) <= 2 * FEW and c.name != "cell":
        least = int(np.argmin(c.coverage))
        return f"{said}. The coverage is least in {c.parts[least]}: {c.coverage[least]:.2f}."
    return f"{said}. Of the tenth of the {many} that is covered least, the coverage is {c.worst_coverage:.2f}."


def rows(c: Coverage, some: Sequence[int] | Rows | None = None) -> list[list[str]]:
    """Lines of a table: part, coverage; share of the pool, by weight, by count, in percent; rows in the pool, chosen."""
    found = []
    for i in range(len(c.parts)) if some is None else some:
        shares = (f"{100 * v[i]:.{1 if v[i] >= 0.0995 else 2}f}" for v in (c.shares, c.by_weight, c.by_count))
        found.append([c.parts[i], f"{c.coverage[i]:.2f}", *shares, f"{c.pool[i]:,}", f"{c.chosen[i]:,}"])
    return found
