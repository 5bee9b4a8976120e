"""From the record table of one run to arrays: what every metric is a function of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from clframe.errors import DataError, bad_option
from clframe.eval.metrics import table

if TYPE_CHECKING:
    import pandas as pd

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class ClassCounts(NamedTuple):
    """Per-class counts on the full test sets, one entry a row: five arrays (L,), int64."""

    n: Ints
    evaluated: Ints
    label: Ints
    correct: Ints
    total: Ints


@dataclass(frozen=True, eq=False)
class Curves:
    """Accuracy over updates and experiences of one run, with the boundaries.

    M evaluations, N experiences, K of them finished. Times are updates completed since the start of the stream; accuracies
    lie in [0, 1]; NaN means "not measured". The metrics look at the stream up to the last finished experience, `ends[-1]`.

    Attributes:
        times: n of each evaluation (M,), strictly increasing.
        accuracy: A(E_i, f_n) on the evaluation subset (M, N).
        trained: the experience being trained at each time (M,); -1 at n = 0.
        ends: |T_1|, ..., |T_K|: n at which each finished experience ended.
        matrix: R, full-test accuracies (K + 1, N): row 0 at n = 0, row j at the end of the j-th experience.
        curve_matrix: the same from the evaluation subset (K + 1, N).
        sizes: samples in each full test set (N,); 0 where it was never measured.
        classes: per-class counts, or None.

    Example:
        >>> from clframe.eval.metrics import acc, dip
        >>> curves = dip()
        >>> curves.ends, curves.accuracy[:, 0].tolist()
        ((2, 4), [0.5, 0.8, 0.9, 0.3, 0.7])
        >>> [acc(curves.until(k)) for k in (0, 1, 2)]
        [None, 0.9, 0.75]
    """

    times: Ints
    accuracy: Floats
    trained: Ints
    ends: tuple[int, ...]
    matrix: Floats
    curve_matrix: Floats
    sizes: Ints
    classes: ClassCounts | None = None

    @classmethod
    def from_rows(
        cls, rows: pd.DataFrame, subset: str | None = None, *, classes: pd.DataFrame | None = None, finished: bool = True
    ) -> Curves:
        """The curves of the one run in `rows`; the order of the rows does not matter.

        An experience has ended when a later one is being trained, or when every experience, unseen ones included, was
        measured on its full test set at the last n of it. Where the evaluation subset is the whole test set, rows
        cannot show whether the last experience of the stream is over: `finished` says it.

        Args:
            rows: the record table; columns run, seed, n, trained, evaluated, correct, total, subset are read.
            subset: "curve" or "full" for `accuracy`; None takes an experience's "curve" rows where it has some, else
                its "full" rows.
            classes: per-class counts: n, evaluated, label, correct, total.
            finished: whether the stream was walked to its end.

        Raises:
            DataError: no rows, several runs, a missing column, a measurement twice, counts out of range.
            OptionError: an unknown subset.
        """
        t = table.checked(rows)
        chosen = table.select(t, subset)
        ends = table.ends(t, finished)
        times, first = np.unique(t.n, return_index=True)
        at = np.asarray([0, *ends], dtype=np.int64)
        sizes = np.zeros(t.experiences, dtype=np.int64)
        full = ~t.curve
        sizes[t.evaluated[full]] = t.total[full]
        return cls(
            times=times,
            accuracy=table.grid(t, chosen, times),
            trained=t.trained[first],
            ends=ends,
            matrix=table.grid(t, full, at),
            curve_matrix=table.grid(t, chosen, at),
            sizes=sizes,
            classes=None if classes is None else ClassCounts(*table.integers(classes, ClassCounts._fields)),
        )

    @classmethod
    def from_arrays(
        cls,
        times: Sequence[int] | Ints,
        accuracy: Sequence[Sequence[float]] | Floats,
        ends: Sequence[int],
        sizes: Sequence[int] | None = None,
    ) -> Curves:
        """Curves from an accuracy array, for curves that were not recorded by clframe.

        Args:
            times: n of each evaluation (M,), strictly increasing.
            accuracy: accuracies (M, N), NaN where not measured.
            ends: n at which each experience ended; each must be in `times`.
            sizes: test samples of each experience (N,); None for equal sizes.

        Raises:
            DataError: shapes that do not fit, times that do not increase, an end at which nothing was measured.
        """
        n, a = np.asarray(times, dtype=np.int64), np.asarray(accuracy, dtype=np.float64)
        if a.ndim != 2 or n.shape != a.shape[:1] or len(ends) > a.shape[1]:
            raise DataError(
                f"times must be (M,), accuracy (M, N) and ends at most N; got {n.shape}, {a.shape} and {len(ends)} ends. "
                "Give one row of accuracy a time and one column an experience."
            )
        if (np.diff(n) <= 0).any() or not set(ends) <= set(n.tolist()) or list(ends) != sorted(set(ends)):
            raise DataError(
                f"times must increase strictly and hold every end, which increase too; got ends {list(ends)}. Sort by n."
            )
        at = np.full((len(ends) + 1, a.shape[1]), np.nan)
        for row, end in enumerate([0, *ends]):
            at[row] = a[n == end][0] if end in n else np.nan
        trained = np.searchsorted(np.asarray(ends), n, side="left").astype(np.int64)
        trained[n == 0] = -1
        even = np.ones(a.shape[1], dtype=np.int64)
        counts = even if sizes is None else np.asarray(sizes, dtype=np.int64)
        return cls(n, a, trained, tuple(int(e) for e in ends), at, at, counts)

    @property
    def k(self) -> int:
        """Experiences finished."""
        return len(self.ends)

    def start(self, experience: int) -> int:
        """n just before the first update on the experience: 0 or the end of the one before."""
        return self.ends[experience - 1] if experience else 0

    def series(self, experience: int, after: int = -1, until: int | None = None) -> tuple[Ints, Floats]:
        """Times (m,) and accuracies (m,) of one experience for after < n <= until, where it was measured.

        Args:
            experience: which one, from 0.
            after: n to start behind.
            until: last n; None for the end of the last finished experience.
        """
        stop = until if until is not None else self.ends[-1] if self.ends else -1
        low, high = np.searchsorted(self.times, [after, stop], side="right")
        values = self.accuracy[low:high, experience]
        there = ~np.isnan(values)
        return self.times[low:high][there], values[there]

    def until(self, k: int) -> Curves:
        """The curves as they stood when the k-th experience had ended (k = 0: at n = 0), so `acc(curves.until(3))` is ACC_3.

        Raises:
            OptionError: k is not in 0..K.
        """
        if not 0 <= k <= self.k:
            raise bad_option("k", f"an integer in 0..{self.k}", k, "Only finished experiences count.")
        m = int(np.searchsorted(self.times, self.ends[k - 1] if k else 0, side="right"))
        return replace(
            self,
            times=self.times[:m],
            accuracy=self.accuracy[:m],
            trained=self.trained[:m],
            ends=self.ends[:k],
            matrix=self.matrix[: k + 1],
            curve_matrix=self.curve_matrix[: k + 1],
        )


def mean_or_none(values: npt.ArrayLike) -> float | None:
    """The mean, or None where there is nothing to average or something was not measured."""
    a = np.asarray(values, dtype=np.float64)
    return None if a.size == 0 or bool(np.isnan(a).any()) else float(a.mean())


def dip() -> Curves:
    """The example of the documentation: two experiences of two updates each; the first falls to 0.3 at the switch.

    Example:
        >>> dip().accuracy.tolist()
        [[0.5, 0.5], [0.8, nan], [0.9, 0.5], [0.3, 0.7], [0.7, 0.8]]
    """
    nan = float("nan")
    return Curves.from_arrays(range(5), [[0.5, 0.5], [0.8, nan], [0.9, 0.5], [0.3, 0.7], [0.7, 0.8]], ends=[2, 4])
