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
    "er-ring": "er(size=100,memory=ring)",
    "er-herding": "er(size=100,memory=herding)",
    "er-varopt": "er(size=100,memory=varopt)",
    "mir": "mir(size=100)",
    "er-ace": "er-ace(size=100)",
    "der": "der(size=100)",
    "der++": "der++(size=100)",
    "generative-replay": "generative-replay(size=100,conditional=true,hidden=50,epochs=10)",
    "gem": "gem(size=100)",
    "agem": "agem(size=100)",
    "er+gradient-projection": "er(size=100)+gradient-projection",
    "er-agem": "er-agem(size=100)",
    "gdumb": "gdumb(size=100,epochs=8)",
    "icarl": "icarl(size=100)",
    "bic": "bic(size=100)",
    "ewc-separate": "ewc(mode=separate,strength=30,samples=64)",
    "si": "si",
    "mas": "mas(samples=64)",
    "rwalk": "rwalk",
    "feature-distillation": "feature-distillation",
    "prd": "prd",
    "ncm": "ncm",
    "slda": "slda",
    "ranpac": "ranpac(size=100)",
    "fecam": "fecam",
    "fetril": "fetril",
    "hat": "hat",
    "dst": "dst(period=5)",
    "wsn": "wsn",
    "spacenet": "spacenet(period=5)",
    "packnet": "packnet",
    "rigl": "rigl(density=0.2, period=5)",
    "set": "set(density=0.2, period=5)",
    "progressive": "progressive",
    "hnet": "hnet",
    "hypermask": "hypermask",
    "hyperinterval": "hyperinterval(hard=True)",
    "intercontinet": "intercontinet",
    "er+ema": "er(size=100)+ema",
    "er+nmc-head": "er(size=100)+nmc-head(answer=true)",
    "er+nap": "er(size=100)+nap",
}
SCENARIOS = dict.fromkeys(
    ("hat", "dst", "packnet", "wsn", "spacenet", "hnet", "hypermask", "hyperinterval", "intercontinet"), "task-split-digits"
)
MODELS = {"er+nap": "mlp(hidden=[64],norm=layer)"}
EVERY = 12


def platform() -> str:
    """What decides the last bit of a float: the processor, torch, and the kernels that it chooses."""
    found = describe(torch.device("cpu"), 1)
    return f"{found['processor']} | torch {found['torch']} | {torch.backends.cpu.get_cpu_capability()}"


def setting(name: str) -> tuple[str, str]:
    """The scenario and the network of a method."""
    return SCENARIOS.get(name, "split-digits"), MODELS.get(name, "mlp(hidden=[64])")


def curve(name: str) -> list[str]:
    """One line a measured update: n and the correct predictions of each experience, '-' where it was not measured."""
    scenario, model = setting(name)
    result = clframe.run(scenario, METHODS[name], seed=0, evaluate=f"every(k={EVERY})", model=model, device="cpu")
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
        lines, (scenario, model) = curve(name), setting(name)
        header = [f"# {scenario}, seed 0, {model}, {METHODS[name]}: n, then correct predictions of each experience"]
        path(name).write_text("\n".join([*header, f"# recorded on {platform()}", *lines]) + "\n")
        print(f"{name}: {lines[-1]}")


if __name__ == "__main__":
    main()
