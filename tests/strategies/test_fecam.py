"""FeCAM against its equations, class by class."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import clframe
from clframe.errors import OptionError
from clframe.models import build
from clframe.strategies import Setup
from clframe.strategies.fecam import FeCAM, normalised
from clframe.types import Batch

WIDTH, CLASSES = 5, 3


def made(**options: Any) -> FeCAM:
    model = build(nn.Flatten(), (WIDTH,), CLASSES).double()
    return FeCAM(Setup(model, lambda p: torch.optim.SGD(p, lr=0.1)), backbone="given", **options)


def samples(count: int = 90, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    mixing = rng.normal(size=(CLASSES, WIDTH, WIDTH))
    x = np.einsum("nd,nde->ne", rng.normal(size=(count, WIDTH)), mixing[y]) + 2 * rng.normal(size=(CLASSES, WIDTH))[y]
    return torch.from_numpy(np.maximum(x, 0)), torch.from_numpy(y)


def feed(strategy: FeCAM, x: Tensor, y: Tensor) -> None:
    train: Any = SimpleNamespace(experience=0, classes=None, size=len(x))
    strategy.begin(train)
    for part in torch.arange(len(x)).split(8):  # type: ignore[no-untyped-call]
        strategy.observe(Batch(x[part], y[part], part))
        strategy.predict(x)
    strategy.end(train)


def by_hand(x: Tensor, y: Tensor, tukey: float, shrinkage: tuple[float, float]) -> np.ndarray[Any, Any]:
    z, k = x.numpy(), y.numpy()
    lengths = np.linalg.norm(z**tukey, axis=1, keepdims=True)
    u = np.divide(z**tukey, lengths, where=lengths > 0, out=np.zeros_like(z))
    scores = []
    for c in range(CLASSES):
        mine = z[k == c]
        covariance = np.cov((mine**tukey).T)
        v1 = np.mean([covariance[i, i] for i in range(WIDTH)])
        v2 = np.mean([covariance[i, j] for i in range(WIDTH) for j in range(WIDTH) if i != j])
        covariance = covariance + shrinkage[0] * v1 * np.eye(WIDTH) + shrinkage[1] * v2 * (1 - np.eye(WIDTH))
        deviation = np.sqrt(np.diag(covariance))
        prototype = mine.mean(0) ** tukey
        off = u - prototype / np.linalg.norm(prototype)
        scores.append(-np.einsum("nd,de,ne->n", off, np.linalg.pinv(covariance / np.outer(deviation, deviation)), off))
    return np.stack(scores, 1)


@pytest.mark.parametrize(("tukey", "shrinkage"), [(0.5, (1.0, 1.0)), (1.0, (0.3, 0.0)), (0.3, (10.0, 2.0))])
def test_the_equations(tukey: float, shrinkage: tuple[float, float]) -> None:
    (x, y), strategy = samples(), made(tukey=tukey, shrinkage=shrinkage)
    feed(strategy, x, y)
    np.testing.assert_allclose(strategy.predict(x).numpy(), by_hand(x, y, tukey, shrinkage), rtol=1e-8, atol=1e-9)


def test_a_class_whose_samples_come_again_is_inverted_again() -> None:
    (x, y), strategy = samples(), made()
    feed(strategy, x[:50], y[:50])
    feed(strategy, x[50:], y[50:])
    np.testing.assert_allclose(strategy.predict(x).numpy(), by_hand(x, y, 0.5, (1.0, 1.0)), rtol=1e-8, atol=1e-9)


def test_the_normalised_covariance_is_a_correlation() -> None:
    covariance = torch.tensor([[4.0, 1.0], [1.0, 9.0]]).double()
    torch.testing.assert_close(normalised(covariance, 0.0, 0.0), torch.tensor([[1.0, 1 / 6], [1 / 6, 1.0]]).double())
    shrunk = torch.tensor([[10.5, 2.0], [2.0, 15.5]]).double()  # + 6.5 I + 1 (1 - I)
    root = (shrunk[0, 0] * shrunk[1, 1]).sqrt()
    torch.testing.assert_close(normalised(covariance, 1.0, 1.0)[0, 1], 2.0 / root)
    assert torch.equal(normalised(torch.zeros(3, 3).double(), 1.0, 1.0), torch.eye(3).double())


def test_it_uses_the_spread_of_each_class() -> None:
    rng = np.random.default_rng(1)
    y = np.arange(400) % 2
    along = np.array([[1.0, 1.0, 0, 0, 0], [1.0, -1.0, 0, 0, 0]])[y] * rng.normal(size=(400, 1))  # same mean, crossed
    x = torch.from_numpy(5 + along + 0.05 * rng.normal(size=(400, WIDTH)))
    strategy = made(shrinkage=(0.01, 0.0), tukey=1.0)
    feed(strategy, x, torch.from_numpy(y))
    assert float((strategy.predict(x).argmax(1).numpy() == y).mean()) > 0.8
    means = strategy.statistics["mean"][:2]
    assert float((torch.cdist(x, means).argmin(1).numpy() == y).mean()) < 0.65


def test_one_sample_a_class_and_negative_features_are_fine() -> None:
    x, y = -torch.eye(WIDTH).double()[:3], torch.arange(3)
    strategy = made()
    feed(strategy, x, y)
    assert torch.equal(strategy.predict(x).argmax(1), y)


def test_on_the_pixels_of_digits() -> None:
    rows = clframe.run("split-digits", "fecam(backbone=given)", model=nn.Flatten(), evaluate="boundaries").rows
    last = rows[(rows.n == rows.n.max()) & (rows.subset == "full")]
    assert last.correct.sum() / last.total.sum() > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tukey": 0.0}, "tukey must be in"),
        ({"tukey": 2.0}, "tukey must be in"),
        ({"shrinkage": (-1.0, 1.0)}, "shrinkage must be two numbers, zero or positive"),
        ({"shrinkage": 1.0}, "shrinkage must be two numbers"),
        ({"shrinkage": (1.0, 1.0, 1.0)}, "shrinkage must be two numbers"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        made(**options)


def test_options_can_be_written() -> None:
    result = clframe.run("split-digits", "fecam(shrinkage=[1,0],tukey=1)", model="mlp(hidden=[20])", evaluate="boundaries")
    assert result.spec["resolved"]["strategy"]["options"] == {"backbone": "first", "tukey": 1, "shrinkage": (1, 0)}
