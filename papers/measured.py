"""A group of a study that is no run of a strategy: a function of the study measures it cell by cell, each in a file of its own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from clframe.checkpoint import Interrupted, disk_error
from clframe.data.hashing import fingerprint
from clframe.environment import describe
from clframe.errors import ClframeError
from clframe.executors import Tell as Asked
from clframe.executors import executor
from papers.study import Place, Tell

Steps = Callable[[int, int], None]
"""Called by a measure with (steps done, steps in all)."""

Measure = Callable[..., Mapping[str, Any]]
"""measure(tell, data_dir, **options of the cell and of the group) -> what is found, as JSON can hold it; a name of a module."""


@dataclass(frozen=True)
class Cell:
    """One finished cell.

    Attributes:
        options: what it was measured with.
        found: what was found.
        environment: versions and machine.
        cpu_seconds: of the process that measured it.
    """

    options: Mapping[str, Any]
    found: Mapping[str, Any]
    environment: Mapping[str, Any]
    cpu_seconds: float


@dataclass(frozen=True)
class Measured:
    """Cells that one function measures, on the processor. What is finished is read, not measured again.

    Attributes:
        name: short name, part of the keys of the quantities.
        measure: the function.
        cells: what differs from cell to cell, by the name of an argument.
        options: arguments that are the same for all.
        threads: of torch, in each process.
    """

    name: str
    measure: Measure
    cells: tuple[Mapping[str, Any], ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1

    def __len__(self) -> int:
        return len(self.cells)

    def settings(self) -> dict[str, Any]:
        """Cells and options."""
        return {"cells": [dict(cell) for cell in self.cells], "options": dict(self.options)}

    def run(self, place: Place, tell: Tell) -> list[Cell]:
        """Measure the cells that are not there yet, `jobs` at a time; each is written when it is finished, whole or not at all.

        Raises:
            ClframeError: a cell cannot be measured; the others are.
        """
        tasks = [_Task(self.measure, {**cell, **self.options}, _name(cell), place, self.name, self.threads) for cell in self.cells]
        with executor("auto", min(place.jobs, len(tasks))) as carry_out:
            outcomes = carry_out(tasks, tell)
        failed = [(task, outcome) for task, outcome in zip(tasks, outcomes, strict=True) if isinstance(outcome, ClframeError)]
        if failed:
            task, error = failed[0]
            raise type(error)(f"{self.name}, {task.name}: {error}") from error
        return [outcome for outcome in outcomes if isinstance(outcome, Cell)]

    def costs(self, finished: list[Cell]) -> list[tuple[Mapping[str, Any], float]]:
        """Environment and processor seconds of each cell."""
        return [(cell.environment, cell.cpu_seconds) for cell in finished]


@dataclass(frozen=True)
class _Task:
    measure: Measure
    options: Mapping[str, Any]
    name: str
    place: Place
    group: str
    threads: int

    @property
    def path(self) -> Path:
        key = fingerprint(json.dumps(self.options, sort_keys=True))[:8]
        return self.place.out / self.group / f"{self.name}-{key}.json"

    def __call__(self, tell: Asked | None) -> Cell:
        if self.path.exists():
            return Cell(**json.loads(self.path.read_text()))

        def steps(done: int, whole: int) -> None:
            if tell is not None and tell(done, whole):
                raise Interrupted

        torch.set_num_threads(self.threads)
        begun = time.process_time()
        found = self.measure(steps, self.place.data_dir, **self.options)
        cell = Cell(self.options, found, describe(torch.device("cpu"), self.threads), round(time.process_time() - begun, 1))
        _write(self.path, asdict(cell))
        return cell


def _name(cell: Mapping[str, Any]) -> str:
    return "-".join(str(value) for value in cell.values())


def _write(path: Path, content: Mapping[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content) + "\n")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(path, error) from error
