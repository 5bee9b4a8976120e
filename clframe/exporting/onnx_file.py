"""model.onnx: the same net for ONNX Runtime, with dense layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from clframe.locate import in_a_line

INSTALL = "pip install 'clframe[export]'"


def write_onnx(net: nn.Module, shape: tuple[int, ...], path: Path) -> str | None:
    """Write a net; the size of a batch is free. Returns a sentence where that cannot be done, else nothing."""
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        return f"model.onnx is not written, as {' and '.join(missing)} must be installed for it. Run: {INSTALL}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries about themselves
        try:
            torch.onnx.export(
                net,
                (torch.zeros(2, *shape),),
                str(path),
                dynamo=True,
                input_names=["x"],
                output_names=["scores"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # whatever the exporter says of a model of the user's own
            path.unlink(missing_ok=True)
            return f"model.onnx is not written, as torch.onnx cannot express the model: {in_a_line(error)}"
    return None


def runtime(path: Path, threads: int) -> Callable[[Tensor], Tensor] | None:
    """A function that computes with ONNX Runtime on the CPU; None where it is not installed."""
    if find_spec("onnxruntime") is None:
        return None
    onnxruntime = import_module("onnxruntime")

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])
