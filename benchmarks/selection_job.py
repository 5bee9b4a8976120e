"""Cells of a pool and choices from them, in a process of its own: CPU time and the most memory. For bench_selection."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import faiss
import numpy as np
import torch

from clframe.selection import open_pool, select
from clframe.selection.clustering import KMeans, cluster
from clframe.selection.engine import Engine

METHODS = ("uniform", "sensitivity", "stratified(by=cell)")


def main() -> None:
    """Print JSON: CPU seconds of training, assignment and choices, megabytes before and at most, the cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="a .npy file of embeddings")
    parser.add_argument("--k", type=int, default=4096)
    parser.add_argument("--size", type=int, default=10_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    before = memory(reset=True)
    pool = open_pool(options.path)
    marks = [time.process_time()]

    def tell(what: str, done: int, whole: int) -> None:
        if what == "cells" and len(marks) == 1:
            marks.append(time.process_time())
            first.append(done)

    def loss(rows: np.ndarray) -> np.ndarray:
        return np.abs(pool.vectors.take(rows)).sum(1)

    first: list[int] = []
    cells = cluster(pool, KMeans(k=options.k), 0, engine=Engine(tell=tell))
    marks.append(time.process_time())
    for method in METHODS:
        select(pool, options.size, method, loss=loss, clustering=cells)
    marks.append(time.process_time())
    began, one_shard, assigned, chosen = marks
    found = {
        "training": one_shard - began,  # and the first shard of the assignment
        "a_row": (assigned - one_shard) / max(1, pool.n - first[0]),
        "choices": chosen - assigned,
        "before": before,
        "most": memory(),
        "cost": cells.cost,
        "trainer": cells.how["trainer"],
        "kernel": cells.how["kernel"],
    }
    print(json.dumps(found))


def memory(reset: bool = False) -> float:
    """Megabytes: with `reset` what is resident now, after which the highest is looked for anew; else the highest since then."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    name = "VmRSS" if reset else "VmHWM"
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(name))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
