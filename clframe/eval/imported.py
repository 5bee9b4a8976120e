"""Runs of other libraries: accuracies at boundaries, marked with where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from clframe.errors import DataError
from clframe.eval.budget import Budget
from clframe.eval.metrics import Curves, Metrics, compute
from clframe.eval.records import Records
from clframe.eval.result import Result

AT_BOUNDARIES = (
    "acc",
    "average_incremental_accuracy",
    "la",
    "forgetting_first_last",
    "forgetting_max_final_included",
    "forgetting_max_before_final",
    "bwt",
    "bwt_all_rows",
)
"""The metrics that follow from accuracies at boundaries alone; the others need what only clframe measures, and are null."""


@final
@dataclass(frozen=True)
class Imported(Result):
    """A run that another library made, as far as its files tell.

    Attributes:
        matrix: accuracies in [0, 1] (T, T): row k holds those after experience k; NaN where they were not written.
        told: metrics that the files give by themselves, by name; they count where `matrix` does not give them.

    There are no records and no terms; `updates` counts experiences, 1 to T.
    """

    matrix: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    told: Mapping[str, float] = field(default_factory=dict, repr=False)

    @cached_property
    def curves(self) -> Curves:
        """Accuracy at boundaries alone, over experiences instead of updates."""
        ends = range(1, len(self.matrix) + 1)
        return Curves.from_arrays(list(ends), self.matrix, ends, sizes=[0] * self.matrix.shape[1])

    @cached_property
    def metrics(self) -> Metrics:
        """What accuracies at boundaries tell; None for all other metrics."""
        found: dict[str, float | None] = dict.fromkeys((f.name for f in fields(Metrics)), None)
        followed = compute(self.curves, AT_BOUNDARIES)
        return Metrics(**{**found, **self.told, **{name: v for name, v in followed.items() if v is not None}})


def imported(
    source: str,
    strategy: str,
    scenario: str,
    seed: int,
    rows: Sequence[Sequence[float]],
    *,
    options: Mapping[str, Any],
    path: Path,
    told: Mapping[str, float] | None = None,
) -> Imported:
    """A run from the accuracies that were written after each experience.

    Args:
        source: the library, such as "mammoth".
        strategy, scenario, seed: what tables call it.
        rows: accuracies in [0, 1]; row k those of experiences 0..k after experience k, or empty where they are not known.
        options: what the files say of how it was made.
        path: the file.
        told: metrics that the file gives by itself.

    Raises:
        DataError: a value outside [0, 1].

    Example:
        >>> run = imported("mine", "er", "digits", 0, [[0.9], [0.5, 0.7]], options={}, path=Path("log.txt"))
        >>> run.metrics.acc, round(run.metrics.forgetting_first_last, 12), run.metrics.min_acc
        (0.6, 0.4, None)
    """
    size = len(rows)
    matrix = np.full((size, size), np.nan)
    for k, row in enumerate(rows):
        matrix[k, : len(row)] = row
    outside = [v for v in (*matrix[~np.isnan(matrix)], *(told or {}).values()) if not 0.0 <= v <= 1.0]
    if outside:
        raise DataError(f"{path}: an accuracy must lie in [0, 100] %; got {100 * outside[0]:g}. Correct the file.")
    written = {**options, "strategy": strategy, "scenario": scenario, "seed": seed, "tuning": f"{source}: not known"}
    empty = Records(strategy, seed)
    return Imported(
        strategy=strategy,
        scenario=scenario,
        seed=seed,
        spec={"options": written, "resolved": {}, "identity": f"{source} {path} {strategy} {seed}"},
        rows=empty.rows(),
        terms=empty.terms(),
        classes=empty.classes(),
        budget=Budget(),
        environment={},
        path=None,
        source=source,
        matrix=matrix,
        told=dict(told or {}),
    )
