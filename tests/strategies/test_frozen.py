"""What the methods over a frozen backbone share: freezing, counting every sample once, features computed once."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import clframe
from clframe.errors import OptionError
from clframe.eval.evaluator import Evaluator
from clframe.eval.plan import plan
from clframe.models import build
from clframe.scenarios import class_incremental
from clframe.strategies import NCM, SLDA, FeCAM, FeTrIL, RanPAC, Setup
from clframe.strategies.frozen import FeatureCache, Frozen, deviations, inverse
from clframe.types import Batch, Reveals, Step

SMALL: dict[type[Frozen], dict[str, Any]] = {NCM: {}, SLDA: {}, RanPAC: {"size": 30}, FeCAM: {}, FeTrIL: {}}
EVERY = pytest.mark.parametrize("kind", SMALL, ids=lambda kind: kind.name)


class Counting(nn.Module):
    """A backbone with batch normalisation that counts the samples sent through it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU())
        self.samples = 0

    def forward(self, x: Tensor) -> Tensor:
        self.samples += len(x)
        out: Tensor = self.layers(x)
        return out


def digits(epochs: int = 1, **options: Any) -> Any:
    return class_incremental("digits", experiences=5, class_order="sorted", **options).walked(batch_size=20, epochs=epochs)


def made(
    kind: type[Frozen], module: nn.Module | None = None, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10, **options: Any
) -> Any:
    model = build(module or Counting(), shape, classes)
    return kind(Setup(model, lambda p: torch.optim.SGD(p, lr=0.1)), **{**SMALL[kind], **options})  # type: ignore[call-arg]


def exact(kind: type[Frozen], width: int = 3, classes: int = 4, **options: Any) -> Any:
    """Over the inputs themselves, in float64."""
    strategy = made(kind, nn.Flatten(), (width,), classes, backbone="given", **options)
    strategy.model.double()
    return strategy


def samples(count: int = 40, width: int = 3, classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, count)
    return torch.from_numpy(rng.normal(size=(count, width)) + 2 * y[:, None]), torch.from_numpy(y)


def feed(strategy: Any, x: Tensor, y: Tensor, batch_size: int = 7, weight: Tensor | None = None, end: bool = True) -> None:
    train = SimpleNamespace(experience=0, classes=None, task=None, num_classes=4, size=len(x))
    strategy.begin(train)
    for low in range(0, len(x), batch_size):
        part = slice(low, low + batch_size)
        strategy.observe(Batch(x[part], y[part], torch.arange(len(x))[part], None if weight is None else weight[part]))
    if end:
        strategy.end(train)


def walk(strategy: Any, stream: Any, experiences: int | None = None) -> list[dict[str, Tensor]]:
    terms = []
    for experience in stream.experiences[:experiences]:
        strategy.begin(experience.train)
        terms += [strategy.observe(batch) for _, batch in experience.steps()]
        strategy.end(experience.train)
    return terms


def digest(model: nn.Module) -> str:
    return hashlib.sha256(b"".join(v.numpy().tobytes() for v in model.state_dict().values())).hexdigest()


@EVERY
@pytest.mark.parametrize("backbone", ["first", "given"])
def test_once_frozen_no_weight_and_no_buffer_moves(kind: type[Frozen], backbone: str) -> None:
    strategy, stream = made(kind, backbone=backbone), digits()
    before = digest(strategy.model)
    walk(strategy, stream, 1)
    frozen = digest(strategy.model)
    assert (frozen == before) == (backbone == "given")
    assert not any(m.training for m in strategy.model.modules())
    for experience in stream.experiences[1:3]:
        strategy.begin(experience.train)
        for _, batch in experience.steps():
            strategy.observe(batch)
            strategy.predict(batch.x)
        strategy.end(experience.train)
    assert digest(strategy.model) == frozen
    assert not any(m.training for m in strategy.model.modules())


@EVERY
def test_every_sample_counts_once_whatever_the_epochs(kind: type[Frozen]) -> None:
    strategy, stream = made(kind), digits(epochs=3)
    terms = walk(strategy, stream, 3)
    y = stream.data.train.y[np.concatenate(stream.segments[:3])]
    assert strategy.statistics["count"].tolist() == np.bincount(y, minlength=10).tolist()
    entered = sum(float(t[f"{kind.name}/samples"]) for t in terms if f"{kind.name}/samples" in t)
    assert entered == sum(map(len, stream.segments[1:3]))
    first = 3 * len(stream.segments[0])
    assert strategy.ledger()["forwards"] == first + len(y) and strategy.ledger()["backwards"] == first
    assert strategy.model.backbone.samples - 1 == strategy.ledger()["forwards"]  # one sample when the head was built


