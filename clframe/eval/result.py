"""Results are objects: what a run returns, and what `clframe report` reads back from run directories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from clframe.errors import unknown_name
from clframe.eval.access import mark, mixed, refuse_mixed
from clframe.eval.budget import Budget
from clframe.eval.metrics import Curves, Metrics
from clframe.eval.representation import frame
from clframe.eval.statistics import Summary, summarise

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

OWN = "clframe"
"""The source of runs that clframe made."""


@dataclass(frozen=True)
class Result:
    """One run: its table of records and whatever follows from it.

    Attributes:
        strategy: the strategy as it was written, such as "er(size=500)".
        scenario: the scenario as it was written.
        seed: seed of the run.
        spec: the resolved specification: every option with its value.
        rows: the record table (see `clframe.eval.records.Row`), one row a measurement.
        terms: loss terms of every update: n, term, value.
        classes: per-class counts at n = 0 and at boundaries: n, evaluated, label, correct, total.
        budget: what the run used.
        environment: versions and machine.
        finished: whether the stream was walked to its end.
        path: the run directory, or None.
        head_rows, head_classes: the same tables of the heads measured beside the answer, with a column head; None without any.
        representation: measures of the features, where they were asked for: n, evaluated (-1: all experiences begun,
            together), name ("rankme_eigen", "rankme_singular", "alpha_req"), value (NaN where it is not defined).
        certificates: of a run whose method promises something of its weights, else None: n, evaluated, name, value, with the names
            of `clframe.eval.certificates.NAMES`; NaN where a value is not defined.
        capacity: of a finished run whose method gives every task a subnet of one network, else None: task (in the order in which
            they finished), layer, size, own (weights newly taken), shared (weights of earlier tasks, used as they are), used
            (owned by this task or an earlier one), free.
        overlap: of the same runs: task, other (a later one), layer ("all": all of them together), both, either, jaccard
            (both / either; NaN where neither has a weight).
        source: what made the run; see `clframe.bridges` for runs of other libraries.

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "finetune", seed=0)
        >>> result.accuracy.shape == (len(result.updates), 5)
        True
        >>> 0.0 <= result.metrics.acc <= 1.0
        True
    """

    strategy: str
    scenario: str
    seed: int
    spec: Mapping[str, Any]
    rows: pd.DataFrame = field(repr=False)
    terms: pd.DataFrame = field(repr=False)
    classes: pd.DataFrame = field(repr=False)
    budget: Budget = field(repr=False)
    environment: Mapping[str, Any] = field(repr=False)
    finished: bool = True
    path: Path | None = None
    head_rows: pd.DataFrame | None = field(default=None, repr=False)
    head_classes: pd.DataFrame | None = field(default=None, repr=False)
    representation: pd.DataFrame = field(default_factory=lambda: frame([]), repr=False)
    certificates: pd.DataFrame | None = field(default=None, repr=False)
    capacity: pd.DataFrame | None = field(default=None, repr=False)
    overlap: pd.DataFrame | None = field(default=None, repr=False)
    source: str = OWN

    @cached_property
    def curves(self) -> Curves:
        """Accuracy over updates and experiences, with the boundaries: what the metrics are functions of."""
        return Curves.from_rows(self.rows, classes=self.classes, finished=self.finished)

    @property
    def updates(self) -> npt.NDArray[np.int64]:
        """The n of each row of `accuracy` (M,)."""
        return self.curves.times

    @property
    def accuracy(self) -> npt.NDArray[np.float64]:
        """Accuracy (M, N) after `updates` on each experience, in [0, 1]; NaN where it was not measured."""
        return self.curves.accuracy

    @cached_property
    def metrics(self) -> Metrics:
        """Every headline metric by name; None where it is not defined."""
        return Metrics.from_curves(self.curves)

    @cached_property
    def heads(self) -> Mapping[str, Result]:
        """What each head measured beside the answer, as a run of its own: `result.heads["linear"].metrics`, `.curves`, `.rows`.

        Named after strategy and head, as in "er+nmc-head [nmc-head]"; everything but the measurements is the run's own.
        """
        if self.head_rows is None or self.head_classes is None:
            return {}
        found: dict[str, Result] = {}
        for name in self.head_rows["head"].unique():
            rows, classes = (t[t["head"] == name].drop(columns="head") for t in (self.head_rows, self.head_classes))
            rows, classes = rows.reset_index(drop=True), classes.reset_index(drop=True)
            own = {"rows": rows, "classes": classes, "head_rows": None, "head_classes": None, "representation": frame([])}
            own["certificates"] = None  # a promise is of the answer
            found[name] = replace(self, strategy=f"{self.strategy} [{name}]", **own)
        return found

    def figure(self) -> Figure:
        """Accuracy of every experience after every measured update, boundaries drawn."""
        from clframe.eval.report import plots

        return plots.curves_figure(self)

    def capacity_figure(self) -> Figure:
        """Which task owns how much of each layer, and what is free.

        Raises:
            OptionError: the run has no capacity table.

        Example:
            >>> import clframe
            >>> result = clframe.run("task-split-digits", "packnet", evaluate="boundaries")
            >>> [ax.get_xlabel() for ax in result.capacity_figure().axes]
            ["share of the layer's weights, %"]
        """
        from clframe.eval.report import capacity_figures

        return capacity_figures.owners_figure(self)

    def log(self, to: str) -> None:
        """Send the run to dashboards: "tensorboard", "mlflow", "wandb"; see `clframe.eval.follower.send`."""
        from clframe.eval.follower import send

        send(self, to)

    def report(self, path: str | Path) -> Path:
        """Write one HTML file that opens offline."""
        return Results([self]).report(path)

    def _repr_html_(self) -> str:
        return Results([self])._repr_html_()


class Results(Sequence[Result]):
    """Several runs, to be compared: over seeds, strategies, scenarios.

    Example:
        >>> import clframe
        >>> results = clframe.compare("split-digits", ["finetune", "er"], seeds=2)
        >>> results.strategies
        ['finetune', 'er']
        >>> results.summary("er", "acc").n
        2
    """

    def __init__(self, results: Sequence[Result]) -> None:
        self._results = list(results)

    @overload
    def __getitem__(self, item: int) -> Result: ...
    @overload
    def __getitem__(self, item: slice) -> Results: ...
    def __getitem__(self, item: int | slice) -> Result | Results:
        return Results(self._results[item]) if isinstance(item, slice) else self._results[item]

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results)

    def __repr__(self) -> str:
        return f"Results({len(self)} runs of {', '.join(self.strategies)})"

    @property
    def scenarios(self) -> list[str]:
        """Names of the scenarios, in order of appearance."""
        return list(dict.fromkeys(r.scenario for r in self))

    @property
    def strategies(self) -> list[str]:
        """Names of the strategies, in order of appearance."""
        return list(dict.fromkeys(r.strategy for r in self))

    def of(self, strategy: str | None = None, scenario: str | None = None) -> Results:
        """The runs of one strategy and/or one scenario.

        Raises:
            OptionError: no run of that name.
        """
        for kind, name, known in (("strategy", strategy, self.strategies), ("scenario", scenario, self.scenarios)):
            if name is not None and name not in known:
                raise unknown_name(kind, name, known)
        return Results([r for r in self if strategy in (None, r.strategy) and scenario in (None, r.scenario)])

    @property
    def heads(self) -> Results:
        """The runs that measured heads beside their answer, each followed by its heads as runs of their own.

        So `results.heads.table()` sets answers and heads side by side, and `results.heads.summary("er+nmc-head [nmc-head]",
        "acc")` is one head over seeds.
        """
        return Results([x for r in self if r.heads for x in (r, *r.heads.values())])

    def marked(self) -> Results:
        """The same runs, each named with what its options were chosen by, as in "er [gtep]": these may stand in one table."""
        return Results([replace(r, strategy=mark(r)) for r in self])

    def summary(self, strategy: str, metric: str, scenario: str | None = None) -> Summary:
        """Mean, standard deviation and interval of one metric over the seeds.

        Raises:
            OptionError: no run of that name, or runs whose options were chosen by looking at different things.
        """
        found = self.of(strategy, scenario)
        refuse_mixed(found)
        return summarise([getattr(r.metrics, metric) for r in found])

    def table(self, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """One row a scenario and strategy, one column a metric: "mean ± half-width" over seeds."""
        from clframe.eval.report import tables

        return tables.frame(self, metrics)

    def markdown(self, metrics: Sequence[str] | None = None) -> str:
        """The table in Markdown; see `clframe.eval.report.published`."""
        from clframe.eval.report import published

        return published.markdown(self, metrics)

    def latex(self, metrics: Sequence[str] | None = None) -> str:
        """The table in LaTeX (booktabs); see `clframe.eval.report.published`."""
        from clframe.eval.report import published

        return published.latex(self, metrics)

    def runs(self, kind: str = "pandas") -> Any:
        """One row a run, one column a metric and a number of the budget; "polars" for a polars frame."""
        from clframe.eval.report import frames

        return frames.of_kind(frames.runs(self), kind)

    def records(self, kind: str = "pandas") -> Any:
        """The record tables of all runs in one, one row a measurement; "polars" for a polars frame."""
        from clframe.eval.report import frames

        return frames.of_kind(frames.records(self), kind)

    def write(self, path: str | Path) -> Path:
        """Write the table as .md or .tex, or one row a run as .csv or .parquet, whole or not at all."""
        from clframe.eval.report import frames

        return frames.write(self, Path(path))

    def report(self, path: str | Path) -> Path:
        """Write one HTML file that opens offline: tables with intervals, curves, boundaries, matrices, budgets."""
        from clframe.eval.report import html

        return html.write(self, Path(path))

    def _repr_html_(self) -> str:
        """For notebooks: the headline table and curves."""
        from clframe.eval.report import notebook

        return notebook.html(self.marked() if mixed(self) else self)
