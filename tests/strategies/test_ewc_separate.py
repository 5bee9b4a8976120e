"""EWC with an anchor for each experience, against the sum over experiences written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from clframe.errors import OptionError
from clframe.models import build
from clframe.scenarios import class_incremental
from clframe.strategies import EWC, Learner
from clframe.strategies.part import bytes_of
from clframe.types import Batch


class Double:
    """The training side of an experience in float64."""

    def __init__(self, train: Any) -> None:
        self._train = train

    def batches(self, *args: Any, **options: Any) -> Any:
        for b in self._train.batches(*args, **options):
            yield Batch(b.x.double(), b.y, b.index)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._train, name)


def walk(part: EWC, experiences: int, updates: int = 6) -> tuple[list[tuple[list[Tensor], list[Tensor]]], list[Any], Any]:
    """Train; return every experience's own information and weights, the terms and the model."""
    torch.manual_seed(0)
    model = build("mlp", (1, 8, 8), 10, options={"hidden": (8,)}).double()
    stream = class_incremental("digits", class_order="sorted").walked(batch_size=20)
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), part)
    kept: list[tuple[list[Tensor], list[Tensor]]] = []
    fisher, own = part._fisher, []
    part._fisher = lambda train: own.append(fisher(train)) or own[-1]  # type: ignore[method-assign,func-returns-value]
    terms = []
    for experience in stream.experiences[:experiences]:
        made.begin(experience.train)
        for _, b in list(experience.steps())[:updates]:
            expected = brute(part, kept, list(model.parameters()))
            terms.append((made.observe(Batch(b.x.double(), b.y, b.index)).get("ewc/quadratic", torch.zeros(())).item(), expected))
        made.end(Double(experience.train))
        kept.append((own[-1], [p.detach().clone() for p in model.parameters()]))
    return kept, terms, model


def brute(part: EWC, kept: list[Any], weights: list[Tensor]) -> float:
    """strength / 2 sum_k decay^(K - k) sum_j F_kj (theta_j - theta*_kj)^2."""
    total = 0.0
    for age, (fisher, anchor) in enumerate(reversed(kept)):
        for f, a, w in zip(fisher, anchor, weights, strict=True):
            total += part.decay**age * (f * (w.detach() - a).square()).sum().item()
    return part.strength / 2 * total


@pytest.mark.parametrize("decay", [1.0, 0.6, 0.0])
def test_the_completed_square_is_the_sum_over_experiences(decay: float) -> None:
    part = EWC(strength=50.0, samples=40, mode="separate", decay=decay)
    kept, terms, model = walk(part, 5)
    found, expected = zip(*terms, strict=True)
    assert max(expected) > 0.1
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    value = part.penalty(None)["quadratic"]  # type: ignore[arg-type]
    gradient = torch.autograd.grad(value, list(model.parameters()))
    for j, (g, p) in enumerate(zip(gradient, model.parameters(), strict=True)):
        pulls = [decay**age * f[j] * (p.detach() - a[j]) for age, (f, a) in enumerate(reversed(kept))]
        torch.testing.assert_close(g, 50.0 * torch.stack(pulls).sum(0), rtol=1e-9, atol=1e-12)


def test_after_one_experience_both_modes_are_the_same() -> None:
    online, separate = EWC(samples=20, mode="online"), EWC(samples=20, mode="separate")
    (_, ours, _), (_, theirs, _) = walk(online, 2), walk(separate, 2)
    assert [a for a, _ in ours] == pytest.approx([a for a, _ in theirs], rel=1e-12)


def test_the_state_does_not_grow() -> None:
    """Five experiences need what two need: the information, one centre and one number."""
    sizes = []
    for experiences in (2, 5):
        part = EWC(samples=8, mode="separate")
        walk(part, experiences, updates=2)
        sizes.append(bytes_of(part.state_dict()["declared"]))
    assert sizes[0] == sizes[1]


def test_the_information_of_batches_is_that_of_their_mean_gradients() -> None:
    from torch.nn import functional

    torch.manual_seed(0)
    model = build("mlp", (1, 8, 8), 10, options={"hidden": (8,)})
    train = class_incremental("digits").experiences[0].train
    part = EWC(samples=50, batch_size=16)
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), part)
    seen: list[Batch] = []

    class Spy(Double):
        def batches(self, *args: Any, **options: Any) -> Any:
            for batch in train.batches(*args, **options):
                seen.append(batch)
                yield batch

    made.begin(train)
    made.end(Spy(train))
    assert [len(b) for b in seen] == [16, 16, 16, 2]
    assert part.forwards == part.backwards == 50
    each = [torch.autograd.grad(functional.cross_entropy(model(b.x), b.y), list(model.parameters())) for b in seen]
    for j, found in enumerate(part.information):
        torch.testing.assert_close(found, torch.stack([g[j] ** 2 for g in each]).mean(0), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "both"}, "mode must be 'online' or 'separate'; got 'both'."),
        ({"batch_size": 0}, "batch_size must be a positive integer; got 0."),
    ],
)
def test_bad_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as error:
        EWC(**options)
    assert str(error.value).startswith(said)
