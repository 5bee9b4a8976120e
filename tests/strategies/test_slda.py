"""SLDA against its recursion written out, and its closed form."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.covariance import OAS
from torch import Tensor, nn

import clframe
from clframe.errors import OptionError
from clframe.models import build
from clframe.strategies import Setup
from clframe.strategies.slda import SLDA, shrunk
from clframe.types import Batch

WIDTH, CLASSES = 6, 4


def made(**options: Any) -> SLDA:
    model = build(nn.Flatten(), (WIDTH,), CLASSES).double()
    return SLDA(Setup(model, lambda p: torch.optim.SGD(p, lr=1e-9)), **{"backbone": "given", **options})


def samples(count: int = 90, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    mixing = rng.normal(size=(WIDTH, WIDTH))
    return torch.from_numpy(rng.normal(size=(count, WIDTH)) @ mixing + 3 * y[:, None]), torch.from_numpy(y)


def train_of(x: Tensor, y: Tensor, experience: int) -> Any:
    whole = Batch(x, y, torch.arange(len(x)))
    return SimpleNamespace(
        experience=experience, classes=None, task=None, num_classes=CLASSES, size=len(x), batches=lambda size: iter([whole])
    )


def feed(strategy: SLDA, x: Tensor, y: Tensor, experience: int = 0) -> None:
    train = train_of(x, y, experience)
    strategy.begin(train)
    for part in torch.arange(len(x)).split(11):  # type: ignore[no-untyped-call]
        strategy.observe(Batch(x[part], y[part], part))
    strategy.end(train)


class Recursion:
    """The equations of the paper, one sample at a time."""

    def __init__(self) -> None:
        self.t, self.sigma = 0, np.zeros((WIDTH, WIDTH))
        self.mu, self.c = np.zeros((CLASSES, WIDTH)), np.zeros(CLASSES)

    def base(self, x: Tensor, y: Tensor) -> None:
        z, k = x.numpy(), y.numpy()
        self.c = np.bincount(k, minlength=CLASSES).astype(float)
        self.mu = np.stack([z[k == j].mean(0) for j in range(CLASSES)])
        self.t, self.sigma = len(z), OAS(assume_centered=True).fit(z - self.mu[k]).covariance_

    def fit(self, x: Tensor, y: Tensor, move: bool = True) -> None:
        for z, k in zip(x.numpy(), y.numpy(), strict=True):
            if move:
                off = z - self.mu[k]
                delta = self.t / (self.t + 1) * np.outer(off, off)
                self.sigma = (self.t * self.sigma + delta) / (self.t + 1)
            self.mu[k] = (self.c[k] * self.mu[k] + z) / (self.c[k] + 1)
            self.c[k] += 1
            self.t += 1

    def scores(self, x: Tensor, shrinkage: float) -> np.ndarray[Any, Any]:
        precision = np.linalg.inv((1 - shrinkage) * self.sigma + shrinkage * np.eye(WIDTH))
        scores: np.ndarray[Any, Any] = x.numpy() @ precision @ self.mu.T - 0.5 * ((self.mu @ precision) * self.mu).sum(1)
        return scores


def same(strategy: SLDA, other: Recursion) -> None:
    for name, value in (("covariance", other.sigma), ("mean", other.mu), ("count", other.c)):
        np.testing.assert_allclose(strategy.statistics[name].numpy(), value, rtol=1e-10, atol=1e-10, err_msg=name)


def test_streaming_from_the_first_sample_is_the_recursion() -> None:
    (x, y), strategy, other = samples(), made(shrinkage=1e-3), Recursion()
    strategy.begin(train_of(x, y, 0))
    for part in torch.arange(len(x)).split(11):  # type: ignore[no-untyped-call]
        strategy.observe(Batch(x[part], y[part], part))
        other.fit(x[part], y[part])
        same(strategy, other)
        seen = other.c > 0
        np.testing.assert_allclose(strategy.predict(x).numpy()[:, seen], other.scores(x, 1e-3)[:, seen], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("covariance", ["updated", "fixed"])
def test_after_the_first_experience_it_goes_on_from_the_shrunk_covariance(covariance: str) -> None:
    (x, y), (x2, y2) = samples(), samples(seed=1)
    strategy, other = made(backbone="first", streaming_covariance=covariance), Recursion()
    feed(strategy, x, y)
    other.base(x, y)
    same(strategy, other)
    feed(strategy, x2, y2, experience=1)
    other.fit(x2, y2, move=covariance == "updated")
    same(strategy, other)
    np.testing.assert_allclose(strategy.predict(x).numpy(), other.scores(x, 1e-4), rtol=1e-6, atol=1e-6)


def test_fixed_over_a_given_backbone_keeps_the_covariance_of_the_first_experience() -> None:
    (x, y), (x2, y2), other = samples(), samples(seed=1), Recursion()
    strategy = made(streaming_covariance="fixed")
    assert strategy.requires == {"boundaries"}
    feed(strategy, x, y)
    feed(strategy, x2, y2, experience=1)
    other.fit(x, y)
    other.fit(x2, y2, move=False)
    same(strategy, other)


def test_with_the_identity_for_covariance_it_is_the_nearest_mean() -> None:
    (x, y), strategy = samples(), made(shrinkage=1.0)
    feed(strategy, x, y)
    mean = strategy.statistics["mean"]
    assert torch.equal(strategy.predict(x).argmax(1), torch.cdist(x, mean).argmin(1))


def test_a_singular_covariance_without_shrinkage_is_inverted_where_it_can_be() -> None:
    (x, y), strategy = samples(4), made(shrinkage=0.0)
    feed(strategy, x, y)
    seen = strategy.statistics["count"] > 0
    assert strategy.predict(x)[:, seen].isfinite().all()


@pytest.mark.parametrize("count", [3, 50, 5000])
def test_the_shrinkage_is_that_of_scikit_learn(count: int) -> None:
    x = np.random.default_rng(0).normal(size=(count, WIDTH)) * np.arange(1, WIDTH + 1)
    found = shrunk(torch.from_numpy(x.T @ x / count), float(count))
    np.testing.assert_allclose(found.numpy(), OAS(assume_centered=True).fit(x).covariance_, rtol=1e-10, atol=1e-10)


def test_on_the_pixels_of_digits_it_beats_the_nearest_mean() -> None:
    accuracy = {}
    for name in ("slda(backbone=given)", "ncm(backbone=given)"):
        rows = clframe.run("split-digits", name, model=nn.Flatten(), evaluate="boundaries").rows
        last = rows[(rows.n == rows.n.max()) & (rows.subset == "full")]
        accuracy[name] = last.correct.sum() / last.total.sum()
    assert accuracy["slda(backbone=given)"] > accuracy["ncm(backbone=given)"] + 0.02


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shrinkage": -0.1}, "shrinkage must be in"),
        ({"shrinkage": 1.5}, "shrinkage must be in"),
        ({"streaming_covariance": "no"}, "streaming_covariance must be 'updated' or 'fixed'; got 'no'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        made(**options)
