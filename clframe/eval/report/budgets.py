"""The budget table: what each strategy used and how many times the cheapest that is, to compare at equal budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clframe.eval.budget import Budget
from clframe.eval.report import format as fmt
from clframe.eval.report.tables import usable
from clframe.eval.result import Results

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Column:
    """One thing that costs: its title, where it stands in a `Budget`, how it prints.

    `measured` values depend on the machine; `terse` columns are shown on a terminal too.
    """

    title: str
    value: Callable[[Budget], float]
    text: Callable[[float], str]
    measured: bool = False
    terse: bool = True


COLUMNS = (
    Column("bytes kept", lambda b: float(b.total_bytes), lambda v: fmt.scaled(v, "B")),
    Column("training FLOPs", lambda b: float(b.train_flops), lambda v: fmt.scaled(v)),
    Column("passes", lambda b: b.passes, lambda v: f"{v:.3g}"),
    Column("updates", lambda b: float(b.updates), lambda v: f"{v:,.0f}", terse=False),
    Column("evaluation FLOPs", lambda b: float(b.eval_flops), lambda v: fmt.scaled(v)),
    Column("training time", lambda b: b.train_seconds, fmt.seconds, measured=True),
    Column("evaluation time", lambda b: b.eval_seconds, fmt.seconds, measured=True),
    Column("CPU time", lambda b: b.cpu_seconds, fmt.seconds, measured=True, terse=False),
    Column("peak memory", lambda b: float(b.peak_bytes), lambda v: fmt.scaled(v, "B"), measured=True, terse=False),
    Column("tuning trials", lambda b: float(b.tuning_trials), lambda v: f"{v:,.0f}"),
)


@dataclass(frozen=True, slots=True)
class Spent:
    """One strategy in one scenario: mean over seeds of each column, and the ratio to the cheapest where unequal."""

    scenario: str
    strategy: str
    values: tuple[float, ...]
    ratios: tuple[str, ...]

    @property
    def texts(self) -> list[str]:
        """The printed values."""
        return [c.text(v) for c, v in zip(COLUMNS, self.values, strict=True)]


def spent(results: Results) -> list[Spent]:
    """The rows of the budget table."""
    rows: list[Spent] = []
    for scenario in results.scenarios:
        here = results.of(scenario=scenario)
        means = {
            s: tuple(float(np.mean([c.value(r.budget) for r in usable(here.of(s))])) for c in COLUMNS) for s in here.strategies
        }
        columns = list(zip(*means.values(), strict=True))
        for s, values in means.items():
            ratios = tuple(fmt.ratio(v, min(c)) if _unequal(c) else "" for v, c in zip(values, columns, strict=True))
            rows.append(Spent(scenario, s, values, ratios))
    return rows


def frame(results: Results) -> pd.DataFrame:
    """The budget table in numbers: bytes, FLOPs, seconds, counts; mean over seeds."""
    import pandas as pd

    rows = spent(results)
    index = pd.MultiIndex.from_tuples([(r.scenario, r.strategy) for r in rows], names=["scenario", "strategy"])
    return pd.DataFrame([r.values for r in rows], index=index, columns=[c.title for c in COLUMNS])


def text(results: Results) -> Table:
    """The budget table for a terminal (rich), without the columns that matter least; it fits into 80 columns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    shown = [i for i, c in enumerate(COLUMNS) if c.terse]
    table = Table(
        box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, caption=equal(results), caption_justify="left"
    )
    several = len(results.scenarios) > 1
    if several:
        table.add_column("scenario", overflow="fold")
    table.add_column("strategy", overflow="fold", min_width=8)
    for i in shown:
        words = COLUMNS[i].title.split()
        table.add_column("\n".join(words), justify="right", min_width=max(map(len, words)))
    for row in spent(results):
        head = [row.scenario, row.strategy] if several else [row.strategy]
        table.add_row(*head, *(f"{row.texts[i]}\n{row.ratios[i]}".strip() for i in shown))
    return table


def _unequal(values: Sequence[float]) -> bool:
    return max(values) > 1.05 * min(values)


def equal(results: Results) -> str:
    """Whether the strategies were compared at equal budget, in one sentence."""
    unequal = []
    for position, column in enumerate(COLUMNS):
        for scenario in results.scenarios:
            values = [s.values[position] for s in spent(results.of(scenario=scenario))]
            if column.measured or column.title == "evaluation FLOPs" or not _unequal(values):
                continue
            times = fmt.ratio(max(values), min(values)).lstrip("×")
            unequal.append((column.title, f"{column.title} differ by up to {times} times" if times else f"{column.title} differ"))
    if len(results.strategies) < 2:
        return "One strategy: nothing to compare."
    if not unequal:
        return "Compared at equal budget: bytes kept, training FLOPs, passes, updates and tuning trials are within 5 %."
    return f"Not at equal budget: {', '.join(dict(reversed(unequal))[t] for t in dict(unequal))}."
