"""Dashboards: what was measured, by names and updates, for TensorBoard, MLflow and Weights & Biases."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from clframe.eval.records import Row
from clframe.registry import Registry, call, parse, split

if TYPE_CHECKING:
    import pandas as pd

    from clframe.eval.result import Result

BOARDS = Registry(
    "dashboard",
    {
        "tensorboard": "clframe.bridges.tensorboard:TensorBoard",
        "mlflow": "clframe.bridges.mlflow:MLflow",
        "wandb": "clframe.bridges.wandb:WandB",
    },
    group="clframe.dashboards",
)
KEPT = "dashboards.json"
"""Beside a run: by dashboard as it was written, up to which update it has everything."""
NAMES = {"curve": "accuracy", "full": "accuracy_full"}
Values = dict[str, float]
Term = tuple[int, str, float]


@dataclass(frozen=True)
class About:
    """The run that a dashboard shows.

    Attributes:
        strategy, scenario, seed: as in a `Result`.
        identity: hash of the specification, by which a dashboard finds a run again.
        options: every option of the run as text, by name.
        folder: the run directory; None where nothing is written.
        position: the last update of which the dashboard had everything when somebody last wrote it down; -1 at first.
    """

    strategy: str
    scenario: str
    seed: int
    identity: str
    options: Mapping[str, str]
    folder: Path | None
    position: int = -1

    @property
    def name(self) -> str:
        """For lists of runs."""
        return f"{self.strategy}, seed {self.seed}"


class Board(Protocol):
    """One run on one dashboard. A factory makes it of an `About` and of options.

    Attributes:
        position: the last update of which it has everything; -1 for none.
    """

    position: int

    def log(self, n: int, values: Mapping[str, float]) -> None:
        """What was measured after update `n`, by name."""
        ...

    def flush(self) -> None:
        """What was logged can be looked at."""
        ...

    def close(self, summary: Mapping[str, float] | None) -> None:
        """No more comes now. `summary`: what came out, of a finished run; None where the run may go on."""
        ...


def about(spec: Mapping[str, Any], scenario: str, folder: Path | None) -> About:
    """The run of a specification."""
    options = spec["options"]
    told = {name: str(value) for name, value in options.items()}
    return About(options["strategy"], scenario, options["seed"], spec["identity"], told, folder)


def opened(written: str, run: About) -> dict[str, Board]:
    """The dashboards that are written with commas, as in "tensorboard,mlflow(uri=...)", each where it left off.

    Raises:
        OptionError: an unknown name or option.
        MissingExtraError: its package is not installed.
    """
    kept = positions(run.folder)
    boards = {}
    for piece in dict.fromkeys(split(written, ",")):
        name, options = parse(piece)
        known = dataclasses.replace(run, position=kept.get(piece, -1))
        boards[piece] = call("dashboard", name, BOARDS.load(name), options, run=known)
    return boards


def check(written: str | None) -> None:
    """Refuse a dashboard that there is not, before anything is trained."""
    for piece in split(written or "", ","):
        BOARDS.load(parse(piece)[0])


def positions(folder: Path | None) -> dict[str, int]:
    """What `keep` wrote; nothing where it cannot be read, and then a dashboard asks itself."""
    with suppress(OSError, ValueError):
        if folder is not None:
            return {str(name): int(n) for name, n in json.loads((folder / KEPT).read_text()).items()}
    return {}


def keep(boards: Mapping[str, Board], folder: Path | None) -> None:
    """Write down how far each dashboard is, atomically."""
    if folder is None:
        return
    told = {**positions(folder), **{name: board.position for name, board in boards.items()}}
    temporary = folder / f".{KEPT}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(told, indent=1) + "\n")
    os.replace(temporary, folder / KEPT)


def values(rows: Iterable[Row], terms: Iterable[Term] = ()) -> Iterator[tuple[int, Values]]:
    """What was measured, by names that dashboards group at the slash, one mapping an update.

    accuracy/experience_K on the curve's samples and accuracy_full/experience_K on whole test sets, in [0, 1]; accuracy/seen:
    the mean over the experiences whose training has begun; HEAD/accuracy/... of heads beside the answer; loss/TERM.

    Example:
        >>> rows = [Row(3, 1, 0, 8, 10, "curve", 0.0), Row(3, 1, 1, 6, 10, "curve", 0.0)]
        >>> list(values(rows, [(3, "ce", 0.5)]))
        [(3, {'accuracy/experience_0': 0.8, 'accuracy/experience_1': 0.6, 'accuracy/seen': 0.7, 'loss/ce': 0.5})]
    """
    found: dict[int, Values] = defaultdict(dict)
    seen: dict[tuple[int, str], list[float]] = defaultdict(list)
    for row in rows:
        group = (f"{row.head}/" if row.head else "") + NAMES[row.subset]
        accuracy = row.correct / row.total
        found[row.n][f"{group}/experience_{row.evaluated}"] = accuracy
        if row.evaluated <= row.trained:
            seen[row.n, group].append(accuracy)
    for (n, group), accuracies in seen.items():
        found[n][f"{group}/seen"] = sum(accuracies) / len(accuracies)
    for n, term, value in terms:
        found[n][f"loss/{term}"] = value
    yield from sorted(found.items())


def rows_of(result: Result) -> Iterator[Row]:
    """The record tables of a result, of the answer and of heads, as rows."""
    tables = [("", result.rows)]
    if result.head_rows is not None:
        tables += [(str(head), table) for head, table in result.head_rows.groupby("head")]
    for head, table in tables:
        columns = [table[name].tolist() for name in ("n", "trained", "evaluated", "correct", "total", "subset", "seconds")]
        yield from (Row._make((*row, b"", head)) for row in zip(*columns, strict=True))


def terms_of(table: pd.DataFrame) -> Iterator[Term]:
    """The rows of a table of loss terms."""
    yield from zip(table["n"].tolist(), table["term"].tolist(), table["value"].tolist(), strict=True)


def further(result: Result) -> Iterator[tuple[int, Values]]:
    """Measures of features and certificates, by update: representation/NAME/experience_K, certificates/NAME/experience_K."""
    found: dict[int, Values] = defaultdict(dict)
    tables = {"representation": result.representation, "certificates": result.certificates}
    for group, table in tables.items():
        if table is None:
            continue
        columns = [table[name].tolist() for name in ("n", "evaluated", "name", "value")]
        for n, evaluated, name, value in zip(*columns, strict=True):
            if math.isfinite(value):
                where = "seen" if evaluated < 0 else f"experience_{evaluated}"
                found[n][f"{group}/{name}/{where}"] = value
    yield from sorted(found.items())


def summary(result: Result) -> Values:
    """Every metric that is defined, and the numbers of the budget: metrics/NAME, budget/NAME."""
    metrics = {name: value for name, value in dataclasses.asdict(result.metrics).items() if value is not None}
    budget = {name: value for name, value in result.budget.as_dict().items() if isinstance(value, int | float)}
    told = {**{f"metrics/{k}": float(v) for k, v in metrics.items()}, **{f"budget/{k}": float(v) for k, v in budget.items()}}
    return {name: value for name, value in told.items() if math.isfinite(value)}
