"""`clframe export`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from clframe.cli.parsing import parse, parser


def main(arguments: Sequence[str]) -> int:
    """Write the model of one task as a model of its own, and say what it costs."""
    made = parser("export", "Write the model of one task of a finished run, to be used without clframe, and measure it.")
    made.add_argument("run", type=str, metavar="RUN", help="the directory of the run")
    made.add_argument("--task", type=int | None, default=None, help="the task; not needed where all tasks have one model")
    made.add_argument("--out", type=str | None, default=None, help="folder to write; by default task-K, or exported without a task")
    made.add_argument("--kernel", type=str, default="auto", help="auto (the fastest), dense, sliced, csr, gather or 2:4")
    made.add_argument("--onnx", type=bool, default=True, help="write model.onnx, too")
    made.add_argument("--device", type=str, default="cpu", help="where to measure: cpu or cuda")
    made.add_argument("--threads", type=int, default=1, help="processor threads of the measurement")
    made.add_argument("--rounds", type=int, default=25, help="how often each kind is timed")
    made.add_argument("--data_dir", type=str | None, default=None, help="folder of data sets; by default the one of the run")
    made.add_argument("--json", type=bool, default=False, help="print as JSON")
    given = parse(made, arguments)

    from clframe.exporting import export

    out = given.out or ("exported" if given.task is None else f"task-{given.task}")
    options = {name: given[name] for name in ("kernel", "onnx", "device", "threads", "rounds", "data_dir")}
    found = export(given.run, given.task, Path(out), **options)
    if given.json:
        print(json.dumps(found.as_dict(), indent=1))
        return 0
    from rich.console import Console

    console = Console()
    console.print(found.table())
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    console.print(f"{given.device}, {threads}: median ± half the distance of the quartiles; speed against dense", highlight=False)
    for note in found.notes:
        console.print(note, highlight=False, soft_wrap=True)
    files = ", ".join(str(found.path / name) for name in found.files)
    how = "" if found.kernel == "none" else f" with {found.kernel} layers"
    console.print(f"written{how}: {files}", soft_wrap=True, highlight=False)
    return 0
