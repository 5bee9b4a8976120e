"""Accuracy of every class at the end, one column a strategy."""

from __future__ import annotations

from dataclasses import dataclass

from clframe.eval.metrics import Curves, per_class_accuracy
from clframe.eval.report.tables import usable
from clframe.eval.result import Result, Results
from clframe.eval.statistics import Summary, summarise


@dataclass(frozen=True, slots=True)
class ClassTable:
    """Accuracy of each class at the last boundary, mean over seeds.

    Attributes:
        strategies: one a column.
        rows: (label, one summary a strategy).
    """

    strategies: list[str]
    rows: list[tuple[int, list[Summary]]]


def class_table(results: Results) -> ClassTable | None:
    """The per-class table of one scenario; None where no per-class counts were kept."""
    found = {s: [_classes(r) for r in usable(results.of(s))] for s in results.strategies}
    labels = sorted({label for runs in found.values() for run in runs for label in run})
    if not labels:
        return None
    rows = [(label, [summarise([run.get(label) for run in runs]) for runs in found.values()]) for label in labels]
    return ClassTable(list(found), rows)


def _classes(result: Result) -> dict[int, float]:
    curves = Curves.from_rows(result.rows, classes=result.classes, finished=result.finished)
    return per_class_accuracy(curves) if curves.k else {}
