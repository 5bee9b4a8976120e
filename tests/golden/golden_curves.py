"""Golden curves: correct predictions of every experience along a small stream, one text file a method.

`make golden` records them again, on purpose. `test_golden.py` compares: exactly on the platform that recorded a file, within
`TOLERANCE` counts elsewhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import clframe
from clframe.environment import describe

HERE = Path(__file__).parent
METHODS = {
    "finetune": "finetune",
    "cumulative": "cumulative",
    "joint": "joint",
    "er": "er(size=100)",
    "er-class-balanced": "er(size=100,memory=class-balanced)",
    "lwf": "lwf(strength=3)",
    "ewc": "ewc(strength=30,samples=64)",
    "er+lwf+ewc": "er(size=100)+lwf+ewc(strength=10,samples=64)",
}
EVERY = 12


def platform() -> str:
    """What decides the last bit of a float: the processor, torch, and the kernels that it chooses."""
    found = describe(torch.device("cpu"), 1)
    return f"{found['processor']} | torch {found['torch']} | {torch.backends.cpu.get_cpu_capability()}"


def curve(strategy: str) -> list[str]:
    """One line a measured update: n and the correct predictions of each experience, '-' where it was not measured."""
    result = clframe.run("split-digits", strategy, seed=0, evaluate=f"every(k={EVERY})", model="mlp(hidden=[64])", device="cpu")
    table = result.rows.pivot(index="n", columns="evaluated", values="correct")
    return [
        f"{n} " + " ".join("-" if c != c else str(int(c)) for c in row)
        for n, row in zip(table.index, table.to_numpy(), strict=True)
    ]


def path(name: str) -> Path:
    """Where the curve of a method lies."""
    return HERE / f"{name}.txt"


def main() -> None:
    """Record the curves of all methods, or of those named on the command line."""
    for name in sys.argv[1:] or METHODS:
        lines = curve(METHODS[name])
        header = [f"# split-digits, seed 0, mlp(hidden=[64]), {METHODS[name]}: n, then correct predictions of each experience"]
        path(name).write_text("\n".join([*header, f"# recorded on {platform()}", *lines]) + "\n")
        print(f"{name}: {lines[-1]}")


if __name__ == "__main__":
    main()
