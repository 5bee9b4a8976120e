"""Some rows of a pool, as a pool of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from clframe.selection.pool.pool import Pool
from clframe.selection.pool.vectors import Floats, Rows, Vectors


@final
@dataclass(frozen=True)
class Subset:
    """Some rows (m,) of embeddings, in ascending order; they are read where they are."""

    whole: Vectors
    rows: Rows

    @property
    def shape(self) -> tuple[int, int]:
        """(m, d)."""
        return len(self.rows), self.whole.shape[1]

    def read(self, start: int, stop: int) -> Floats:
        """Rows start to stop - 1 of these."""
        return self.whole.take(self.rows[start:stop])

    def take(self, rows: Rows) -> Floats:
        """Any rows of these."""
        return self.whole.take(self.rows[rows])

    def describe(self) -> dict[str, Any]:
        """Where they come from."""
        return {**self.whole.describe(), "subset": len(self.rows)}


def subset_of(pool: Pool, rows: Rows) -> Pool:
    """The pool of these rows alone, which are numbered anew.

    Args:
        pool: what they are of.
        rows: in ascending order, none twice.

    Example:
        >>> import numpy as np
        >>> from clframe.selection.pool import pool_of
        >>> some = subset_of(pool_of(np.eye(4), label=[5, 6, 7, 8]), np.array([1, 3]))
        >>> some.n, some.column("label").tolist(), some.id_of(np.array([1])).tolist()
        (2, [6, 8], [3])
    """
    columns = {name: values[rows] for name, values in pool.columns.items()}
    return Pool(Subset(pool.vectors, rows), pool.id_of(rows), columns, pool.name, pool.origins)
