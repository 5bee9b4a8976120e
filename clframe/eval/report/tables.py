"""Tables of results: for a terminal, a data frame, Markdown, LaTeX. A value that is not defined is an en dash, never 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clframe.errors import unknown_name
from clframe.eval.metrics import METRICS
from clframe.eval.report import format as fmt
from clframe.eval.result import Results
from clframe.eval.statistics import Summary, summarise

if TYPE_CHECKING:
    import pandas as pd
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
    """One strategy in one scenario: a row of the headline table."""

    scenario: str
    strategy: str
    cells: dict[str, Cell]
    seeds: int
    unfinished: int
    seconds: Summary


def usable(results: Results) -> Results:
    """The finished runs, or all of them where none is finished: an unfinished run's metrics describe a shorter stream."""
    finished = Results([r for r in results if r.finished])
    return finished if len(finished) else results


def lines(results: Results, metrics: Sequence[str] = HEADLINE) -> list[Line]:
    """The rows of the table, best values marked within each scenario.

    Raises:
        OptionError: a metric is not a known name.
    """
    for name in metrics:
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS)
    found: list[Line] = []
    for scenario in results.scenarios:
        here = results.of(scenario=scenario)
        groups = {s: here.of(s) for s in here.strategies}
        columns = {m: _column({s: usable(g) for s, g in groups.items()}, m) for m in metrics}
        for strategy, group in groups.items():
            seconds = summarise([r.budget.train_seconds + r.budget.eval_seconds for r in usable(group)])
            unfinished = sum(not r.finished for r in group)
            cells = {m: columns[m][strategy] for m in metrics}
            found.append(Line(scenario, strategy, cells, len(usable(group)), unfinished, seconds))
    return found


def _column(groups: dict[str, Results], metric: str) -> dict[str, Cell]:
    """One metric of every strategy; the best mean marked, and those that its interval cannot be told from."""
    sums = {s: summarise([getattr(r.metrics, metric) for r in g]) for s, g in groups.items()}
    sign = direction(metric)
    means = {s: sign * x.mean for s, x in sums.items() if x.mean is not None}
    if not means or sign == 0 or len(sums) < 2:
        return {s: Cell(x) for s, x in sums.items()}
    top = max(means.values())
    best = [s for s, m in means.items() if m == top]
    cells = {}
    for s, x in sums.items():
        tied = s in means and s not in best and any(_overlap(x, sums[b]) for b in best)
        cells[s] = Cell(x, s in best and len(best) < len(sums), tied)
    return cells


def _overlap(a: Summary, b: Summary) -> bool:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return bool(a.low <= b.high and b.low <= a.high and min(a.n, b.n) > 1)


def direction(metric: str) -> int:
    """1 where higher is better, -1 where lower is, 0 where neither."""
    better = METRICS[metric].better
    return 0 if better is None else 1 if better == "high" else -1


def title(metric: str) -> str:
    """The metric's printed name with its direction.

    Example:
        >>> title("acc")
        'ACC ↑'
    """
    return f"{fmt.metric_name(metric)} {'↓ ↑'[direction(metric) + 1]}".strip()


def frame(results: Results, metrics: Sequence[str] | None = None, numeric: bool = False) -> pd.DataFrame:
    """One row a scenario and strategy, one column a metric.

    Args:
        results: the runs.
        metrics: names of metrics; the headline ones by default.
        numeric: numbers in columns (metric, statistic) with statistics mean, std, low, high, n, instead of "mean ± half-width".
    """
    import pandas as pd

    names = list(HEADLINE if metrics is None else metrics)
    rows = lines(results, names)
    index = pd.MultiIndex.from_tuples([(r.scenario, r.strategy) for r in rows], names=["scenario", "strategy"])
    if not numeric:
        return pd.DataFrame([[r.cells[m].text for m in names] for r in rows], index=index, columns=names)
    statistics = ("mean", "std", "low", "high", "n")
    data = [[getattr(r.cells[m].summary, s) for m in names for s in statistics] for r in rows]
    columns = pd.MultiIndex.from_product([names, statistics], names=["metric", "statistic"])
    return pd.DataFrame(np.array(data, dtype=np.float64).reshape(len(rows), -1), index=index, columns=columns)


