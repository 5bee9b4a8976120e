"""The loop in memory, with clframe's generators and policies, many times over: linear regression and one Gaussian."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from clframe.generations import generators, policies
from clframe.generations.generators.interface import Columns, checked_scores, embedding
from clframe.generations.policies.interface import Scores
from clframe.seeding import rng, seed_for
from papers.measured import Steps

Floats = npt.NDArray[np.float64]


def measure(
    tell: Steps,
    data_dir: str | None,
    *,
    model: str,
    policy: str,
    rows: int,
    dimensions: int,
    generations: int,
    repetitions: int,
) -> dict[str, Any]:
    """Every repetition has its own real data, the same for all policies.

    Args:
        model: "linear", whose error ||w_n - w*||^2 is in units of its expectation in generation 1, sigma^2 d / (T - d - 1);
            "gaussian", whose variance is in units of the true one.
        policy: in words.
        rows, dimensions: T and d.
        generations, repetitions: N and R.

    Returns:
        values (R, N), and by generation (N,) the mean number of rows trained on.
    """
    values, used = [], []
    for r in range(repetitions):
        found = list(walk(model, policy, _real(model, rows, dimensions, r), generations, r))
        values.append([float(f"{value:.6g}") for value, _ in found])
        used.append([count for _, count in found])
        tell(r + 1, repetitions)
    return {"values": values, "rows": np.mean(used, axis=0).tolist()}


def walk(model: str, words: str, real: Columns, generations: int, seed: int) -> Iterator[tuple[float, int]]:
    """Of each generation the error or variance, and the rows that it trained on."""
    made, choose = generators.generator(model), policies.policy(words)
    if hasattr(made, "prepare"):
        made.prepare(real)
    every, scores = [real], None
    for n in range(1, generations + 1):
        shards: list[Any] = [
            SimpleNamespace(id=str(i), kind="synthetic" if i else "real", generation=i, rows=len(one["x"]))
            for i, one in enumerate(every)
        ]
        chosen = choose(shards, seed_for(seed, "policy", n), scores)
        taken = {k: np.concatenate([every[int(part.id)][k][part.rows] for part in chosen.parts]) for k in real}
        made.fit(taken, chosen.weight, seed_for(seed, "fit", n))
        yield _looked_at(made, real), len(chosen)
        every.append(made.sample(len(real["x"]), seed_for(seed, "sample", n)))
        if choose.needs_scores:
            whole = {k: np.concatenate([one[k] for one in every]) for k in real}
            scores = Scores(embedding(made, whole), checked_scores(made, whole))


def _real(model: str, rows: int, dimensions: int, seed: int) -> Columns:
    """w* = 0 and sigma = 1; or a standard normal."""
    random = rng(seed, "real", model)
    x = random.normal(size=(rows, dimensions))
    return {"x": x, "y": random.normal(size=rows)} if model == "linear" else {"x": x}


def _looked_at(made: Any, real: Columns) -> float:
    rows, dimensions = (int(n) for n in real["x"].shape)
    if "y" in real:
        return float(np.square(made.w).sum()) / (dimensions / (rows - dimensions - 1))
    return float(made.variance.sum()) / dimensions
