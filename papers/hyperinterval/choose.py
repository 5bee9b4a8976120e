"""How options were chosen: trials on shorter streams, on a tenth of the training data, with a seed that is not reported.

python -m papers.hyperinterval.choose --data-dir DIR [--jobs 2]    writes trials.json; what is in it is not repeated
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import clframe
from clframe.errors import RunError
from clframe.scenarios.catalog import build
from papers.hyperinterval.streams import cifar, permuted, split

SEED = 100
MLP = "mlp(hidden=(256,256))"
CNN = "cnn(widths=(16,32))"
ASKED: dict[str, tuple[str, str, dict[str, Any], tuple[tuple[str, float], ...]]] = {
    "split": (
        split(validation=0.1),
        MLP,
        {"batch_size": 128, "epochs": 3},
        (
            ("hyperinterval(gamma=0.03,hard=True)", 0.003),
            ("hyperinterval(gamma=0.1,hard=True)", 0.003),
            ("hnet", 0.003),
            ("intercontinet", 0.001),
            ("intercontinet(radius=0.02)", 0.001),
            ("ewc(strength=100)", 0.001),
            ("ewc(strength=1000)", 0.001),
            ("ewc(strength=10000)", 0.001),
            ("ewc(strength=100000)", 0.001),
        ),
    ),
    "permuted told": (
        permuted(3, told=True, validation=0.1),
        MLP,
        {"batch_size": 128, "epochs": 2},
        (
            ("hyperinterval(hidden=(100,100),sampled=1,gamma=0.03,hard=True)", 0.003),
            ("hyperinterval(hidden=(100,100),sampled=1,gamma=0.1,hard=True)", 0.003),
            ("hnet(hidden=(100,100),sampled=1)", 0.003),
            ("intercontinet(radius=0.02)", 0.001),
            ("intercontinet(radius=0.005)", 0.001),
            ("intercontinet(radius=0.1)", 0.001),
            ("ewc(strength=10)", 0.001),
            ("ewc(strength=100)", 0.001),
            ("ewc(strength=1000)", 0.001),
        ),
    ),
    "permuted": (
        permuted(4, validation=0.1),
        MLP,
        {"batch_size": 128, "epochs": 2},
        (
            ("hyperinterval(infer=universal,fisher=10,beta=0.0001,gamma=0.01,sampled=1)", 0.003),
            ("hyperinterval(infer=universal,fisher=30,beta=0.0001,gamma=0.01,sampled=1)", 0.003),
            ("hyperinterval(infer=universal,fisher=10,beta=0.0001,gamma=0.01,sampled=1,hard=True)", 0.003),
            ("intercontinet(radius=0.02)", 0.001),
            ("intercontinet(radius=0.005)", 0.001),
            ("intercontinet(radius=0.1)", 0.001),
            ("ewc(strength=10)", 0.001),
            ("ewc(strength=100)", 0.001),
            ("ewc(strength=1000)", 0.001),
        ),
    ),
    "permuted, ten tasks": (
        permuted(10, validation=0.1),
        MLP,
        {"batch_size": 128, "epochs": 2},
        (
            ("hyperinterval(infer=universal,fisher=10,beta=0.0001,gamma=0.01,sampled=1)", 0.003),
            ("hyperinterval(infer=universal,fisher=3,beta=0.0001,gamma=0.01,sampled=1)", 0.003),
            ("hyperinterval(infer=universal,fisher=10,samples=1000,beta=0.0001,gamma=0.01,sampled=1)", 0.003),
            ("hyperinterval(infer=universal,fisher=10,beta=0.0001,gamma=0.01,sampled=3)", 0.003),
            ("hyperinterval(infer=universal,fisher=10,beta=0.0001,gamma=0.01,sampled=1,hidden=(100,100))", 0.003),
            ("hyperinterval(infer=universal,fisher=10,beta=0.0001,gamma=0.01,sampled=1,hidden=(200,200))", 0.003),
            ("hyperinterval(infer=universal,fisher=10,samples=1000,beta=0.0001,gamma=0.01,sampled=1,hidden=(100,100))", 0.003),
        ),
    ),
    "cifar": (
        cifar(200, 50, validation=0.1),
        CNN,
        {"batch_size": 64, "epochs": 5},
        (
            ("hyperinterval(gamma=0.03,hard=True)", 0.003),
            ("hyperinterval(gamma=0.1,hard=True)", 0.003),
            ("hnet", 0.003),
            ("intercontinet(radius=0.02)", 0.001),
            ("intercontinet(radius=0.1)", 0.001),
            ("ewc(strength=100)", 0.001),
            ("ewc(strength=1000)", 0.001),
        ),
    ),
}
"""Scenario, model, options, and (strategy, learning rate of Adam), by name."""
FILE = Path(__file__).parent / "trials.json"


def main() -> None:
    """Make the trials, two at a time."""
    made = argparse.ArgumentParser("python -m papers.hyperinterval.choose")
    made.add_argument("--data-dir")
    made.add_argument("--out", default="runs/papers/hyperinterval/trials")
    made.add_argument("--jobs", type=int, default=2)
    made.add_argument("--only", nargs="*", default=list(ASKED))
    given = made.parse_args()
    rows = {(r["stream"], r["strategy"], r["lr"]): r for r in (json.loads(FILE.read_text()) if FILE.exists() else [])}
    asked = [(name, strategy, lr) for name in given.only for strategy, lr in ASKED[name][3]]
    work = [(*one, given.data_dir, Path(given.out)) for one in asked if one not in rows]
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        for row in pool.map(trial, work):
            rows[row["stream"], row["strategy"], row["lr"]] = row
            print(row, flush=True)
            FILE.write_text(json.dumps(list(rows.values()), indent=1) + "\n")


def trial(work: tuple[str, str, float, str | None, Path]) -> dict[str, Any]:
    """One run on validation samples: ACC and the lowest accuracy of a task at the end."""
    name, strategy, lr, data_dir, place = work
    scenario, model, options, _ = ASKED[name]
    stream = build(scenario, seed=SEED, data_dir=data_dir).on_validation()
    row: dict[str, Any] = {"stream": name, "strategy": strategy, "lr": lr}
    how = {"optimizer": "adam", "lr": lr, "evaluate": "boundaries", "device": "cpu", "threads": 1, "subset": 1000, **options}
    try:
        result = clframe.run(stream, strategy, model=model, seed=SEED, out=place / name / f"{strategy},{lr}", **how)
    except RunError as error:
        return {**row, "acc": None, "why": str(error)}
    found = {"acc": round(100 * float(result.metrics.acc or 0), 2), "weakest": round(100 * float(result.accuracy[-1].min()), 2)}
    rows = result.certificates
    if rows is not None:
        last = rows[(rows.n == rows.n.max()) & (rows.name == "certified")].value
        found["certified"] = round(100 * float(last.astype(float).mean()), 2)
    return {**row, **found, "cpu_seconds": round(result.budget.cpu_seconds)}


if __name__ == "__main__":
    main()
