"""Least squares on a few weighted rows: by how much its loss on all rows exceeds the least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clframe.selection import pool_of
from clframe.selection.choice import Ask
from clframe.selection.clustering import KMeans, cluster
from clframe.selection.methods import method
from papers.measured import Steps
from papers.sensitivity.designs import design
from papers.sensitivity.network import Numbers

METHODS = {
    "uniform": "uniform",
    "leverage": "leverage(mixture=0)",
    "leverage, half": "leverage",
    "distance": "regression(by=distance,mixture=0)",
    "distance, half": "regression(by=distance)",
    "residual": "regression(mixture=0)",
    "residual, half": "regression",
}
"""half: half of the probabilities are equal."""


def measure(tell: Steps, data_dir: str | None, *, data: str, sizes: Sequence[int], cells: int, draws: int) -> dict[str, Any]:
    """Excess loss in percent of each draw, by "rows/method"; sizes below twice the columns are left out.

        excess = 100 (L(b_S) - L(b)) / L(b),   L(b) = mean_i (x_i' b - y_i)^2 over all rows, b least squares on all rows

    Args:
        data: name of the design.
        sizes: rows to choose.
        cells: of k-means.
        draws: of each method.
    """
    x, y = design(data, data_dir)
    ones = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    pool = pool_of(x, target=y)
    made = cluster(pool, KMeans(k=cells), seed=0)
    least = float(np.mean((ones @ solved(ones, y, np.ones(len(y))) - y) ** 2))
    usable = [size for size in sizes if size >= 2 * ones.shape[1]]
    found: dict[str, Any] = {"rows": len(x), "columns": ones.shape[1], "explained": 1 - least / float(y.var()), "excess": {}}
    for place, size in enumerate(usable):
        for part, (name, words) in enumerate(METHODS.items()):
            choose, excess = method(words), []
            for seed in range(draws):
                choice = choose(Ask(pool, size, seed, clustered=lambda: made))
                fitted = solved(ones[choice.rows], y[choice.rows], choice.weight)
                excess.append(float(f"{100 * (np.mean((ones @ fitted - y) ** 2) / least - 1):.6g}"))
            found["excess"][f"{size}/{name}"] = excess
            tell(place * len(METHODS) + part + 1, len(usable) * len(METHODS))
    return found


def solved(x: Numbers, y: Numbers, weight: Numbers) -> Numbers:
    """argmin_b sum_i w_i (x_i' b - y_i)^2, the shortest where there are several.

    >>> solved(np.array([[1.0], [1.0]]), np.array([0.0, 4.0]), np.array([3.0, 1.0])).round(6).tolist()
    [1.0]
    """
    root = np.sqrt(weight)
    return np.asarray(np.linalg.lstsq(x * root[:, None], y * root, rcond=None)[0], dtype=np.float64)
