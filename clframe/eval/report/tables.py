"""Tables of results: for a terminal and a data frame. A value that is not defined is an en dash, never 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clframe.errors import unknown_name
from clframe.eval.access import refuse_mixed
from clframe.eval.metrics import METRICS, compute
from clframe.eval.report import format as fmt
from clframe.eval.result import OWN, Result, Results
from clframe.eval.statistics import Summary, summarise

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Group
    from rich.table import Table

HEADLINE = ("acc", "forgetting_first_last", "min_acc", "wc_acc", "wf_10", "aaa")
"""The metrics of the first table that a reader sees."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one strategy over its seeds.

    Attributes:
        summary: mean, standard deviation and interval.
        best: whether no strategy of the table has a better mean.
        tied: whether the interval overlaps the best one's: the data do not tell the two apart.
    """

    summary: Summary
    best: bool = False
    tied: bool = False

    @property
    def text(self) -> str:
        """Mean ± half-width."""
        return fmt.summary(self.summary)


@dataclass(frozen=True, slots=True)
class Line:
    """One strategy in one scenario: a row of the headline table.

    Attributes:
        scenario: its name.
        strategy: its name.
        cells: one a metric.
        seeds: runs that the cells are made of.
        unfinished: unfinished runs of the strategy.
        partial: whether none of its runs finished, so that the cells describe unfinished ones.
        seconds: training and evaluation time of a run.
        source: where the runs come from: "clframe", or what they were imported from.
    """

    scenario: str
    strategy: str
    cells: dict[str, Cell]
    seeds: int
    unfinished: int
    partial: bool
    seconds: Summary
    source: str = OWN

    @property
    def remark(self) -> str:
        """What became of unfinished runs; they count only where no run of the strategy finished."""
        if not self.unfinished:
            return ""
        return "unfinished" if self.partial else f"+ {self.unfinished} unfinished"


def usable(results: Results) -> Results:
    """The finished runs, or all of them where none is finished: an unfinished run's metrics describe a shorter stream."""
    finished = Results([r for r in results if r.finished])
    return finished if len(finished) else results


def lines(results: Results, metrics: Sequence[str] = HEADLINE) -> list[Line]:
    """The rows of the table, best values marked within each scenario.

    Raises:
        OptionError: a metric is not a known name, or options were chosen by looking at different things (see `Results.marked`).
    """
    for name in metrics:
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS)
    refuse_mixed(results)
    found: list[Line] = []
    for scenario in results.scenarios:
        here = results.of(scenario=scenario)
        groups = {s: here.of(s) for s in here.strategies}
        columns = {m: _column(groups, m) for m in metrics}
        for strategy, group in groups.items():
            seconds = summarise(
                [r.budget.train_seconds + r.budget.eval_seconds if r.source == OWN else None for r in usable(group)]
            )
            unfinished = sum(not r.finished for r in group)
            cells = {m: columns[m][strategy] for m in metrics}
            source = ", ".join(dict.fromkeys(r.source for r in group))
            found.append(Line(scenario, strategy, cells, len(usable(group)), unfinished, unfinished == len(group), seconds, source))
    return found


def _column(groups: dict[str, Results], metric: str) -> dict[str, Cell]:
    """One metric of every strategy, marked: the best mean among finished runs, and intervals that overlap with its own."""
    sums = {s: summarise([value(r, metric) for r in usable(g)]) for s, g in groups.items()}
    finished = {s for s, g in groups.items() if any(r.finished for r in g)}
    sign = direction(metric)
    means = {s: sign * x.mean for s, x in sums.items() if x.mean is not None and s in finished}
    if not means or sign == 0 or len(sums) < 2:
        return {s: Cell(x) for s, x in sums.items()}
    top = max(means.values())
    best = [s for s, m in means.items() if m == top]
    cells = {}
    for s, x in sums.items():
        tied = s in means and s not in best and any(_overlap(x, sums[b]) for b in best)
        cells[s] = Cell(x, s in best and len(best) < len(sums), tied)
    return cells


def value(result: Result, metric: str) -> float | None:
    """One metric of one run, those that a third party registered in `METRICS` included."""
    known: float | None = getattr(result.metrics, metric, None)
    return known if hasattr(result.metrics, metric) else compute(result.curves, [metric])[metric]


def _overlap(a: Summary, b: Summary) -> bool:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.low <= b.high and b.low <= a.high


def direction(metric: str) -> int:
    """1 where higher is better, -1 where lower is, 0 where neither."""
    better = METRICS[metric].better
    return 0 if better is None else 1 if better == "high" else -1


def title(metric: str) -> str:
    """The metric's printed name with its direction.

    Example:
        >>> title("acc"), title("forgetting_first_last")
        ('ACC ↑', 'forgetting ↓')
    """
    return f"{fmt.metric_name(metric)} {'↓ ↑'[direction(metric) + 1]}".strip()


