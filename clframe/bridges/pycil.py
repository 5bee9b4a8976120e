"""PyCIL: its log files, so that old numbers stand in the same tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clframe.bridges import literals
from clframe.errors import DataError, unknown_name
from clframe.eval.imported import Imported, imported
from clframe.eval.result import Results

HEADS = ("CNN", "NME")
_MESSAGE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ \[[^\]]*\] => (.*)$")
_OPTION = re.compile(r"(\w+): (.*)$")
_RANGE = re.compile(r"(\d+)-(\d+)$")


@dataclass
class _Run:
    """What the log says of one run: options, accuracies by ranges of classes after each task, the curve, the line it ends in."""

    options: dict[str, Any] = field(default_factory=dict)
    groups: list[dict[str, float]] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)
    line: int = 1


def read(path: str | Path, *, scenario: str | None = None, head: str = "CNN") -> Results:
    """The runs in log files of PyCIL: `logs/MODEL/DATASET/INIT/INCREMENT/PREFIX_SEED_NET.log`.

    PyCIL measures at boundaries alone, so metrics that need more are null; what its hyperparameters were chosen by is not known.
    Accuracies by task are those that the log gives by ranges of classes, where each range is one task; where it is not, as in
    versions that always group by `increment`, only the curve of the total accuracy is taken.

    Args:
        path: one log file, or a folder that holds some.
        scenario: what to call the scenario, such as that of your own runs; by default "DATASET (INIT+INCREMENT)".
        head: "CNN" (the linear head) or "NME" (nearest mean of exemplars), where a method has both.

    Raises:
        DataError: no log, a log without results, or a line that PyCIL would not write; the message names file and line.
        OptionError: an unknown head.

    Example:
        >>> import tempfile
        >>> log = Path(tempfile.mkdtemp()) / "icarl.log"
        >>> told = ["dataset: cifar100", "model_name: icarl", "init_cls: 50", "increment: 50", "seed: 1993"]
        >>> told += ["CNN: {'total': 80.0, '00-49': 80.0, 'old': 0, 'new': 80.0}", "CNN top1 curve: [80.0]"]
        >>> told += ["CNN: {'total': 60.0, '00-49': 50.0, '50-99': 70.0, 'old': 50.0, 'new': 70.0}", "CNN top1 curve: [80.0, 60.0]"]
        >>> _ = log.write_text("\\n".join(f"2024-01-01 10:00:00,000 [trainer.py] => {line}" for line in told))
        >>> (run,) = read(log)
        >>> run.strategy, run.scenario, run.seed, run.metrics.acc, round(run.metrics.forgetting_first_last, 12)
        ('icarl', 'cifar100 (50+50)', 1993, 0.6, 0.3)

    Reference: LAMDA-CL/PyCIL, trainer.py, `_train`, and utils/toolkit.py, `accuracy`.

    Differences:
        1. Accuracies are divided by 100. PyCIL writes them with two digits.
        2. PyCIL's average accuracy is the mean of total accuracies: the same as `average_incremental_accuracy` where all tasks have
           as many test samples. It stands under that name where accuracies by task are not known.
        3. Several seeds in one file, which PyCIL's logging writes into the file of the first, are read as several runs.
        4. The seed of PyCIL permutes classes; torch is seeded with 1 whatever it is.
    """
    if head not in HEADS:
        raise unknown_name("head", head, HEADS)
    place = Path(path)
    files = sorted(place.rglob("*.log")) if place.is_dir() else [place]
    if not files or not files[0].is_file():
        raise DataError(f"{place} must be a log file of PyCIL or a folder that holds some; there is none. Give its logs folder.")
    return Results([run for file in files for run in _imported(file, scenario, head)])


def _imported(file: Path, scenario: str | None, head: str) -> Iterator[Imported]:
    found = [run for run in _runs(file, head) if run.curve]
    if not found:
        raise DataError(f"{file} must hold a line '{head} top1 curve: [...]'; it has none. Give a log of a run that was evaluated.")
    for run in found:
        o = run.options
        if not isinstance(o.get("seed"), int):
            raise _refused(file, run.line, f"preceded by a line 'seed: NUMBER'; got {o.get('seed')!r}")
        told = {"acc_sample_mean": run.curve[-1], "average_incremental_accuracy": sum(run.curve) / len(run.curve)}
        where = scenario or f"{o.get('dataset', '?')} ({o.get('init_cls', '?')}+{o.get('increment', '?')})"
        name = str(o.get("model_name", file.parent.name)) + ("" if head == "CNN" else f" [{head}]")
        yield imported("pycil", name, where, o["seed"], _by_task(run), options=o, path=file, told=told)


def _runs(file: Path, head: str) -> Iterator[_Run]:
    """One run for each seed; a new one begins where options come again after results."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} must be a text file; {error}. Give a log of PyCIL.") from error
    run = _Run()
    for number, line in enumerate(lines, 1):
        message = _MESSAGE.match(line)
        text = message[1] if message is not None else ""
        if text.startswith(f"{head}: "):
            run.groups.append(_grouped(file, number, text.partition(": ")[2]))
        elif text.startswith(f"{head} top1 curve: "):
            run.curve, run.line = _curve(file, number, text.partition(": ")[2], run), number
        elif (option := _OPTION.match(text)) and option[1] not in HEADS:
            if run.curve and option[1] in ("prefix", "dataset", "seed") and option[1] in run.options:
                yield run
                run = _Run(dict(run.options))
            if not run.curve:
                run.options[option[1]] = int(option[2]) if option[2].isdigit() else option[2]
    yield run


def _grouped(file: Path, number: int, text: str) -> dict[str, float]:
    told = _value(file, number, text)
    if not isinstance(told, dict) or not all(map(_percent, told.values())):
        raise _refused(file, number, f"accuracies in [0, 100] by ranges of classes; got {text[:60]!r}")
    return {str(name): float(v) / 100 for name, v in told.items()}


def _curve(file: Path, number: int, text: str, run: _Run) -> list[float]:
    told = _value(file, number, text)
    if not isinstance(told, list) or not told or not all(map(_percent, told)):
        raise _refused(file, number, f"a list of accuracies in [0, 100]; got {text[:60]!r}")
    curve = [float(v) / 100 for v in told]
    if run.curve != curve[:-1] or len(curve) != len(run.groups):
        raise _refused(file, number, f"the curve before it and one value more, after its line of accuracies; got {text[:60]!r}")
    return curve


def _value(file: Path, number: int, text: str) -> Any:
    try:
        return literals.value(text)
    except ValueError as error:
        raise _refused(file, number, f"a value as Python prints it; got {text[:60]!r}") from error


def _by_task(run: _Run) -> list[list[float]]:
    """Row k: accuracy of each task after task k; empty rows where the ranges of classes are not the tasks."""
    init, increment = run.options.get("init_cls"), run.options.get("increment")
    rows: list[list[float]] = []
    for k, groups in enumerate(run.groups):
        ranges = sorted((int(m[1]), accuracy) for name, accuracy in groups.items() if (m := _RANGE.match(name)))
        starts = [low for low, _ in ranges]
        if (
            not isinstance(init, int)
            or not isinstance(increment, int)
            or starts != [0, *range(init, init + increment * k, increment)]
        ):
            return [[] for _ in run.groups]
        rows.append([accuracy for _, accuracy in ranges])
    return rows


def _percent(found: object) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found <= 100


def _refused(file: Path, number: int, rule: str) -> DataError:
    return DataError(f"{file}, line {number}: must be {rule}. Correct the line, or take the run out.")