@pytest.mark.parametrize("kind", [NCM, SLDA, FeCAM], ids=lambda kind: kind.name)
def test_where_boundaries_are_hidden_a_sample_counts_as_often_as_it_comes(kind: type[Frozen]) -> None:
    stream = replace(digits(epochs=2), reveals=Reveals(boundaries=False, classes=False))
    strategy = made(kind, backbone="given")
    assert not strategy.requires
    strategy.begin(stream.experiences[0].train)
    for experience in stream.experiences[:2]:
        for _, batch in experience.steps():
            strategy.observe(batch)
    assert strategy.statistics["count"].sum() == 2 * sum(map(len, stream.segments[:2]))


def test_the_linear_head_answers_until_the_backbone_is_frozen() -> None:
    strategy, stream = made(NCM), digits()
    first = stream.experiences[0]
    strategy.begin(first.train)
    for _, batch in first.steps():
        assert set(strategy.observe(batch)) == {"ce"}
    x = stream.data.test.fetch(torch.arange(5))
    strategy.model.eval()
    assert torch.equal(strategy.predict(x), strategy.model(x))
    strategy.end(first.train)
    assert strategy.predict(x)[:, 2:].isneginf().all() and strategy.predict(x)[:, :2].isfinite().all()
    assert strategy.ledger()["optimizer_bytes"] == 0


@EVERY
def test_classes_without_samples_score_minus_infinity(kind: type[Frozen]) -> None:
    strategy = exact(kind)
    x, y = samples()
    assert strategy.predict(x).isneginf().all()
    feed(strategy, x, y % 2)
    scores = strategy.predict(x)
    assert scores[:, :2].isfinite().all() and scores[:, 2:].isneginf().all()


