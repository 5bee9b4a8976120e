"""What is in an exported folder: written, read back and compared, file by file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from clframe.environment import describe
from clframe.errors import OptionError
from clframe.exporting import inputs
from clframe.exporting.agreement import Reference
from clframe.exporting.compared import HALF, TOLERANCE, Kinds, rows, verdict
from clframe.exporting.exported import Exported, size
from clframe.exporting.flat import NotWritableError, flattened
from clframe.exporting.loader import loaded, loader
from clframe.exporting.measured import fastest, latencies
from clframe.exporting.onnx_file import INSTALL, runtime, write_onnx
from clframe.exporting.restored import Restored
from clframe.exporting.standalone import Standalone
from clframe.exporting.stored import packed

FILES = ("model.safetensors", "model.py", "model.onnx", "export.json")
WRITTEN_BY = "clframe export"
BATCHES = (1, 256)


@dataclass(frozen=True)
class Order:
    """How to export: options of `clframe.export`."""

    kernel: str
    onnx: bool
    device: torch.device
    threads: int
    rounds: int


@dataclass(frozen=True)
class Subject:
    """What to export: the run, the model of its task, what the strategy says of test samples, and the kinds of the model."""

    run: Restored
    model: Standalone
    known: Reference
    kinds: Kinds

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.run.stream.data.train.input_shape

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes."""
        return tuple(str(self.run.stream.data.train.class_names[c]) for c in self.model.classes)


def fill(folder: Path, subject: Subject, order: Order) -> Exported:
    """Write everything into a folder, and measure.

    Raises:
        OptionError: what was written does not say what the strategy says.
        NotWritableError: the model is not plain torch, and there is no model.onnx.
    """
    had, known, notes = subject.kinds, subject.known, list(subject.kinds.notes)
    answers: dict[str, Callable[[Tensor], Tensor]] = {kind: net.forward for kind, net in had.nets.items()}
    onnx_bytes, onnx_difference = 0, 0.0
    running = _onnx(folder, subject, order, notes) if order.onnx else None
    if running is not None:
        onnx_bytes, onnx_difference = (folder / "model.onnx").stat().st_size, known.difference(running)
        _check("model.onnx", onnx_difference, known, TOLERANCE)
        if order.device.type == "cpu":
            answers["onnx"] = running
    changed = inputs.describe(subject.run.stream.data.test)["changed_by"]
    if changed is not None:
        notes.append(
            f"The stream changes its inputs ({changed}), and export.json cannot say how: give the net what the stream gives."
        )
    x = known.x.to(order.device)
    times = latencies(answers, x, BATCHES, order.threads, order.rounds)
    measured = rows(had, times, x[:1], onnx_bytes, onnx_difference)
    notes += verdict(measured, BATCHES)
    kernel = fastest(times) if order.kernel == "auto" else order.kernel
    try:
        _loader(folder, subject, kernel, order.device)
    except NotWritableError as error:
        if not (folder / "model.onnx").exists():
            raise
        kernel, notes = "none", [*notes, f"model.py and model.safetensors are not written: {error}"]
    written = (folder / "model.safetensors").stat().st_size if kernel == "dense" else measured[0].file_bytes
    if written < 0.95 * measured[0].file_bytes:
        notes.append(f"model.safetensors holds bits and values instead of zeros: {size(written)}.")
    files = tuple(name for name in FILES if (folder / name).exists() or name == "export.json")
    about = (folder, subject.run.name, subject.model.task, subject.model.classes, subject.names, kernel)
    result = Exported(*about, tuple(measured), order.threads, tuple(notes), files)
    _about(folder, subject, order, result)
    return result


def _onnx(folder: Path, subject: Subject, order: Order, notes: list[str]) -> Callable[[Tensor], Tensor] | None:
    """Write model.onnx; returns a function that computes with it, where ONNX Runtime is installed."""
    failed = write_onnx(subject.kinds.base, subject.shape, folder / "model.onnx")
    if failed is not None:
        notes.append(failed)
        return None
    running = runtime(folder / "model.onnx", order.threads)
    if running is None:
        notes.append(f"model.onnx is not checked, as onnxruntime must be installed for it. Run: {INSTALL}")
    return running


def _loader(folder: Path, subject: Subject, kernel: str, device: torch.device) -> None:
    """Write model.py and model.safetensors, read them back, and compare."""
    from safetensors.torch import save

    flat = flattened(subject.kinds.without(kernel))
    text = loader(flat, kernel, subject.model, subject.shape, subject.names)
    (folder / "model.safetensors").write_bytes(save(packed(flat.state_dict())))
    (folder / "model.py").write_text(text, encoding="utf-8")
    net = loaded(folder, device)
    found = subject.known.difference(lambda x: net(x.to(device)).cpu())
    _check("model.py", found, subject.known, HALF if kernel == "2:4" else TOLERANCE)


def _about(folder: Path, subject: Subject, order: Order, result: Exported) -> None:
    """Write export.json."""
    spec = subject.run.spec
    about = {
        "format": 1,
        "written_by": WRITTEN_BY,
        "run": {"scenario": spec["options"]["scenario"], "seed": spec["options"]["seed"], "identity": spec["identity"]},
        **{key: value for key, value in result.as_dict().items() if key != "path"},
        "input": inputs.describe(subject.run.stream.data.test),
        "compared_samples": len(subject.known.x),
        "machine": describe(order.device, order.threads),
    }
    (folder / "export.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _check(what: str, difference: float, known: Reference, tolerance: float) -> None:
    if difference > tolerance * known.scale:
        raise OptionError(
            f"{what} must give the scores of the run; they differ by {difference:.3g}. "
            "The model does something that is lost in it: give another --kernel, or --onnx false."
        )
