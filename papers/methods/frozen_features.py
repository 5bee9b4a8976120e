"""Exemplar-free methods on CIFAR-100 over frozen features: a small backbone learns the first 50 classes, then only looks.

    python -m papers.methods.frozen_features --data-dir DIR [--out runs/methods] [--jobs 2]

For each seed the classes are put in an order, a small convolutional network learns the first 50 (plain training, 8 epochs),
and its features of all images are kept. The stream over these features is class-incremental: 50 classes, then ten times 5.
Adds its lines to papers/methods/results.csv.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

import clframe
from clframe.data import from_arrays, load
from clframe.scenarios import Stream, class_incremental
from clframe.seeding import generator, rng
from papers.methods.run import RESULTS, merged
from papers.methods.settings import LEARNING_RATES, METRICS, TUNING_SEED, VALIDATION

NAME = "split-cifar100-features"
SEEDS = (0, 1, 2)
BASE, GROUP, EPOCHS, BATCH = 50, 5, 8, 64
GRADIENT = {"finetune": "finetune", "joint": "joint", "er": "er(size=2000)"}
EXEMPLAR_FREE = {
    "ncm": "ncm(backbone=given)",
    "slda": "slda(backbone=given)",
    "ranpac": "ranpac(backbone=given, size=1000)",
    "fecam": "fecam(backbone=given)",
    "fetril": "fetril(backbone=given)",
}


class Backbone(nn.Sequential):
    """Three blocks of convolution, batch normalisation and pooling, then the mean over positions: 128 features."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for before, after in ((3, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if after < 128 else [nn.AdaptiveAvgPool2d(1)]
        super().__init__(*layers, nn.Flatten())


@dataclass(frozen=True)
class Job:
    """One run over the features of one seed."""

    method: str
    strategy: str
    lr: float
    seed: int
    tuning: bool
    folder: str | None
    out: Path

    def run(self) -> dict[str, object]:
        """One line of the table."""
        torch.set_num_threads(1)
        found = stream(self.seed, VALIDATION if self.tuning else 0.0, self.folder, self.out)
        looked_at = f"lr of {list(LEARNING_RATES)} by ACC on {VALIDATION:.0%} of the training data held out, seed {TUNING_SEED}"
        tuned = self.method in GRADIENT and not self.tuning
        phase = "tuning" if self.tuning else "runs"
        result = clframe.run(
            found.on_validation() if self.tuning else found,
            self.strategy,
            model=nn.Flatten(),
            lr=self.lr,
            batch_size=32,
            evaluate="boundaries" if self.tuning else "every(k=10)",
            subset=100,
            seed=self.seed,
            tuning=looked_at if tuned else "none declared",
            tuning_trials=len(LEARNING_RATES) if tuned else 0,
            out=self.out / NAME / phase / f"{self.method}, lr {self.lr:g}, seed {self.seed}",
        )
        values = {name: getattr(result.metrics, name) for name in METRICS}
        return {
            "benchmark": NAME,
            "method": self.method,
            "strategy": self.strategy,
            "lr": self.lr,
            "seed": self.seed,
            **{name: None if value is None else round(value, 5) for name, value in values.items()},
            "train_flops": result.budget.train_flops,
            "state_bytes": sum(result.budget.state_bytes.values()),
            "updates": result.budget.updates,
        }


def order_of(seed: int) -> list[int]:
    """The classes in the order of the seed."""
    return [int(c) for c in rng(seed, "class-order").permutation(100)]


def stream(seed: int, validation: float, folder: str | None, out: Path) -> Stream:
    """The stream over the features of the seed's backbone."""
    kept = np.load(features(seed, folder, out))
    data = from_arrays(kept["x_train"], kept["y_train"], kept["x_test"], kept["y_test"], name="cifar100-features")
    sizes = [BASE, *[GROUP] * ((100 - BASE) // GROUP)]
    order = order_of(seed)
    return class_incremental(
        data, classes_per_experience=sizes, class_order=order, validation=validation, seed=seed, name="split-cifar100-features"
    )


def features(seed: int, folder: str | None, out: Path) -> Path:
    """The file of the features, made where it is not there yet."""
    path = out / NAME / f"features-{seed}.npz"
    if not path.exists():
        torch.set_num_threads(1)
        data = load("cifar100", folder)
        backbone = trained(seed, data)
        arrays = {}
        for part, source in (("train", data.train), ("test", data.test)):
            with torch.no_grad():
                parts = [backbone(source.fetch(ids)) for ids in torch.arange(len(source)).split(500)]
            arrays |= {f"x_{part}": torch.cat(parts).numpy(), f"y_{part}": source.y}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **arrays)
        partial.replace(path)
    return path


def trained(seed: int, data: clframe.data.Dataset) -> Backbone:
    """The backbone after plain training on the first 50 classes: SGD, momentum 0.9, cosine from 0.05, flips."""
    draw = generator(seed, "backbone")
    torch.manual_seed(int(torch.randint(2**31, (), generator=draw)))
    backbone, base = Backbone(), torch.tensor(order_of(seed)[:BASE])
    head = nn.Linear(128, 100)
    weights = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(weights, lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    y = torch.from_numpy(np.ascontiguousarray(data.train.y))
    ids = torch.isin(y, base).nonzero().flatten()
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for epoch in range(EPOCHS):
        start, losses = time.monotonic(), []
        for chosen in ids[torch.randperm(len(ids), generator=draw)].split(BATCH):
            x = data.train.fetch(chosen)
            flip = torch.rand(len(x), 1, 1, 1, generator=draw) < 0.5
            loss = functional.cross_entropy(head(backbone(torch.where(flip, x.flip(3), x))), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        schedule.step()
        mean = torch.stack(losses).mean()
        print(f"backbone {seed}: epoch {epoch + 1} of {EPOCHS}, loss {mean:.3f}, {time.monotonic() - start:.0f} s", file=sys.stderr)
    return backbone.eval().requires_grad_(False)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m papers.methods.frozen_features", description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", default=os.environ.get("CLFRAME_DATA"), help="folder with cifar100.npz")
    parser.add_argument("--out", type=Path, default=Path("runs/methods"), help="where the features and the runs go")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    given = parser.parse_args(arguments)

    def job(method: str, lr: float, seed: int, tuning: bool = False) -> Job:
        return Job(method, (GRADIENT | EXEMPLAR_FREE)[method], lr, seed, tuning, given.data_dir, given.out)

    with ProcessPoolExecutor(given.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        made = [pool.submit(features, seed, given.data_dir, given.out) for seed in (TUNING_SEED, *SEEDS)]
        for future in made:
            print(f"features: {future.result()}", file=sys.stderr)
        tried = [job(method, lr, TUNING_SEED, True) for method in GRADIENT for lr in LEARNING_RATES]
        scores = pool.map(Job.run, tried)
        best = {}
        for each, values in zip(tried, scores, strict=True):
            best[each.method] = max(best.get(each.method, (-1.0, 0.0)), (float(values["acc"]), -each.lr))  # type: ignore[arg-type]
        wanted = [job(m, -best[m][1], seed) for m in GRADIENT for seed in SEEDS]
        wanted += [job(m, LEARNING_RATES[0], seed) for m in EXEMPLAR_FREE for seed in SEEDS]
        lines = []
        for future in as_completed([pool.submit(each.run) for each in wanted]):
            lines.append(future.result())
            print(f"{len(lines)} of {len(wanted)}: {lines[-1]['method']}, ACC {lines[-1]['acc']}", file=sys.stderr)
    merged(pd.DataFrame(lines)).to_csv(RESULTS, index=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