@EVERY
def test_the_size_of_the_batches_does_not_matter(kind: type[Frozen]) -> None:
    x, y = samples(300)
    one_by_one, at_once = exact(kind), exact(kind)
    feed(one_by_one, x, y, batch_size=1)
    feed(at_once, x, y, batch_size=300)
    for name, value in one_by_one.statistics.items():
        torch.testing.assert_close(value, at_once.statistics[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [NCM, SLDA, FeCAM, RanPAC], ids=lambda kind: kind.name)
def test_a_sample_of_weight_two_is_two_samples(kind: type[Frozen]) -> None:
    x, y = samples(30)
    options = {"ridge": 1.0} if kind is RanPAC else {}
    weighted, doubled = exact(kind, **options), exact(kind, **options)
    weight = torch.tensor([1.0, 2.0, 0.0] * 10)
    rows = torch.repeat_interleave(torch.arange(30), weight.long())
    feed(weighted, x, y, weight=weight)
    feed(doubled, x[rows], y[rows])
    names = ["count", "mean"] + {NCM: [], SLDA: [], FeCAM: ["centre", "scatter"], RanPAC: ["gram"]}[kind]
    for name in names:
        torch.testing.assert_close(weighted.statistics[name], doubled.statistics[name], rtol=1e-9, atol=1e-9)


@EVERY
def test_a_first_experience_of_one_class_is_refused_before_training(kind: type[Frozen]) -> None:
    stream = class_incremental("digits", experiences=10).walked(batch_size=20)
    strategy = made(kind)
    with pytest.raises(OptionError, match="backbone must be 'given' where the first experience has one class"):
        strategy.begin(stream.experiences[0].train)
    with pytest.raises(OptionError, match="one class"):
        clframe.run("split-digits(experiences=10)", kind.name)
    given = made(kind, backbone="given")
    walk(given, stream, 2)
    assert (given.statistics["count"] > 0).sum() == 2


@EVERY
def test_an_unknown_backbone_is_refused(kind: type[Frozen]) -> None:
    with pytest.raises(OptionError, match="backbone must be 'first' or 'given'; got 'second'"):
        made(kind, backbone="second")


@EVERY
def test_the_state_goes_both_ways_across_the_freezing(kind: type[Frozen]) -> None:
    stream = digits()
    strategy, x = made(kind), stream.data.test.fetch(torch.arange(9))
    early = copy.deepcopy(strategy.state_dict())
    walk(strategy, stream, 2)
    late, scores = strategy.state_dict(), strategy.predict(x)
    fresh = made(kind)
    fresh.load_state_dict(late)
    assert fresh.frozen and torch.equal(fresh.predict(x), scores)
    strategy.load_state_dict(early)
    assert not strategy.frozen and not strategy.statistics and strategy.model.training
    walk(strategy, stream, 2)
    assert torch.equal(strategy.predict(x), scores)


def test_features_are_kept_for_a_tensor_that_comes_again_unchanged() -> None:
    cache, calls = FeatureCache(limit=1000), []

    def double(x: Tensor) -> Tensor:
        calls.append(len(x))
        return 2 * x

    x = torch.ones(4, 3)
    cache.of(x, double)
    cache.of(x, double)
    assert calls == [4, 4]  # not while measuring: nothing kept
    with torch.inference_mode():
        first = cache.of(x, double)
        assert cache.of(x, double) is first and len(calls) == 3
        x.add_(1)
        assert torch.equal(cache.of(x, double), torch.full((4, 3), 4.0)) and len(calls) == 4
        inside = torch.ones(4, 3)  # torch does not count its changes
        cache.of(inside, double)
        cache.of(inside, double)
        assert len(calls) == 6
    with torch.inference_mode(False):
        big, part = torch.ones(100, 3), torch.ones(2, 3)
    with torch.inference_mode():
        for _ in range(2):
            cache.of(big, double)  # 1,200 bytes: beyond the limit
        assert len(calls) == 8
        cache.of(part, double)
        del x, part
        assert len(cache._kept) == 0


def test_evaluating_at_every_update_sends_each_test_sample_through_the_backbone_once() -> None:
    strategy, stream = made(NCM), digits()
    walk(strategy, stream, 1)
    evaluator = Evaluator(stream, plan("every"), subset=30)
    second, backbone = stream.experiences[1], strategy.model.backbone
    strategy.begin(second.train)
    before, updates, trained = backbone.samples, 0, 0
    for step, batch in second.steps():
        strategy.observe(batch)
        updates, trained = updates + 1, trained + len(batch)
        rows = evaluator(strategy, step)
    assert updates > 5 and [row.total for row in rows] == [30, 30]
    assert backbone.samples - before - trained == 60
    before = backbone.samples
    for _ in range(3):
        evaluator.everything(strategy, step.n, 1)
    assert backbone.samples - before == len(evaluator.full.distinct)


def test_the_evaluator_hands_out_the_same_tensors_again() -> None:
    stream, seen = digits(), []

    class Answers:
        def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
            seen.append(x)
            return torch.zeros(len(x), 10)

    evaluator = Evaluator(stream, plan("every"), subset=200)
    for _ in range(2):
        evaluator(Answers(), Step(5, 2, 0, 4, 5, False))  # type: ignore[arg-type]
    half = len(seen) // 2
    assert half >= 1 and all(a is b for a, b in zip(seen[:half], seen[half:], strict=True))
    assert not any(x.is_inference() for x in seen)


def test_deviations_are_those_of_samples_that_come_one_at_a_time() -> None:
    x, y = samples(12)
    count, mean = torch.tensor([3.0, 0.0, 1.0, 2.0]).double(), torch.randn(4, 3).double()
    mean[1] = 0
    off, before = deviations(x, y, torch.ones(12).double(), count, mean)
    for i in range(12):
        k = y[i]
        torch.testing.assert_close(off[i], x[i] - mean[k])
        assert before[i] == count[k]
        mean[k] = (count[k] * mean[k] + x[i]) / (count[k] + 1)
        count[k] += 1


def test_the_inverse_is_the_pseudo_inverse_where_the_matrix_is_singular() -> None:
    a = torch.randn(5, 5).double()
    torch.testing.assert_close(inverse(a @ a.T + torch.eye(5)), torch.linalg.inv(a @ a.T + torch.eye(5)))
    thin = a[:, :2] @ a[:, :2].T
    torch.testing.assert_close(inverse(thin), torch.linalg.pinv(thin), rtol=1e-6, atol=1e-9)
    assert inverse(torch.zeros(3, 3)).count_nonzero() == 0