def frame(results: Results, metrics: Sequence[str] | None = None, numeric: bool = False) -> pd.DataFrame:
    """One row a scenario and strategy, one column a metric.

    Args:
        results: the runs.
        metrics: names of metrics; the headline ones by default.
        numeric: numbers in columns (metric, statistic) with statistics mean, std, low, high, n, instead of "mean ± half-width".

    Returns:
        The table; where some runs were imported, with a column "source" (in the index, where it is numeric).

    Raises:
        OptionError: a metric is not a known name.

    Example:
        >>> import clframe
        >>> results = clframe.compare("split-digits", ["finetune", "er"], seeds=2)
        >>> frame(results, ["acc", "min_acc"]).shape
        (2, 2)
    """
    import pandas as pd

    names = list(HEADLINE if metrics is None else metrics)
    rows = lines(results, names)
    index = pd.MultiIndex.from_tuples([(r.scenario, r.strategy) for r in rows], names=["scenario", "strategy"])
    source = {"source": [r.source for r in rows]} if imported(results) else {}
    if not numeric:
        texts = {m: [r.cells[m].text for r in rows] for m in names}
        return pd.DataFrame({**source, **texts}, index=index, columns=[*source, *names])
    if source:
        index = pd.MultiIndex.from_tuples([(*pair, r.source) for pair, r in zip(index, rows)], names=[*index.names, "source"])
    statistics = ("mean", "std", "low", "high", "n")
    data = [[getattr(r.cells[m].summary, s) for m in names for s in statistics] for r in rows]
    columns = pd.MultiIndex.from_product([names, statistics], names=["metric", "statistic"])
    return pd.DataFrame(np.array(data, dtype=np.float64).reshape(len(rows), -1), index=index, columns=columns)


def imported(results: Results) -> bool:
    """Whether some runs were not made by clframe, so that tables must say where each comes from."""
    return any(r.source != OWN for r in results)


def text(results: Results) -> Group:
    """The headline table for a terminal (rich), one a scenario, and one of heads measured beside; it fits into 80 columns."""
    from rich.console import Group

    tables = [_table(results.of(scenario=s), s) for s in results.scenarios]
    tables += [_table(results.heads.of(scenario=s), f"{s}: evaluation heads") for s in results.heads.scenarios]
    tables[-1].caption = footnote(Results([*results, *(head for r in results for head in r.heads.values())]))
    return Group(*tables)


def _table(results: Results, name: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    left: Any = {"title_justify": "left", "caption_justify": "left"}
    table = Table(title=name, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, **left)
    table.add_column("strategy", overflow="fold", min_width=8)
    for metric in HEADLINE:
        heading = "FORG ↓" if metric.startswith("forgetting") else title(metric)
        table.add_column(heading.replace(" ", "\n"), justify="right", no_wrap=True)
    table.add_column("seeds", justify="right")
    table.add_column("time", justify="right", min_width=6)
    for row in lines(results):
        cells = [Text(_two_lines(c), style="bold" if c.best else "") for c in row.cells.values()]
        table.add_row(Text(row.strategy), *cells, _seeds(row), fmt.seconds(row.seconds.mean))
    return table


def _two_lines(cell: Cell) -> str:
    """Mean with its mark above, half-width below; a blank keeps the digits of unmarked means in line."""
    mean, _, half = cell.text.partition(" ± ")
    mark = "*" if cell.best else "~" if cell.tied else " "
    return f"{mean}{mark}" + (f"\n±{half} " if half else "")


def _seeds(row: Line) -> str:
    return f"{row.seeds} {row.remark}".strip()


def footnote(results: Results, best: str = "*", marks: str | None = None) -> str:
    """What the marks of the table mean, what the intervals are, and what tuning looked at.

    Args:
        results: the runs of the table.
        best: what marks the best mean.
        marks: what all marks of another table mean; "" for none.
    """
    rows = lines(results)
    cells = [c for r in rows for c in r.cells.values()]
    parts = [marks] if marks else []
    if marks is None and any(c.best for c in cells):
        parts.append(f"{best}: best mean")
    if marks is None and any(c.tied for c in cells):
        parts.append("~: its interval overlaps the best one's")
    method = next((fmt.interval(c.summary) for c in cells if c.summary.n > 1), None)
    parts.append(
        f"±: half the width of the {method} of the mean over seeds"
        if method
        else "one seed: no interval, a difference may be chance"
    )
    if any(r.unfinished for r in rows):
        parts.append("unfinished runs are left out where others finished, and are never best")
    if imported(results):
        sources = sorted({r.source for r in results} - {OWN})
        parts.append(f"imported from {' and '.join(sources)}: not measured by clframe, and only at boundaries")
    parts.append(tuning(results))
    return "; ".join(parts) + "."


def tuning(results: Results) -> str:
    """What the choice of hyperparameters looked at, as declared.

    Example:
        >>> tuning(Results([]))
        'no tuning declared'
    """
    asked = [r.spec.get("options", r.spec).get("tuning") for r in results]
    declared = fmt.together([str(d) for d in dict.fromkeys(asked) if d not in (None, "", "none declared")])
    trials = max((r.budget.tuning_trials for r in results), default=0)
    count = f" ({trials:,} trials)" if trials and len(declared) == 1 else ""
    if not declared:
        return f"tuning not described{count}" if trials else "no tuning declared"
    silent = "; for some runs none declared" if len(declared) < len(set(asked)) else ""
    return f"tuning looked at: {'; '.join(declared)}{count}{silent}"
