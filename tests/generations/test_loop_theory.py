"""The closed forms, met by the real policies and generators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from clframe.errors import OptionError
from clframe.generations import theory
from clframe.generations.generators import generator
from clframe.generations.policies import policy

POLICIES = {
    "replace": "replace(allow_collapse=true)",
    "accumulate": "accumulate",
    "accumulate-subsample": "accumulate-subsample(real_floor=0)",
}


@dataclass(frozen=True)
class Row:
    id: str
    kind: str
    generation: int
    rows: int


def walk(generator_words: str, policy_words: str, real: dict[str, np.ndarray], generations: int, seed: int) -> list[object]:
    """The loop in memory: the models of all generations are looked at by `look`."""
    made, choose = generator(generator_words), policy(policy_words)
    if hasattr(made, "prepare"):
        made.prepare(real)
    shards, data, looked = [Row("0", "real", 0, len(real["x"]))], {"0": real}, []
    for n in range(1, generations + 1):
        chosen = choose(shards, 1000 * seed + n)
        taken = {k: np.concatenate([data[part.id][k][part.rows] for part in chosen.parts]) for k in real}
        made.fit(taken, chosen.weight, 0)
        looked.append(made.w.copy() if generator_words.startswith("linear") else made.variance.sum())
        data[str(n)] = made.sample(len(real["x"]), 1000 * seed + n)
        shards.append(Row(str(n), "synthetic", n, len(real["x"])))
    return looked


@pytest.mark.parametrize(
    ("name", "low", "high"), [("replace", 8.9, 10.8), ("accumulate", 1.40, 1.65), ("accumulate-subsample", 2.5, 3.2)]
)
def test_linear_error_after_ten_generations(name: str, low: float, high: float) -> None:
    rows, d, errors = 100, 10, []
    for seed in range(300):
        random = np.random.default_rng(seed)
        x = random.normal(size=(rows, d))
        real = {"x": x, "y": random.normal(size=rows)}  # w* = 0, sigma = 1
        errors.append(np.square(walk("linear", POLICIES[name], real, 10, seed)[-1]).sum())
    ratio = np.mean(errors) / (d / (rows - d - 1))
    assert low < ratio < high
    expected = theory.linear_ratio(name, 10)[-1]
    assert abs(ratio - expected) < 4 * np.std(errors) / np.sqrt(300) / (d / (rows - d - 1)) + 0.12 * expected


@pytest.mark.parametrize(("name", "expected"), [("replace", 0.817), ("accumulate", 0.969)])
def test_gaussian_variance_after_ten_generations(name: str, expected: float) -> None:
    """Fifty rows and four dimensions: the variance of fewer is so skewed that a mean over hundreds of runs says little."""
    real = [{"x": np.random.default_rng(seed).normal(size=(50, 4))} for seed in range(200)]
    found = np.array([walk("gaussian", POLICIES[name], one, 10, seed)[-1] for seed, one in enumerate(real)]) / 4
    assert theory.gaussian_variance(name, 10, rows=50)[-1] == pytest.approx(expected, abs=0.001)
    assert abs(found.mean() - expected) < 4 * found.std() / np.sqrt(200)


def test_formulas_at_known_points_and_limits() -> None:
    assert theory.linear_ratio("accumulate-subsample", 1000)[[0, 1, 2, 4, 9, 19, 39, 999]].round(3).tolist() == (
        [1.0, 1.75, 2.083, 2.391, 2.649, 2.788, 2.861, 2.932]
    )
    for name in ("accumulate", "accumulate-subsample"):
        curve = theory.linear_ratio(name, 100_000)
        assert (np.diff(curve) > 0).all() and curve[-1] == pytest.approx(theory.LIMITS[name], abs=4e-4)
    assert theory.linear_ratio("replace", 5).tolist() == [1, 2, 3, 4, 5]
    assert theory.gaussian_variance("replace", 30, rows=10)[[0, 4, 9, 29]].round(3).tolist() == [0.9, 0.59, 0.349, 0.042]
    assert theory.gaussian_variance("accumulate", 30, rows=10)[[0, 4, 9, 29]].round(3).tolist() == [0.9, 0.859, 0.852, 0.846]
    limit = np.sqrt(10) / np.pi * np.sin(np.pi / np.sqrt(10))
    assert theory.gaussian_variance("accumulate", 100_000, rows=10)[-1] == pytest.approx(limit, abs=1e-5)


def test_policies_without_a_closed_form_are_refused() -> None:
    with pytest.raises(OptionError, match="policy with a closed form must be a known name; got 'golden'"):
        theory.linear_ratio("golden", 5)
    with pytest.raises(OptionError, match="Known: accumulate, replace"):
        theory.gaussian_variance("accumulate-subsample", 5, rows=10)
    with pytest.raises(OptionError, match="rows must be at least dimensions"):
        theory.linear_error("replace", 5, rows=10, dimensions=10)
