"""RanPAC against ridge regression, and its choice of lambda against held-out samples one by one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor, nn
from torch.nn import functional

import clframe
from clframe.errors import OptionError
from clframe.models import build
from clframe.strategies import Setup
from clframe.strategies.ranpac import RIDGES, RanPAC, best_ridge
from clframe.types import Batch

WIDTH, CLASSES, SIZE = 5, 4, 24


def made(seed: int = 0, **options: Any) -> RanPAC:
    model = build(nn.Flatten(), (WIDTH,), CLASSES).double()
    setup = Setup(model, lambda p: torch.optim.SGD(p, lr=0.1), seed=seed)
    return RanPAC(setup, **{"backbone": "given", "size": SIZE, **options})


def samples(count: int = 120, classes: tuple[int, ...] = (0, 1, 2, 3), seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, count)
    centres = np.random.default_rng(9).normal(size=(CLASSES, WIDTH))
    return torch.from_numpy(rng.normal(size=(count, WIDTH)) + 2 * centres[y]), torch.from_numpy(y)


def feed(strategy: RanPAC, x: Tensor, y: Tensor, batch_size: int = 13, end: bool = True) -> None:
    train: Any = SimpleNamespace(experience=0, classes=None, size=len(x))
    strategy.begin(train)
    for part in torch.arange(len(x)).split(batch_size):  # type: ignore[no-untyped-call]
        strategy.observe(Batch(x[part], y[part], part))
    if end:
        strategy.end(train)


def lifted(strategy: RanPAC, x: Tensor) -> Tensor:
    return (x @ strategy.statistics["projection"]).relu()


def test_it_is_ridge_regression_on_the_random_features() -> None:
    (x, y), strategy = samples(), made(ridge=0.7)
    feed(strategy, x, y)
    h = lifted(strategy, x).numpy()
    other = Ridge(alpha=0.7, fit_intercept=False, solver="cholesky").fit(h, functional.one_hot(y, CLASSES).double().numpy())
    np.testing.assert_allclose(strategy.predict(x).numpy(), other.predict(h), rtol=1e-8, atol=1e-8)


def test_the_order_of_the_stream_does_not_matter() -> None:
    strategy, other = made(ridge=1.0), made(ridge=1.0)
    x, y = samples()
    by_class = y.argsort()
    feed(strategy, x, y)
    for k in range(CLASSES):
        mine = by_class[y[by_class] == k]
        feed(other, x[mine], y[mine], batch_size=5)
    torch.testing.assert_close(strategy.predict(x), other.predict(x), rtol=1e-9, atol=1e-9)


def test_the_ridge_has_the_smallest_error_on_every_fifth_sample() -> None:
    x, y = samples(seed=3)
    y = torch.where(torch.arange(len(y)) % 7 == 0, (y + 1) % CLASSES, y)  # wrong labels: a small ridge overfits
    strategy = made()
    feed(strategy, x, y)
    h, target = lifted(strategy, x), functional.one_hot(y, CLASSES).double()
    held = torch.arange(len(x)) % 5 == 4
    errors = []
    for ridge in RIDGES:
        weights = torch.linalg.solve(h[~held].T @ h[~held] + ridge * torch.eye(SIZE).double(), h[~held].T @ target[~held])
        errors.append(float((h[held] @ weights - target[held]).square().mean()))
    chosen = RIDGES[int(np.argmin(errors))]
    assert 1e-8 < chosen < 1e8
    assert float(strategy.statistics["ridge"]) == pytest.approx(chosen)
    weights = torch.linalg.solve(h.T @ h + chosen * torch.eye(SIZE).double(), h.T @ target)
    torch.testing.assert_close(strategy.predict(x), h @ weights, rtol=1e-8, atol=1e-8)
    assert set(strategy.statistics) == {"projection", "gram", "ridge", "count", "mean"}


def test_the_choice_looks_at_the_last_experience_and_the_sums_at_all() -> None:
    strategy, (x, y), (x2, y2) = made(), samples(classes=(0, 1)), samples(classes=(2, 3), seed=5)
    feed(strategy, x, y)
    feed(strategy, x2, y2)
    h, held = lifted(strategy, x2), torch.arange(len(x2)) % 5 == 4
    target = functional.one_hot(y2, CLASSES).double()
    fit, out = (h[~held], target[~held]), (h[held], target[held])
    expected = best_ridge(fit[0].T @ fit[0], fit[0].T @ fit[1], out[0].T @ out[0], out[0].T @ out[1])
    assert float(strategy.statistics["ridge"]) == pytest.approx(expected)
    both = torch.cat([lifted(strategy, x), h])
    torch.testing.assert_close(strategy.statistics["gram"], both.T @ both)


def test_there_is_an_answer_before_the_first_choice() -> None:
    strategy, (x, y) = made(), samples()
    feed(strategy, x, y, end=False)
    h, target = lifted(strategy, x), functional.one_hot(y, CLASSES).double()
    gram = h.T @ h
    weights = torch.linalg.solve(gram + gram.trace() / SIZE * torch.eye(SIZE).double(), h.T @ target)
    torch.testing.assert_close(strategy.predict(x), h @ weights, rtol=1e-8, atol=1e-8)


def test_a_gram_matrix_of_few_samples_is_solved_all_the_same() -> None:
    strategy, (x, y) = made(ridge=1e-30), samples(4)
    feed(strategy, x, y)
    assert strategy.predict(x)[:, strategy.statistics["count"] > 0].isfinite().all()
    short, (x, y) = made(), samples(3)  # no fifth sample to hold out
    feed(short, x, y)
    assert float(short.statistics["ridge"]) == 0 and short.predict(x)[:, y].isfinite().all()


def test_the_projection_is_the_seeds() -> None:
    x, y = samples(5)
    drawn = []
    for seed in (0, 0, 1):
        strategy = made(seed)
        feed(strategy, x, y)
        drawn.append(strategy.statistics["projection"])
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert drawn[0].shape == (WIDTH, SIZE)


def test_random_features_help_on_digits() -> None:
    rows = clframe.run("split-digits", "ranpac(backbone=given,size=500)", model=nn.Flatten(), evaluate="boundaries").rows
    last = rows[(rows.n == rows.n.max()) & (rows.subset == "full")]
    assert last.correct.sum() / last.total.sum() > 0.94


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be a positive integer; got 0"),
        ({"ridge": 0.0}, "ridge must be positive"),
        ({"ridge": -1.0}, "ridge must"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        made(**options)
