"""What came of an export: where it is, what is in it, and what each kind of the model costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Latency:
    """Time of one forward pass, in seconds.

    Attributes:
        median: over the rounds.
        low, high: quartiles.
    """

    median: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """Median and half the distance of the quartiles, in a unit that suits.

        >>> Latency(0.0000301, 0.000029, 0.000034).text
        '30 ±2.5 µs'
        """
        unit, factor = ("µs", 1e6) if self.median < 1e-3 else ("ms", 1e3)
        return f"{_short(self.median * factor)} ±{_short((self.high - self.low) / 2 * factor)} {unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of the model.

    Attributes:
        kind: "dense", "sliced", "csr", "gather", "2:4" or "onnx".
        label: the kind, with what it was made with.
        file_bytes: the weights on the disk.
        memory_bytes: the weights when loaded; None where it is not known.
        weights: numbers in Linear and Conv layers that are computed with.
        flops: of one sample; a multiply-add counts two.
        latency: by batch size.
        difference: the largest difference of a score from the strategy's own.
    """

    kind: str
    label: str
    file_bytes: int
    memory_bytes: int | None
    weights: int
    flops: int
    latency: Mapping[int, Latency]
    difference: float


@dataclass(frozen=True)
class Exported:
    """One task of a run as a model of its own.

    Attributes:
        path: the folder.
        strategy: whose model it is.
        task: the task, or None for all classes.
        classes: label of every score.
        names: name of every score's class.
        kernel: the kind that model.py computes with; "none" where there is no model.py.
        rows: every kind that was measured.
        threads: processor threads of the measurement.
        notes: what a reader should know, one sentence each.
        files: what was written.
    """

    path: Path
    strategy: str
    task: int | None
    classes: tuple[int, ...]
    names: tuple[str, ...]
    kernel: str
    rows: tuple[Row, ...]
    threads: int
    notes: tuple[str, ...]
    files: tuple[str, ...]

    def row(self, kind: str) -> Row:
        """The row of a kind.

        Raises:
            KeyError: it was not measured.
        """
        return {row.kind: row for row in self.rows}[kind]

    def speed(self, row: Row, batch: int) -> float:
        """How many times as fast as dense."""
        return self.row("dense").latency[batch].median / row.latency[batch].median

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        rows = [
            {**asdict(row), "speed": {batch: self.speed(row, batch) for batch in row.latency}, "written": row.kind == self.kernel}
            for row in self.rows
        ]
        return {
            "path": str(self.path),
            "strategy": self.strategy,
            "task": self.task,
            "classes": [{"label": c, "name": n} for c, n in zip(self.classes, self.names, strict=True)],
            "kernel": self.kernel,
            "threads": self.threads,
            "rows": rows,
            "notes": list(self.notes),
            "files": list(self.files),
        }

    def table(self) -> Table:
        """For a terminal; the kind that model.py computes with is bold."""
        from rich.table import Table

        what = "all classes" if self.task is None else f"task {self.task}"
        names = ", ".join(self.names[:6]) + (", ..." if len(self.names) > 6 else "")
        table = Table(
            title=f"{self.strategy}, {what}: {names}", title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="bold"
        )
        batches = list(self.rows[0].latency)
        table.add_column("", no_wrap=True)
        for heading in ("file", "weights", "FLOPs", *(f"batch of {b}" for b in batches), "off by"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in self.rows:
            times = [f"{row.latency[b].text} {self.speed(row, b):.2f}x" for b in batches]
            style = "bold" if row.kind == self.kernel else ""
            table.add_row(
                row.label, size(row.file_bytes), count(row.weights), count(row.flops), *times, f"{row.difference:.1e}", style=style
            )
        return table


def size(number: int) -> str:
    """Bytes for a person.

    >>> size(1536)
    '1.5 KiB'
    """
    return f"{_short(number / 1024)} KiB" if number < 1024 * 1024 else f"{_short(number / 1024 / 1024)} MiB"


def count(number: int) -> str:
    """A count for a person.

    >>> count(945_600)
    '946 k'
    """
    if number < 1000:
        return str(number)
    return f"{_short(number / 1e3)} k" if number < 1e6 else f"{_short(number / 1e6)} M"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
