"""SLDA beside Avalanche's StreamingLDA: the same features in the same order, compared after every batch."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clframe.models import build
from clframe.scenarios import class_incremental
from clframe.strategies import Setup
from clframe.strategies.slda import SLDA

pytest.importorskip("avalanche")
pytestmark = pytest.mark.filterwarnings("ignore")
WIDTH, CLASSES = 24, 10


def ours(model: nn.Module, **options: Any) -> SLDA:
    return SLDA(Setup(model, lambda p: torch.optim.SGD(p, lr=0.05)), **options)  # type: ignore[arg-type]


def theirs(shrinkage: float = 1e-4, moves: bool = True) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from avalanche.training.supervised.deep_slda import StreamingLDA

        made: Any = StreamingLDA(
            slda_model=nn.Identity(),
            criterion=nn.CrossEntropyLoss(),
            input_size=WIDTH,
            num_classes=CLASSES,
            shrinkage_param=shrinkage,
            streaming_update_sigma=moves,
            evaluator=None,
        )
    for name in ("muK", "cK", "Sigma", "Lambda"):
        setattr(made, name, getattr(made, name).double())
    return made


def digits() -> tuple[Any, Any]:
    stream = class_incremental("digits", experiences=5).walked(batch_size=10)
    model = build("mlp", (1, 8, 8), CLASSES, options={"hidden": (WIDTH,)})
    return stream, model


def one_at_a_time(other: Any, features: Tensor, y: Tensor) -> None:
    for f, label in zip(features.double(), y, strict=True):
        other.fit(f[None], label[None])


def same(strategy: SLDA, other: Any, asked: Tensor, features: Tensor) -> None:
    torch.testing.assert_close(strategy.statistics["mean"].double(), other.muK, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(strategy.statistics["count"].double(), other.cK)
    torch.testing.assert_close(strategy.statistics["covariance"].double(), other.Sigma, rtol=1e-4, atol=1e-5)
    seen = other.cK > 0
    mine, expected = strategy.predict(asked)[:, seen].double(), other.predict(features.double())[:, seen]
    torch.testing.assert_close(mine, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_streaming_is_equal_after_every_batch() -> None:
    stream, model = digits()
    strategy, other = ours(model, backbone="given", shrinkage=1e-2), theirs(1e-2)
    asked = stream.data.test.fetch(torch.arange(50))
    for experience in stream.experiences[:2]:
        strategy.begin(experience.train)
        for step, batch in experience.steps():
            strategy.observe(batch)
            with torch.no_grad():
                one_at_a_time(other, model.features(batch.x), batch.y)
                if step.n % 5 == 1:
                    same(strategy, other, asked, model.features(asked))
        strategy.end(experience.train)


@pytest.mark.parametrize("covariance", ["updated", "fixed"])
def test_with_a_base_initialisation_it_is_equal_too(covariance: str) -> None:
    stream, model = digits()
    strategy, other = ours(model, streaming_covariance=covariance), theirs(moves=covariance == "updated")
    asked, first = stream.data.test.fetch(torch.arange(50)), stream.experiences[0]
    strategy.begin(first.train)
    for _, batch in first.steps():
        strategy.observe(batch)
    strategy.end(first.train)
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        (whole,) = first.train.batches(10_000)
        other.fit_base(model.features(whole.x).double(), whole.y)
        other.Sigma = other.Sigma.double()
        same(strategy, other, asked, model.features(asked))
        for experience in stream.experiences[1:3]:
            strategy.begin(experience.train)
            for _, batch in experience.steps():
                strategy.observe(batch)
                one_at_a_time(other, model.features(batch.x), batch.y)
            strategy.end(experience.train)
            same(strategy, other, asked, model.features(asked))
