"""The machine and the versions that a run ran with, and the choice of its device."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from clframe.errors import bad_option


def resolve_device(name: str) -> torch.device:
    """ "auto" is the accelerator if there is one.

    Raises:
        OptionError: no such device here.
    """
    available = ["cpu"]
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if name == "auto":
        return torch.device(available[0])
    if name.partition(":")[0] not in available:
        raise bad_option("device", f"'auto' or one of {', '.join(available)} on this machine", name, "Give device='auto'.")
    return torch.device(name)


def describe(device: torch.device, threads: int) -> dict[str, Any]:
    """Versions and machine, for environment.json."""
    import numpy as np

    import clframe

    return {
        "clframe": clframe.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
