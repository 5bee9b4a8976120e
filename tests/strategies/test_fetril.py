"""FeTrIL: the translation is exact, the choice of the new class too, and nothing but means is kept of the past."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC
from torch import Tensor, nn

import clframe
from clframe.errors import OptionError
from clframe.models import build
from clframe.strategies import Setup
from clframe.strategies.fetril import FeTrIL, nearest, pseudo_features
from clframe.types import Batch

BOTH = pytest.mark.parametrize("classifier", ["linear-svc", "linear"])


def made(width: int = 4, classes: int = 6, **options: Any) -> FeTrIL:
    model = build(nn.Flatten(), (width,), classes).double()
    return FeTrIL(Setup(model, lambda p: torch.optim.SGD(p, lr=0.1)), backbone="given", **options)


def feed(strategy: FeTrIL, x: Tensor, y: Tensor) -> None:
    train: Any = SimpleNamespace(experience=0, classes=None, size=len(x))
    strategy.begin(train)
    for part in torch.arange(len(x)).split(7):  # type: ignore[no-untyped-call]
        strategy.observe(Batch(x[part], y[part], part))
    strategy.end(train)


def gaussian(classes: tuple[int, ...], count: int = 40, spread: float = 0.2, width: int = 4) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(classes)
    y = np.repeat(classes, count)
    centres = 3 * np.random.default_rng(7).normal(size=(6, width))
    order = rng.permutation(len(y))
    x = rng.normal(size=(len(y), width)) * spread + centres[y]
    return torch.from_numpy(x[order]), torch.from_numpy(y[order])


def translated(similarity: str = "euclidean") -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """New classes 2 and 3, old classes 0 and 1."""
    x, y = gaussian((2, 3))
    mean, count = torch.randn(6, 4).double(), torch.tensor([5.0, 9, 40, 40, 0, 0]).double()
    for k in (2, 3):
        mean[k] = x[y == k].mean(0)
    return (*pseudo_features(x, y, torch.ones(len(x)).double(), count, mean, similarity)[:2], x, y, mean, count)


def test_a_translated_class_has_the_old_mean_and_the_new_covariance() -> None:
    found, labels, x, y, mean, _ = translated()
    for k in (0, 1):
        mine = found[labels == k]
        source = 2 + nearest(mean[k], mean[2:4], "euclidean")
        assert float((mine.mean(0) - mean[k]).abs().max()) < 1e-12
        assert float((mine.T.cov() - x[y == source].T.cov()).abs().max()) < 1e-12


def test_the_classes_of_the_experience_are_bit_identical_and_unseen_ones_absent() -> None:
    found, labels, x, y, _, _ = translated()
    for k in (2, 3):
        assert torch.equal(found[labels == k], x[y == k])
    assert labels.unique().tolist() == [0, 1, 2, 3]  # type: ignore[no-untyped-call]


def test_a_class_that_comes_again_is_its_own_samples_and_keeps_the_mean_of_all() -> None:
    strategy = made()
    x, y = gaussian((0, 1))
    feed(strategy, x, y)
    feed(strategy, x[y == 0] + 1, y[y == 0])
    torch.testing.assert_close(strategy.statistics["mean"][0], x[y == 0].mean(0) + 0.5)
    ones = torch.ones(len(x)).double()
    found, labels, _ = pseudo_features(x, y, ones, ones[:6] * 40, torch.randn(6, 4).double(), "cosine")
    assert torch.equal(found[: len(x)], x) and (labels[len(x) :] > 1).all()


def test_the_nearest_class_of_hand_placed_means() -> None:
    others = torch.tensor([[1.0, 0.2], [6.0, 6.0], [-1.0, 4.0]])
    old = torch.tensor([1.5, 1.5])
    assert nearest(old, others, "euclidean") == 0
    assert nearest(old, others, "cosine") == 1


@BOTH
@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
def test_well_separated_classes_stay_so(classifier: str, similarity: str) -> None:
    strategy, seen = made(classifier=classifier, similarity=similarity), []
    for pair in ((0, 1), (2, 3), (4, 5)):
        x, y = gaussian(pair)
        feed(strategy, x, y)
        seen.append((x, y))
        for old, labels in seen:
            assert torch.equal(strategy.predict(old).argmax(1), labels)


@BOTH
def test_nothing_but_means_is_kept_of_the_past(classifier: str) -> None:
    strategy, sizes = made(classifier=classifier), []
    for pair in ((0, 1), (2, 3), (4, 5)):
        feed(strategy, *gaussian(pair))
        assert {k: tuple(v.shape) for k, v in strategy.statistics.items()} == {
            "count": (6,), "mean": (6, 4), "rows": (6, 4), "bias": (6,),
        }  # fmt: skip
        sizes.append(strategy.ledger()["state_bytes"]["fetril"])
    assert len(set(sizes)) == 1


def test_the_classifier_is_scikit_learns_on_features_of_length_one() -> None:
    strategy = made(cost=0.5)
    (x, y), (x2, y2) = gaussian((0, 1, 2)), gaussian((3, 4))
    feed(strategy, x, y)
    feed(strategy, x2, y2)
    mean, count = strategy.statistics["mean"], strategy.statistics["count"]
    z, labels, _ = pseudo_features(x2, y2, torch.ones(len(x2)).double(), count, mean, "euclidean")
    other = LinearSVC(C=0.5, dual=False, random_state=3).fit((z / z.norm(dim=1, keepdim=True)).numpy(), labels.numpy())
    asked = x / x.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(strategy.predict(x)[:, :5].numpy(), other.decision_function(asked.numpy()), rtol=1e-6, atol=1e-6)
    assert strategy.predict(x)[:, 5].isneginf().all()


def test_one_class_and_two_classes_have_a_classifier_too() -> None:
    for classifier in ("linear-svc", "linear"):
        strategy = made(classifier=classifier)
        x, y = gaussian((3,))
        feed(strategy, x, y)
        assert (strategy.predict(x).argmax(1) == 3).all()
        x2, y2 = gaussian((1,))
        feed(strategy, x2, y2)
        scores = strategy.predict(torch.cat([x, x2]))
        assert torch.equal(scores.argmax(1), torch.cat([y, y2]))
        if classifier == "linear-svc":
            torch.testing.assert_close(scores[:, 1], -scores[:, 3])


def test_the_first_step_of_the_softmax_layer_is_the_gradient_at_zero() -> None:
    strategy = made(classifier="linear", epochs=1, lr=0.1)
    x, y = gaussian((0, 1, 2))
    feed(strategy, x, y)  # 120 samples: one batch
    residual = nn.functional.one_hot(y, 3).double() - 1 / 3
    torch.testing.assert_close(strategy.statistics["rows"][:3], 0.1 * residual.T @ x / len(x))
    torch.testing.assert_close(strategy.statistics["bias"][:3], 0.1 * residual.mean(0))


def test_the_softmax_layer_ends_near_the_minimum() -> None:
    strategy = made(classifier="linear", epochs=200)
    x, y = gaussian((0, 1, 2), spread=2.0)
    feed(strategy, x, y)
    found = torch.cat([strategy.statistics["rows"][:3], strategy.statistics["bias"][:3, None]], 1).requires_grad_()

    def loss() -> Tensor:
        return nn.functional.cross_entropy(x @ found[:, :4].T + found[:, 4], y) + 2.5e-4 * found.square().sum()

    reached = loss().item()
    optimizer = torch.optim.LBFGS([found], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    optimizer.step(closure)
    assert reached < loss().item() + 5e-3


def test_the_answer_moves_at_boundaries_only() -> None:
    strategy = made()
    x, y = gaussian((0, 1))
    feed(strategy, x, y)
    before = strategy.predict(x)
    x2, y2 = gaussian((2, 3))
    strategy.begin(SimpleNamespace(experience=1, classes=None, size=len(x2)))  # type: ignore[arg-type]
    strategy.observe(Batch(x2[:9], y2[:9], torch.arange(9)))
    assert torch.equal(strategy.predict(x), before)


def test_on_the_pixels_of_digits() -> None:
    rows = clframe.run("split-digits", "fetril(backbone=given)", model=nn.Flatten(), evaluate="boundaries").rows
    last = rows[(rows.n == rows.n.max()) & (rows.subset == "full")]
    assert last.correct.sum() / last.total.sum() > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"similarity": "near"}, "similarity must be 'euclidean' or 'cosine'; got 'near'"),
        ({"classifier": "svm"}, "classifier must be 'linear-svc' or 'linear'; got 'svm'"),
        ({"cost": 0.0}, "cost must be positive; got 0.0"),
        ({"epochs": -1}, "epochs must be positive; got -1"),
        ({"lr": 0.0}, "lr must be positive"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        made(**options)
