"""Reading the record table: checked integer columns, which rows are the curve, where experiences end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from clframe.errors import DataError, bad_option

if TYPE_CHECKING:
    import pandas as pd

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_COUNTS = ("n", "trained", "evaluated", "correct", "total")


class Table(NamedTuple):
    """The columns of one run's record table (rows,), sorted by n, then by experience, and checked."""

    n: Ints
    trained: Ints
    evaluated: Ints
    correct: Ints
    total: Ints
    curve: Mask
    order: npt.NDArray[np.intp]

    @property
    def experiences(self) -> int:
        """N: experiences that were ever measured."""
        return int(self.evaluated.max()) + 1


def integers(frame: pd.DataFrame, names: Sequence[str]) -> list[Ints]:
    """The named columns as int64 arrays.

    Raises:
        DataError: a column is missing or does not hold integers.
    """
    missing = [c for c in names if c not in frame.columns]
    if missing:
        raise DataError(f"The table must have the columns {', '.join(names)}; {', '.join(missing)} missing. Give a record table.")
    for c in names:
        if frame[c].dtype.kind not in "iu":
            raise DataError(f"Column {c} must hold integers; got {frame[c].dtype}. Convert it with .astype('int64').")
    return [frame[c].to_numpy(dtype=np.int64) for c in names]


def checked(rows: pd.DataFrame) -> Table:
    """The columns of the record table of one run.

    Raises:
        DataError: see `Curves.from_rows`.
    """
    columns = integers(rows, _COUNTS)
    if len(rows) == 0:
        raise DataError("The record table must have rows; got none. Evaluate at least once.")
    for c in ("run", "seed"):
        if c in rows.columns and rows[c].nunique() > 1:
            raise DataError(
                f"The record table must hold one run; got {rows[c].nunique()} values of {c}. Group by run and seed first."
            )
    subset = rows["subset"].to_numpy() if "subset" in rows.columns else np.full(len(rows), "full")
    unknown = sorted({str(s) for s in subset} - {"curve", "full"})
    if unknown:
        raise DataError(f'Column subset must hold "curve" or "full"; got {unknown[0]!r}. Rename it.')
    curve = np.asarray(subset == "curve", dtype=np.bool_)
    order = np.lexsort((curve, columns[2], columns[0]))
    n, trained, evaluated, correct, total = (c[order] for c in columns)
    t = Table(n, trained, evaluated, correct, total, curve[order], order)
    _check(t)
    return t


def _check(t: Table) -> None:
    if t.n[0] < 0 or t.evaluated.min() < 0 or t.trained.min() < -1:
        raise DataError("n and evaluated must be at least 0, trained at least -1; found a smaller value. The table is damaged.")
    wrong = np.flatnonzero((t.correct < 0) | (t.correct > t.total) | (t.total < 1))
    if len(wrong):
        i = wrong[0]
        raise DataError(
            f"A measurement must have 0 <= correct <= total and total >= 1; got {t.correct[i]} of {t.total[i]} "
            f"at n={t.n[i]} on experience {t.evaluated[i]}. Leave out experiences without test samples."
        )
    twice = np.flatnonzero((np.diff(t.n) == 0) & (np.diff(t.evaluated) == 0) & (t.curve[1:] == t.curve[:-1]))
    if len(twice):
        i = twice[0]
        raise DataError(f"A measurement must appear once; n={t.n[i]}, experience {t.evaluated[i]} appears twice. Remove one.")
    step = np.diff(t.trained)
    if (step < 0).any() or (step[np.diff(t.n) == 0] != 0).any():
        raise DataError("trained must be one value at each n and must not fall; it does. Number experiences as they come.")
    last = int(t.trained[-1])
    if last >= t.experiences or len(set(t.trained.tolist()) - {-1}) != last + 1:
        raise DataError(
            f"Every experience 0..{last} must be measured and end with a measurement; got evaluated up to {t.experiences - 1} "
            f"and trained {sorted(set(t.trained.tolist()))}. Evaluate every experience at each boundary."
        )


def select(t: Table, subset: str | None) -> Mask:
    """Which rows make the curves: those of `subset`, or an experience's "curve" rows where it has some, else its "full" ones.

    Raises:
        OptionError: an unknown subset.
    """
    if subset not in (None, "curve", "full"):
        raise bad_option("subset", '"curve", "full" or None', subset, "None chooses what was recorded.")
    if subset is not None:
        return t.curve if subset == "curve" else ~t.curve
    has_curve = np.zeros(t.experiences, dtype=np.bool_)
    has_curve[t.evaluated[t.curve]] = True
    chosen: Mask = t.curve == has_curve[t.evaluated]
    return chosen


def ends(t: Table, finished: bool) -> tuple[int, ...]:
    """n at which each finished experience ended (see `Curves.from_rows`)."""
    last = int(t.trained[-1])
    found = [int(t.n[t.trained == k].max()) for k in range(last + 1)]
    if last < 0:
        return ()
    full = ~t.curve if not t.curve.all() else t.curve
    complete = len(np.unique(t.evaluated[full & (t.n == found[last])])) == t.experiences
    one_kind = t.curve.all() or not t.curve.any()
    undecided = last == t.experiences - 1 and one_kind
    return tuple(found if complete and (finished or not undecided) else found[:last])


def grid(t: Table, rows: Mask, times: Ints) -> npt.NDArray[np.float64]:
    """Accuracies (len(times), N) of the chosen rows; NaN where there is none."""
    out = np.full((len(times), t.experiences), np.nan)
    at = np.minimum(np.searchsorted(times, t.n), len(times) - 1)
    rows = rows & (times[at] == t.n)
    out[at[rows], t.evaluated[rows]] = t.correct[rows] / t.total[rows]
    return out
