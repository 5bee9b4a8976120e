"""What the table of methods compares: streams, methods, and what is tuned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from clframe import scenarios
from clframe.data import Dataset, Subset, load
from clframe.scenarios import Stream
from clframe.types import Source

LEARNING_RATES = (0.01, 0.03, 0.1)
ADAM_RATES = (0.0003, 0.001, 0.003)
TUNING_SEED = 100
SEEDS = (0, 1, 2, 3, 4)
VALIDATION = 0.1
MEMORY = 200
OPTIONS = {"model": "mlp", "batch_size": 10, "subset": 100}
METRICS = ("acc", "forgetting_first_last", "la", "min_acc", "wc_acc", "wf_10", "aaa", "gap_depth")
BASELINES = ("finetune", "joint")

METHODS: dict[str, str] = {
    "finetune": "finetune",
    "joint": "joint",
    "er": f"er(size={MEMORY})",
    "er, class-balanced": f"er(size={MEMORY}, memory=class-balanced)",
    "er, ring": f"er(size={MEMORY}, memory=ring)",
    "er, herding": f"er(size={MEMORY}, memory=herding)",
    "mir": f"mir(size={MEMORY})",
    "er-ace": f"er-ace(size={MEMORY})",
    "der": f"der(size={MEMORY})",
    "der++": f"der++(size={MEMORY})",
    "generative-replay": "generative-replay",
    "generative-replay, conditional": "generative-replay(conditional=true)",
    "gem": f"gem(size={MEMORY})",
    "agem": f"agem(size={MEMORY})",
    "er+gradient-projection": f"er(size={MEMORY})+gradient-projection",
    "er-agem": f"er-agem(size={MEMORY})",
    "gdumb": f"gdumb(size={MEMORY}, epochs=64)",
    "icarl": f"icarl(size={MEMORY})",
    "bic": f"bic(size={MEMORY})",
    "ewc": "ewc",
    "ewc, separate": "ewc(mode=separate)",
    "si": "si",
    "mas": "mas",
    "rwalk": "rwalk",
    "lwf": "lwf",
    "lwf, T^2": "lwf(squared=true)",
    "feature-distillation": "feature-distillation",
    "prd": "prd",
    "ncm": "ncm",
    "slda": "slda",
    "ranpac": "ranpac(size=500)",
    "fecam": "fecam",
    "fetril": "fetril",
    "hat": "hat",
    "progressive": "progressive",
    "hnet, adam": "hnet",
    "hypermask, adam": "hypermask",
    "hyperinterval, adam": "hyperinterval",
    "intercontinet": "intercontinet",
    "dst": "dst(period=20)",
    "packnet": "packnet",
    "wsn": "wsn",
    "spacenet": "spacenet(period=20)",
    "rigl": "rigl(density=0.2, period=20)",
    "set": "set(density=0.2, period=20)",
    "er+rigl": f"er(size={MEMORY})+rigl(density=0.2, period=20)",
    "er+ema": f"er(size={MEMORY})+ema",
    "er+nmc-head": f"er(size={MEMORY})+nmc-head(answer=true)",
    "er+nap": f"er(size={MEMORY})+nap",
    "er+lwf+ewc": f"er(size={MEMORY})+lwf+ewc",
}
"""Name in the table -> strategy."""

NEEDS_TASKS = frozenset({"hat", "hnet, adam", "hypermask, adam", "hyperinterval, adam", "dst", "packnet", "wsn", "spacenet"})
NEEDS_CLASSES_APART = frozenset({"progressive", "fetril", "bic", "icarl", "prd"})
"""Methods of disjoint classes: where every experience holds all of them there is nothing old, or nothing new."""
ADAM = frozenset({"hnet, adam", "hypermask, adam", "hyperinterval, adam"})
"""Methods that are trained by Adam, as theirs are: a step of plain gradient descent moves all weights that a hypernetwork makes."""
OWN_MODEL = {"er+nap": "mlp(norm=layer)"}
"""A network that the method asks for."""


def rates(method: str) -> tuple[float, ...]:
    """The learning rates that are tried for a method."""
    return ADAM_RATES if method in ADAM else LEARNING_RATES


@dataclass(frozen=True)
class Benchmark:
    """One column of the table.

    Attributes:
        title: in words.
        kind: "class", "task" or "domain".
        make: (validation share, seed, data folder, whole data) -> stream.
        epochs: passes over each experience.
    """

    title: str
    kind: str
    make: Callable[[float, int, str | None, bool], Stream]
    epochs: int = 1

    def methods(self) -> list[str]:
        """The methods that fit."""
        return [
            name
            for name in METHODS
            if (self.kind == "task" or name not in NEEDS_TASKS) and (self.kind != "domain" or name not in NEEDS_CLASSES_APART)
        ]


@lru_cache(maxsize=4)
def images(name: str, folder: str | None, whole: bool) -> Dataset:
    """The named data set; unless whole, the first 600 training and 200 test images of each class."""
    data = load(name, folder)
    return data if whole else Dataset(data.name, first(data.train, 600), first(data.test, 200))


def first(source: Source, count: int) -> Subset:
    """The first `count` samples of each class."""
    ids = [np.flatnonzero(source.y == c)[:count] for c in range(len(source.class_names))]
    return Subset(source, np.sort(np.concatenate(ids)))


def split_digits(validation: float, seed: int, folder: str | None, whole: bool) -> Stream:
    """1,437 digits of 8 x 8, five pairs of classes."""
    return scenarios.class_incremental("digits", experiences=5, validation=validation, seed=seed, name="split-digits")


def split_mnist(validation: float, seed: int, folder: str | None, whole: bool) -> Stream:
    """Five pairs of digits, told apart all at once."""
    return scenarios.class_incremental(images("mnist", folder, whole), validation=validation, seed=seed, name="split-mnist")


def task_split_fashion(validation: float, seed: int, folder: str | None, whole: bool) -> Stream:
    """Five pairs of garments, the pair given."""
    data = images("fashion-mnist", folder, whole)
    return scenarios.task_incremental(data, validation=validation, seed=seed, name="task-split-fashion-mnist")


def permuted_mnist(validation: float, seed: int, folder: str | None, whole: bool) -> Stream:
    """Five permutations of the pixels, ten classes each, each training image in one of them."""
    data = images("mnist", folder, whole)
    each = len(data.train) // 5
    return scenarios.permuted(
        data, experiences=5, samples_per_experience=each, validation=validation, seed=seed, name="permuted-mnist"
    )


BENCHMARKS: dict[str, Benchmark] = {
    "split-digits": Benchmark("Split digits, class-incremental", "class", split_digits, epochs=3),
    "split-mnist": Benchmark("Split MNIST, class-incremental", "class", split_mnist),
    "task-split-fashion-mnist": Benchmark("Split Fashion-MNIST, task-incremental", "task", task_split_fashion),
    "permuted-mnist": Benchmark("Permuted MNIST, domain-incremental", "domain", permuted_mnist),
}
