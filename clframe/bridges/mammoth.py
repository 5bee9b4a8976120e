"""Mammoth: its result files, so that old numbers stand in the same tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clframe.bridges import literals
from clframe.errors import DataError
from clframe.eval.imported import Imported, imported
from clframe.eval.result import Results

FILE = "logs.pyd"
TOLERANCE = 0.05
"""Percentage points by which a mean that the file gives may differ from the mean of its accuracies."""


def read(path: str | Path, *, scenario: str | None = None, named: Sequence[str] = ("buffer_size",)) -> Results:
    """The runs in the result files of Mammoth: `results/SETTING/DATASET/MODEL/logs.pyd`, one run a line.

    Mammoth measures at boundaries alone, so metrics that need more are null; what its hyperparameters were chosen by is not known.
    For class-il, each run is written twice: in class-il, and with masked classes in task-il.

    Args:
        path: one such file, or a folder that holds some.
        scenario: what to call the scenario, such as that of your own runs; by default "DATASET (SETTING)".
        named: options of Mammoth that belong to the name of the strategy, where a line has them.

    Raises:
        DataError: no such file, or a line that is not one that Mammoth writes; the message names file and line.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "class-il" / "seq-mnist" / "er"
        >>> place.mkdir(parents=True)
        >>> line = {"seed": 0, "buffer_size": 200, "accmean_task1": 99.0, "accmean_task2": 80.0}
        >>> line |= {"accuracy_1_task1": 99.0, "accuracy_1_task2": 70.0, "accuracy_2_task2": 90.0}
        >>> _ = (place / FILE).write_text(f"{line}\\n")
        >>> (run,) = read(place)
        >>> run.strategy, run.scenario, run.source, run.metrics.acc
        ('er(buffer_size=200)', 'seq-mnist (class-il)', 'mammoth', 0.8)

    Reference: aimagelab/mammoth, utils/loggers.py, `Logger.write`.

    Differences:
        1. Accuracies are divided by 100.
        2. Mammoth's forgetting is `forgetting_max_final_included`; transfer and forgetting are computed anew from the accuracies.
        3. A seed of None becomes 0, 1, ... in the order of the lines, so that runs are told apart.
    """
    place = Path(path)
    files = sorted(place.rglob(FILE)) if place.is_dir() else [place]
    if not files or not files[0].is_file():
        raise DataError(f"{place} must be a {FILE} of Mammoth or a folder that holds some; there is none. Give its results folder.")
    unnumbered: Counter[str] = Counter()
    return Results([run for file in files for run in _runs(file, scenario, named, unnumbered)])


def _runs(file: Path, scenario: str | None, named: Sequence[str], unnumbered: Counter[str]) -> Iterator[Imported]:
    setting, dataset, model = ("", "", "", *file.resolve().parts)[-4:-1]
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} must be a text file; {error}. Give a {FILE} of Mammoth.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            told = literals.value(line)
        except ValueError as error:
            raise _refused(file, number, f"one dictionary as Python prints it; got {line[:40]!r}") from error
        if not isinstance(told, dict):
            raise _refused(file, number, f"a dictionary; got {line[:40]!r}")
        known = {str(key): item for key, item in told.items()}
        shown = ",".join(f"{name}={known[name]}" for name in named if known.get(name) is not None)
        strategy = str(known.get("model", model)) + (f"({shown})" if shown else "")
        means, rows = _accuracies(file, number, known)
        seed = known.get("seed")
        if not isinstance(seed, int):
            seed = unnumbered[f"{file.parent} {strategy}"]
            unnumbered[f"{file.parent} {strategy}"] += 1
        where = scenario or f"{known.get('dataset', dataset)} ({setting})"
        averages = {"acc": means[-1], "average_incremental_accuracy": sum(means) / len(means)}
        options = {name: item for name, item in known.items() if not re.fullmatch(r"acc(mean|uracy)_.*", name)}
        yield imported("mammoth", strategy, where, seed, rows, options=options, path=file, told=averages)


def _accuracies(file: Path, number: int, known: Mapping[str, Any]) -> tuple[list[float], list[list[float]]]:
    """The mean after each task, and the accuracies by task; a row is empty where the file has none of it."""

    def percent(name: str) -> float:
        found = known.get(name)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 100:
            raise _refused(file, number, f"a line with {name} in [0, 100]; got {found!r}")
        return found / 100

    tasks = sorted(int(m[1]) for m in (re.fullmatch(r"accmean_task(\d+)", name) for name in known) if m)
    if not tasks or tasks != list(range(1, len(tasks) + 1)):
        raise _refused(file, number, f"a line with accmean_task1, accmean_task2, ...; got tasks {tasks}")
    means = [percent(f"accmean_task{k}") for k in tasks]
    rows: list[list[float]] = []
    for k in tasks:
        full = any(f"accuracy_{i}_task{k}" in known for i in tasks)
        rows.append([percent(f"accuracy_{i}_task{k}") for i in range(1, k + 1)] if full else [])
        if full and abs(100 * (sum(rows[-1]) / k - means[k - 1])) > TOLERANCE:
            wrong = f"{100 * means[k - 1]:.2f}, not {100 * sum(rows[-1]) / k:.2f}"
            raise _refused(file, number, f"a line whose accmean_task{k} is the mean of its accuracies; got {wrong}")
    return means, rows


def _refused(file: Path, number: int, rule: str) -> DataError:
    return DataError(f"{file}, line {number}: must be {rule}. Correct the line, or take it out.")
