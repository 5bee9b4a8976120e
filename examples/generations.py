"""Models that train on what models made: replacing old data lets the error grow, accumulating it keeps it bounded.

$ python examples/generations.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from clframe.generations.loop import Run

GENERATIONS, SEEDS = 10, 3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for policy in ("replace(allow_collapse=true)", "accumulate"):
            losses = [0.0] * GENERATIONS
            for seed in range(SEEDS):
                out = str(Path(folder) / policy / str(seed))
                run = Run("normal(d=4)", "gaussian", policy, generations=GENERATIONS, seed=seed, rows=60, out=out)
                for generation in run(None):
                    losses[generation.number - 1] += float(generation.loss.mean()) / SEEDS
            print(f"{policy:28} loss on held-out real data, nats:", *(f"{loss:.2f}" for loss in losses[::3]))


if __name__ == "__main__":
    main()
