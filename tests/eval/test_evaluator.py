"""The evaluator's own arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

import clframe
from clframe.eval.evaluator import Evaluator
from clframe.eval.plan import Boundaries, Dense, Every, LogSpaced, plan
from clframe.eval.probe import stratified
from clframe.types import Batch, Step, Train


class Oracle:
    """Predicts a function of the input, and counts what it was asked."""

    requires: frozenset[str] = frozenset()

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, 0

    def begin(self, train: Train) -> None: ...
    def end(self, train: Train) -> None: ...
    def observe(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def predict(self, x: torch.Tensor, task: torch.Tensor | None = None) -> torch.Tensor:
        self.asked += len(x)
        scores: torch.Tensor = self.answer(x)
        return scores


def coded(n: int, classes: int = 4) -> Any:
    """Samples whose input says their label."""
    y = np.arange(n) % classes
    return clframe.data.from_arrays(np.eye(classes, dtype=np.float32)[y], y, np.eye(classes, dtype=np.float32)[y], y)


def test_a_perfect_model_is_right_everywhere_and_a_constant_one_on_its_class() -> None:
    stream = clframe.scenarios.class_incremental(coded(40), experiences=2, class_order="sorted")
    rows, classes = Evaluator(stream, Every()).everything(Oracle(lambda x: x), 0, -1)
    assert [(r.correct, r.total) for r in rows] == [(20, 20), (20, 20)]
    assert all(c.correct == c.total == 10 for c in classes)
    constant = Oracle(lambda x: torch.tensor([0.0, 1.0, 0.0, 0.0]).expand(len(x), 4))
    rows, classes = Evaluator(stream, Every()).everything(constant, 0, -1)
    assert [r.correct for r in rows] == [10, 0]
    assert [(c.label, c.correct) for c in classes] == [(0, 0), (1, 10), (2, 0), (3, 0)]


def test_no_finite_score_is_wrong_even_for_class_0() -> None:
    stream = clframe.scenarios.class_incremental(coded(40), experiences=2, class_order="sorted")
    silent = Oracle(lambda x: torch.full((len(x), 4), -torch.inf))
    rows, _ = Evaluator(stream, Every()).everything(silent, 0, -1)
    assert [r.correct for r in rows] == [0, 0]


def test_a_shared_test_set_is_predicted_once_and_counted_for_each() -> None:
    stream = clframe.scenarios.data_incremental(coded(400), experiences=50)
    oracle = Oracle(lambda x: x)
    evaluator = Evaluator(stream, Every(), subset=100)
    rows, _ = evaluator.everything(oracle, 0, -1)
    full = [r for r in rows if r.subset == "full"]
    assert oracle.asked == 400
    assert [(r.correct, r.total) for r in full] == [(400, 400)] * 50
    assert len([r for r in rows if r.subset == "curve"]) == 50


def test_overlapping_tests_keep_their_own_counts() -> None:
    stream = clframe.scenarios.class_incremental(coded(40), experiences=2, class_order="sorted")
    tests = [np.array([3, 0, 1]), np.array([1, 2, 3, 7])]
    mixed = clframe.scenarios.Stream("mixed", stream.data, stream.segments, tests)
    right_on_3 = Oracle(lambda x: x * torch.tensor([0.0, 0.0, 0.0, 1.0]) - torch.tensor([0.0, 0.1, 0.1, 0.1]))
    rows, _ = Evaluator(mixed, Every()).everything(right_on_3, 0, -1)
    assert [(r.correct, r.total) for r in rows] == [(2, 3), (2, 4)]
    row = Evaluator(mixed, Every())(right_on_3, Step(1, 0, 0, 0, 1, False))
    assert [(r.evaluated, r.correct) for r in row] == [(0, 2)]


@pytest.mark.parametrize("size", [1, 7, 50, 99])
def test_the_subset_keeps_the_share_of_every_class(size: int) -> None:
    y = np.repeat([0, 1, 2], [70, 20, 10])
    chosen = stratified(y, size, np.random.default_rng(0))
    assert len(chosen) == len(set(chosen.tolist())) == size
    assert (np.diff(chosen) > 0).all()
    assert abs(np.bincount(y[chosen], minlength=3) - np.array([70, 20, 10]) * size / 100).max() < 1


def steps(count: int, start: int = 0) -> list[Step]:
    return [Step(start + i, 1, 0, i - 1, i, i == count) for i in range(1, count + 1)]


def test_plans() -> None:
    assert [s.n for s in steps(9, start=3) if Every(5).due(s)] == [5, 10]
    assert [s.since for s in steps(50) if Dense(first=3, every=20).due(s)] == [1, 2, 3, 20, 40]
    assert not any(Boundaries().due(s) for s in steps(9))
    spaced = [s.since for s in steps(2000) if LogSpaced(first=20, growth=0.1).due(s)]
    assert spaced[:20] == list(range(1, 21))
    assert len(spaced) < 80
    assert max(b / a for a, b in itertools.pairwise(spaced[20:])) < 1.2
    assert plan("dense(first=5,every=2)") == Dense(5, 2)


def test_the_end_of_an_experience_is_left_to_the_boundary() -> None:
    stream = clframe.scenarios.class_incremental(coded(40), experiences=2)
    evaluator = Evaluator(stream, Every())
    assert [evaluator.due(s) for s in steps(3)] == [True, True, False]
