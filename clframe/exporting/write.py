"""`clframe.export`: from a run to a folder that holds one of its models."""

from __future__ import annotations

import dataclasses
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from clframe.checkpoint import disk_error
from clframe.environment import resolve_device
from clframe.errors import MissingExtraError, RunError, bad_option
from clframe.exporting.agreement import reference
from clframe.exporting.compared import TOLERANCE, kinds
from clframe.exporting.contents import FILES, WRITTEN_BY, Order, Subject, fill
from clframe.exporting.exported import Exported
from clframe.exporting.kernels import check_kernel
from clframe.exporting.onnx_file import INSTALL
from clframe.exporting.restored import restored
from clframe.exporting.standalone import refuse, standalone

SAMPLES = 1024
"""Test samples on which every kind is compared with the strategy."""


def export(
    run: str | Path,
    task: int | None = None,
    out: str | Path = "exported",
    *,
    kernel: str = "auto",
    onnx: bool = True,
    device: str = "cpu",
    threads: int = 1,
    rounds: int = 25,
    data_dir: str | None = None,
) -> Exported:
    """Write the model of one task of a finished run, to be used without clframe, and measure what its sparsity buys.

    model.safetensors  weights; of a sparse layer bits and values
    model.py           `load()` makes the net; needs torch and safetensors
    model.onnx         the same net with dense layers, for ONNX Runtime
    export.json        classes, inputs, sizes, FLOPs, latencies, the largest difference from the run's own scores

    Args:
        run: the directory of the run.
        task: task label where the strategy is told the task; the number of an experience otherwise, for its classes alone.
            Needed where each task has a model of its own.
        out: folder to write; it is made, or replaced if it is an earlier export.
        kernel: what model.py computes with: "dense"; "sliced" (dense, without units that cannot matter); "csr"; "gather" (a fixed
            number of weights for each unit); "2:4" (half precision, CUDA); "auto" takes the fastest of those that were measured.
        onnx: write model.onnx, too.
        device: where to measure: "cpu" or "cuda".
        threads: processor threads of the measurement.
        rounds: how often each kind is timed.
        data_dir: folder of data sets; by default the one of the run.

    Raises:
        RunError: no finished run, or a folder that holds something else.
        OptionError: an option breaks its rule, there is no such task, or the strategy does not answer by its model.
        MissingExtraError: safetensors is not installed.
        NotWritableError: the model is not plain torch, and ONNX is not asked for.

    Example:
        >>> import tempfile, clframe
        >>> out = tempfile.mkdtemp()
        >>> options = {"evaluate": "boundaries", "report": False}
        >>> _ = clframe.run("task-split-digits(experiences=2)", "dst(density=0.2)", out=out + "/run", **options)
        >>> made = clframe.export(out + "/run", 0, out + "/task0", onnx=False, rounds=3)
        >>> made.row("dense").difference < 1e-4, len(made.classes)
        (True, 5)
    """
    place, target = resolve_device(device), Path(out)
    check_kernel(kernel, place)
    for name, value in (("threads", threads), ("rounds", rounds)):
        if value < 1:
            raise bad_option(name, "a positive integer", value, f"Give {name}=1 or more.")
    if find_spec("safetensors") is None:
        raise MissingExtraError(f"export needs safetensors, which is not installed. Run: {INSTALL}")
    _refuse_other(target)
    found = restored(run, data_dir)
    made = standalone(found.strategy, found.name, found.stream, task)
    known = reference(found.strategy, found.stream, made, SAMPLES)
    had = kinds(made.net, known, place)
    if had.differences["dense"] > TOLERANCE * known.scale:
        raise refuse(found.name, had.differences["dense"] / known.scale, TOLERANCE)
    if kernel != "auto" and kernel not in had.nets:
        raise bad_option("kernel", f"one that this model can have: {', '.join(had.nets)}", kernel, " ".join(had.notes))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        result = fill(temporary, Subject(found, made, known, had), Order(kernel, onnx, place, threads, rounds))
        _put(temporary, target)
    except OSError as error:
        raise disk_error(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return dataclasses.replace(result, path=target)


def _refuse_other(target: Path) -> None:
    """Refuse a place that holds anything but an earlier export."""
    if not target.exists():
        return
    held = {p.name for p in target.iterdir()} - {"__pycache__"} if target.is_dir() else {target.name}
    about = target / "export.json"
    if held and (held - set(FILES) or not about.is_file() or WRITTEN_BY not in about.read_text(encoding="utf-8")):
        shown = sorted(held - set(FILES) or held)[0]
        raise RunError(
            f"{str(target)!r} must be a new folder or an earlier export; it holds {shown!r}. Choose another one with --out."
        )


def _put(temporary: Path, target: Path) -> None:
    """The new folder in the place of the old one, which goes when the new one is there."""
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        target.rename(old)
    temporary.rename(target)
    shutil.rmtree(old, ignore_errors=True)