def text(results: Results) -> Table:
    """The headline table for a terminal (rich)."""
    from rich.table import Table
    from rich.text import Text

    rows = lines(results)
    table = Table(title=" · ".join(results.scenarios), caption=footnote(results), caption_justify="left", title_justify="left")
    several = len(results.scenarios) > 1
    if several:
        table.add_column("scenario")
    table.add_column("strategy")
    for metric in HEADLINE:
        table.add_column(title(metric), justify="right", no_wrap=True)
    table.add_column("seeds", justify="right")
    table.add_column("time", justify="right", no_wrap=True)
    for row in rows:
        cells = [Text(c.text + _mark(c), style="bold" if c.best else "") for c in row.cells.values()]
        head = [Text(row.scenario)] if several else []
        tail = [Text(_seeds(row)), Text(fmt.seconds(row.seconds.mean))]
        table.add_row(*head, Text(row.strategy), *cells, *tail)
    return table


def _mark(cell: Cell) -> str:
    return "*" if cell.best else "~" if cell.tied else ""


def _seeds(row: Line) -> str:
    return f"{row.seeds}" + (f" †{row.unfinished}" if row.unfinished else "")


def footnote(results: Results) -> str:
    """What the marks of the table mean, what the intervals are, and what tuning looked at."""
    rows = lines(results)
    cells = [c for r in rows for c in r.cells.values()]
    parts = []
    if any(c.best for c in cells):
        parts.append("* best mean")
    if any(c.tied for c in cells):
        parts.append("~ its interval overlaps the best one's")
    method = next((fmt.interval(c.summary) for c in cells if c.summary.n > 1), None)
    parts.append(f"± half the width of the {method} of the mean over seeds" if method else "one seed: no interval, a difference may be chance")
    if any(r.unfinished for r in rows):
        parts.append("† unfinished runs, left out where others finished")
    parts.append(tuning(results))
    return "; ".join(parts) + "."


def tuning(results: Results) -> str:
    """What the choice of hyperparameters looked at, as declared.

    Example:
        >>> tuning(Results([]))
        'no tuning declared'
    """
    declared = dict.fromkeys(fmt.plain(r.spec["tuning"]) for r in results if r.spec.get("tuning"))
    trials = max((r.budget.tuning_trials for r in results), default=0)
    count = f" ({trials:,} trials)" if trials else ""
    return f"tuning: {'; '.join(declared)}{count}" if declared else f"tuning: not described{count}" if trials else "no tuning declared"


def grid(results: Results) -> tuple[list[str], list[list[str]], list[list[Cell | None]]]:
    """Header, texts and cells of the headline table, for Markdown, LaTeX and HTML."""
    several = len(results.scenarios) > 1
    header = [*(["scenario"] if several else []), "strategy", *(title(m) for m in HEADLINE), "seeds", "time"]
    texts: list[list[str]] = []
    cells: list[list[Cell | None]] = []
    for row in lines(results):
        head = [row.scenario] if several else []
        texts.append([*head, row.strategy, *(c.text for c in row.cells.values()), _seeds(row), fmt.seconds(row.seconds.mean)])
        cells.append([*[None] * len(head), None, *row.cells.values(), None, None])
    return header, texts, cells


def markdown(results: Results) -> str:
    """The headline table in Markdown, best values bold, with its footnote."""
    header, texts, cells = grid(results)
    first = header.index("strategy")
    rule = [":--" if i <= first else "--:" for i in range(len(header))]
    body = [
        [f"**{t}**" if c and c.best else t + ("~" if c and c.tied else "") for t, c in zip(row, marks, strict=True)]
        for row, marks in zip(texts, cells, strict=True)
    ]
    table = "\n".join("| " + " | ".join(t.replace("|", "\\|") for t in row) + " |" for row in [header, rule, *body])
    return f"{table}\n\n{footnote(results).replace('* best', '**bold**: best').replace('~ ', '~: ')}\n"


def latex(results: Results) -> str:
    """The headline table in LaTeX (booktabs), best values bold, with its footnote as a comment."""
    header, texts, cells = grid(results)
    first = header.index("strategy")
    body = [
        [rf"\textbf{{{fmt.tex(t)}}}" if c and c.best else fmt.tex(t) for t, c in zip(row, marks, strict=True)]
        for row, marks in zip(texts, cells, strict=True)
    ]
    align = "".join("l" if i <= first else "r" for i in range(len(header)))
    table = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", " & ".join(map(fmt.tex, header)) + r" \\", r"\midrule"]
    table += [" & ".join(row) + r" \\" for row in body]
    return "\n".join([*table, r"\bottomrule", r"\end{tabular}", f"% {footnote(results)}", ""])
