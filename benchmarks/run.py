"""Run the benchmarks and print one table."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from benchmarks import (
    bench_avalanche,
    bench_bridges,
    bench_checkpoint,
    bench_evaluation,
    bench_executors,
    bench_generations,
    bench_import,
    bench_interval,
    bench_iteration,
    bench_memory,
    bench_methods,
    bench_parts,
    bench_scenarios,
    bench_selection,
    bench_sparse,
    bench_training,
)
from benchmarks.measure import Row, seconds
from benchmarks.setting import Setting, make_setting

BENCHMARKS: dict[str, Any] = {
    "iteration": bench_iteration,
    "parts": bench_parts,
    "evaluation": bench_evaluation,
    "avalanche": bench_avalanche,
    "bridges": bench_bridges,
    "training": bench_training,
    "methods": bench_methods,
    "memory": bench_memory,
    "import": bench_import,
    "scenarios": bench_scenarios,
    "checkpoint": bench_checkpoint,
    "sparse": bench_sparse,
    "interval": bench_interval,
    "selection": bench_selection,
    "generations": bench_generations,
    "executors": bench_executors,
}
BY_NAME = ("executors",)
"""By the clock rather than in CPU time, so it wants a machine of its own: only where it is asked for."""
COLUMNS = ("what", "clframe", "against", "ratio (quartiles)", "floor", "ok?")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 whatever the ratios are, because a busy machine is no defect."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="six times as many blocks as the ten minutes of the quick run")
    parser.add_argument("--data-dir", help="folder with fashion-mnist.npz; by default the environment variable CLFRAME_DATA")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(BENCHMARKS),
        default=[name for name in BENCHMARKS if name not in BY_NAME],
        help=f"these groups only; {BY_NAME[0]} runs only by name",
    )
    parser.add_argument("--out", type=Path, help="write the table as JSON to this file, too")
    options = parser.parse_args(arguments)

    torch.set_num_threads(1)
    setting, start = make_setting(options.data_dir, options.full), time.monotonic()
    head = f"{machine()}\n{setting.described}, MLP 784-400-400-10, one thread, CPU time, {'full' if options.full else 'quick'}"
    print(head + "\n", flush=True)
    rows: list[Row] = []
    for name in options.only:
        for row in collected(BENCHMARKS[name], setting):
            rows.append(row)
            if sys.stderr.isatty():
                print(f"\r\x1b[K{row.what}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    print(table(rows))
    missed = [row.what for row in rows if row.ok is False]
    print(f"\n{time.monotonic() - start:.0f} s. Floors missed: {'; '.join(missed) if missed else 'none'}.")
    if options.out:
        options.out.write_text(json.dumps({"head": head, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    return 0


def collected(module: Any, setting: Setting) -> Iterator[Row]:
    """The module's rows; a module that needs no setting may return plain dictionaries."""
    found: Iterable[Row | dict[str, Any]] = module.rows(setting) if inspect.signature(module.rows).parameters else module.rows()
    for row in found:
        yield row if isinstance(row, Row) else from_dictionary(row)


def from_dictionary(row: dict[str, Any]) -> Row:
    """A row of seconds: what, measured, reference, against, ratio, floor (of seconds below 1, else of the ratio), met."""
    floor = f"<= {seconds(row['floor'])}" if row["floor"] < 1 else f"<= {row['floor']:g}x"
    against = f"{row['against']} {seconds(row['reference'])}"
    return Row(row["what"], seconds(row["measured"]), against, row["ratio"], None, floor, row["met"])


def table(rows: Sequence[Row]) -> str:
    """A Markdown table with aligned columns."""
    lines = [COLUMNS, *(cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    drawn = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([drawn[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *drawn[1:]])


def cells(row: Row) -> tuple[str, ...]:
    """The row as text."""
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    if row.spread is not None:
        ratio += f" ({row.spread[0]:.2f}-{row.spread[1]:.2f})"
    return row.what, row.clframe, row.against, ratio, row.floor, {True: "yes", False: "NO", None: ""}[row.ok]


def machine() -> str:
    """Processor, Python and torch."""
    model, info = platform.machine(), Path("/proc/cpuinfo")
    if info.exists():
        model = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line), model)
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"


if __name__ == "__main__":
    raise SystemExit(main())
