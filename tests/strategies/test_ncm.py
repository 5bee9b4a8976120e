"""NCM against scikit-learn and by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid
from torch import Tensor, nn

import clframe
from clframe.errors import OptionError
from clframe.models import build
from clframe.strategies import Setup
from clframe.strategies.ncm import NCM
from clframe.types import Batch


def fitted(x: Tensor, y: Tensor, **options: Any) -> NCM:
    model = build(nn.Flatten(), x.shape[1:], int(y.max()) + 1).double()
    strategy = NCM(Setup(model, lambda p: torch.optim.SGD(p, lr=0.1)), backbone="given", **options)
    train: Any = SimpleNamespace(experience=0, classes=None, size=len(x))
    strategy.begin(train)
    for part in torch.arange(len(x)).split(9):  # type: ignore[no-untyped-call]
        strategy.observe(Batch(x[part], y[part], part))
    strategy.end(train)
    return strategy


def test_euclidean_is_the_nearest_centroid() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 200)
    x = rng.normal(size=(200, 4)) + rng.normal(size=(5, 4))[y]
    strategy, other = fitted(torch.from_numpy(x), torch.from_numpy(y)), NearestCentroid().fit(x, y)
    np.testing.assert_allclose(strategy.statistics["mean"].numpy(), other.centroids_, atol=1e-12)
    scores = strategy.predict(torch.from_numpy(x))
    assert (scores.argmax(1).numpy() == other.predict(x)).all()
    expected = -((x[:, None] - other.centroids_) ** 2).sum(2)
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-10)


def test_cosine_takes_the_mean_of_features_of_length_one() -> None:
    x = torch.tensor([[3.0, 0.0], [0.0, 0.5], [-2.0, 0.0], [0.0, -7.0]]).double()
    strategy = fitted(x, torch.tensor([0, 0, 1, 1]), distance="cosine")
    torch.testing.assert_close(strategy.statistics["mean"], torch.tensor([[0.5, 0.5], [-0.5, -0.5]]).double())
    torch.testing.assert_close(strategy.predict(10 * x)[:1], torch.tensor([[0.5**0.5, -(0.5**0.5)]]).double())


def test_the_two_distances_disagree_where_lengths_matter() -> None:
    x, y = torch.tensor([[10.0, 0.0], [0.0, 1.0]]).double(), torch.tensor([0, 1])
    asked = torch.tensor([[1.0, 0.5]]).double()
    assert fitted(x, y).predict(asked).argmax() == 1
    assert fitted(x, y, distance="cosine").predict(asked).argmax() == 0


def test_on_the_pixels_of_digits_it_is_the_nearest_centroid_of_everything_at_the_end() -> None:
    result = clframe.run("split-digits", "ncm(backbone=given)", model=nn.Flatten(), evaluate="boundaries")
    last = result.rows[(result.rows.n == result.rows.n.max()) & (result.rows.subset == "full")]
    assert last.correct.sum() / last.total.sum() > 0.85


def test_an_unknown_distance_is_refused() -> None:
    with pytest.raises(OptionError, match="distance must be 'euclidean' or 'cosine'; got 'manhattan'"):
        fitted(torch.ones(2, 2).double(), torch.tensor([0, 1]), distance="manhattan")
