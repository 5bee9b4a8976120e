"""What `import clframe` adds to `import torch`: CPU seconds and resident memory, each in fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.measure import Row, quartiles, seconds
from benchmarks.setting import Setting

FLOOR_SECONDS, FLOOR_MB = 0.2, 30.0
REPORT = """
import time, resource, pathlib
status = pathlib.Path("/proc/self/status")
peak = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")] if status.exists() else []
print(time.process_time(), float(peak[0] if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024)
"""
STATEMENTS = {
    "import clframe": "import torch; import clframe",
    "import clframe and look up clframe.run, .data, .scenarios, .strategies, .selection": (
        "import torch; import clframe; (clframe.run, clframe.data, clframe.scenarios, clframe.strategies, clframe.selection)"
    ),
}


def rows(setting: Setting) -> Iterator[Row]:
    """The package itself, and with everything that a run needs."""
    repeats = 15 if setting.full else 5
    plain: list[tuple[float, float]] = []
    with_clframe: dict[str, list[tuple[float, float]]] = {name: [] for name in STATEMENTS}
    for _ in range(repeats):
        plain.append(child("import torch"))
        for name, statement in STATEMENTS.items():
            with_clframe[name].append(child(statement))
    base = tuple(statistics.median(column) for column in zip(*plain, strict=True))
    for name, found in with_clframe.items():
        extra = [(t - p, m - q) for (t, m), (p, q) in zip(found, plain, strict=True)]
        low, middle, high = quartiles(t for t, _ in extra)
        megabytes = statistics.median(m for _, m in extra)
        yield Row(
            name,
            f"+ {middle:.3f} s ({low:.3f} to {high:.3f}), + {megabytes:.1f} MB",
            f"import torch {seconds(base[0])}, {base[1]:.0f} MB",
            floor=f"<= + {FLOOR_SECONDS} s, + {FLOOR_MB:g} MB",
            ok=middle <= FLOOR_SECONDS and megabytes <= FLOOR_MB,
        )


def child(statement: str) -> tuple[float, float]:
    """CPU seconds and largest resident MB of a fresh interpreter that runs the statement."""
    done = subprocess.run([sys.executable, "-c", statement + REPORT], capture_output=True, text=True, check=True)
    time, memory = done.stdout.split()
    return float(time), float(memory)
