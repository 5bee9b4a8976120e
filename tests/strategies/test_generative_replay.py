"""Generative replay: what the next generator is fitted to, what is recalled, what is kept, what is logged, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import clframe
from clframe.data import from_arrays, load
from clframe.errors import ClframeError, DataError
from clframe.models import build as network
from clframe.scenarios import Stream, class_incremental, permuted, task_incremental
from clframe.strategies import GenerativeReplay, Learner
from clframe.strategies.synthetic import Samples, balanced, chosen, joined, moments, variance

QUICK = {"hidden": 50, "epochs": 10, "size": 60, "latent": 5}


def walked(stream: Stream, experiences: int, **options: Any) -> tuple[GenerativeReplay, Learner, Stream]:
    """A learner after these experiences of the stream."""
    stream = stream.walked(batch_size=32, seed=0)
    model = network(
        "mlp",
        stream.data.train.input_shape,
        stream.num_classes,
        num_tasks=stream.num_tasks,
        head="multi" if stream.tasks and stream.reveals.task_test else "single",
        options={"hidden": (50,)},
    )
    part = GenerativeReplay(**{**QUICK, **options})
    learner = Learner(model, torch.optim.SGD(model.parameters(), lr=0.1), part)
    for experience in stream.experiences[:experiences]:
        learner.begin(experience.train)
        for _, batch in experience.steps():
            learner.observe(batch)
        learner.end(experience.train)
    return part, learner, stream


@pytest.mark.parametrize(
    ("policy", "rows", "shards"),
    [
        ("accumulate", [0, 60, 120], [1, 2, 3]),
        ("replace(allow_collapse=true)", [0, 60, 60], [1, 2, 2]),
        ("golden", [0, 60, 60], [1, 2, 2]),
    ],
)
def test_the_policy_says_what_the_next_generator_is_fitted_to(policy: str, rows: list[int], shards: list[int]) -> None:
    stream = class_incremental("digits", class_order="sorted")
    for k in range(3):
        part, _, _ = walked(stream, k + 1, policy=policy, epochs=1)
        assert part.measures["rows"] == len(stream.segments[k]) + rows[k]  # all new samples are always there
        assert len(part.shards) == shards[k]
        new, whole = len(stream.segments[k]), sum(len(ids) for ids in stream.segments[: k + 1])
        assert part.measures["real_share"] == pytest.approx(new / whole)


def test_without_balance_the_weights_are_those_of_the_policy() -> None:
    stream = class_incremental("digits", class_order="sorted")
    part, _, _ = walked(stream, 2, policy="golden(weight=0.7)", balance=False, epochs=1)
    assert part.measures["real_share"] == pytest.approx(0.7)
    part, _, _ = walked(stream, 2, policy="replace(allow_collapse=true)", balance=False, epochs=1)
    assert part.measures["real_share"] == pytest.approx(288 / (288 + 60))


def test_every_policy_works() -> None:
    stream = class_incremental("digits", class_order="sorted")
    for policy in ("accumulate-subsample(size=100)", "fixed-real(share=0.5)", "sensitivity-subsample(size=100)"):
        part, learner, _ = walked(stream, 3, policy=policy, epochs=1, conditional=True)
        assert 0 < part.measures["rows"] <= 290
        assert 0.2 < part.measures["real_share"] < 0.6
        assert learner.predict(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_rows_that_are_chosen_are_those_of_the_policy() -> None:
    def some(first: int, n: int) -> Samples:
        x = torch.arange(first, first + n)[:, None].float()
        return Samples(x, torch.zeros(n).long(), torch.full((n,), -1), torch.ones(n).double())

    from clframe.generations.policies import Scores, policy

    kept, new = [some(0, 3), some(10, 3)], some(20, 2)
    rows, real, used = chosen(policy("replace(allow_collapse=true)"), kept, new, 0, None)
    assert rows.x.flatten().tolist() == [10, 11, 12, 20, 21]
    assert real.tolist() == [False] * 3 + [True] * 2
    assert used == [1]
    rows, real, used = chosen(policy("accumulate"), kept, new, 0, None)
    assert rows.x.flatten().tolist() == [0, 1, 2, 10, 11, 12, 20, 21]
    assert used == [0, 1]
    scores = Scores(np.zeros((8, 1), np.float32), np.array([0, 0, 100, 0, 0, 0, 0, 1.0]))
    rows, _, _ = chosen(policy("sensitivity-subsample(size=1, mixture=0.01)"), kept, new, 0, scores)
    assert 2 in rows.x.flatten().tolist()
    assert len(joined([new, *kept])) == 8


def test_groups_weigh_what_they_have_weighed() -> None:
    group, real = torch.tensor([0, 0, 1, 0, 1, 1]), torch.tensor([0, 0, 0, 1, 1, 1]).bool()
    found = balanced(torch.tensor([1.0, 3, 1, 1, 1, 2]).double(), group, real, torch.tensor([8.0, 5]), torch.tensor([7.0, 6]))
    assert found.tolist() == [2, 6, 5, 7, 2, 4]


def test_a_generator_that_is_told_classes_makes_them() -> None:
    stream = class_incremental("digits", class_order="sorted")
    part, learner, _ = walked(stream, 2, conditional=True, hidden=200, epochs=40)
    experience = stream.walked(batch_size=300).experiences[2]
    learner.begin(experience.train)
    recalled = part.recall(next(experience.steps())[1])
    assert recalled is not None
    assert recalled.x.shape == (len(recalled), 1, 8, 8)
    assert set(recalled.y.tolist()) == {0, 1, 2, 3}
    assert (recalled.index == -1).all()
    from sklearn.neighbors import KNeighborsClassifier

    data = load("digits").train
    known = KNeighborsClassifier(3).fit(data.fetch(torch.arange(len(data))).flatten(1).numpy(), data.y)
    assert (known.predict(recalled.x.flatten(1).numpy()) == recalled.y.numpy()).mean() > 0.85  # measured: 0.97
    assert recalled.weight is not None
    assert float(recalled.weight.sum()) == pytest.approx(2 * len(recalled))  # of the third experience: two thirds for the past


def test_labels_are_the_old_classifiers_answers_among_classes_met() -> None:
    stream = class_incremental("digits", class_order="sorted")
    part, learner, stream = walked(stream, 2)
    experience = stream.experiences[2]
    learner.begin(experience.train)
    batch = next(experience.steps())[1]
    with torch.no_grad():
        learner.model.head.weight.zero_()  # type: ignore[operator, union-attr]  # the network moves on, the labels stay
    recalled = part.recall(batch)
    assert recalled is not None
    answers = part.teacher(recalled.x)[:, :4].argmax(1)
    assert torch.equal(answers, recalled.y)


def test_tasks_come_with_what_is_recalled() -> None:
    for conditional in (True, False):
        part, learner, stream = walked(task_incremental("digits", class_order="sorted"), 2, conditional=conditional)
        learner.begin(stream.experiences[2].train)
        recalled = part.recall(next(stream.experiences[2].steps())[1])
        assert recalled is not None
        assert recalled.task is not None
        assert torch.equal(recalled.y // 2, recalled.task)  # the classes of each task
        assert set(recalled.task.tolist()) <= {0, 1}


def test_it_remembers_and_tells_how() -> None:
    options = {"evaluate": "boundaries", "epochs": 3, "batch_size": 10}
    words = "generative-replay(conditional=true,hidden=100,size=200)"
    result = clframe.run("split-digits(experiences=3)", words, **options)
    plain = clframe.run("split-digits(experiences=3)", "finetune", **options)
    assert result.metrics.acc > plain.metrics.acc + 0.3  # measured: 0.93 and 0.38
    terms = result.terms.groupby("term")
    names = {f"generative-replay/{name}" for name in ("kept", "rows", "real_share", "loss", "variance", "classes")}
    assert names <= set(result.terms.term)
    assert len(terms.get_group("generative-replay/rows")) == 2  # once for each generator that recalled
    kept = terms.get_group("generative-replay/kept")
    assert len(kept) > 100
    assert 0.8 < kept.value.mean() <= 1
    ratio = terms.get_group("generative-replay/variance").value
    assert ((ratio > 0.5) & (ratio < 1.5)).all()


def test_the_state_is_counted() -> None:
    part, learner, _ = walked(class_incremental("digits", class_order="sorted"), 2)
    shards, generator = 2 * 60 * (64 + 2 + 2 + 2) * 4, sum(v.numel() * 4 for v in part.weights.values())
    teacher = sum(v.numel() * v.element_size() for v in learner.model.state_dict().values())
    assert shards + generator + teacher <= part.state_bytes() <= shards + generator + teacher + 2000
    told, _, _ = walked(class_incremental("digits", class_order="sorted"), 2, conditional=True)
    assert told.state_bytes() < part.state_bytes() - teacher // 2


def test_domains_with_the_same_classes_are_kept_by_their_counts() -> None:
    part, _, _ = walked(permuted("digits", experiences=2, samples_per_experience=200), 2, conditional=True, epochs=1)
    assert part.measures["real_share"] == pytest.approx(0.5)
    assert part.seen[:, 2].sum() == 400


def test_the_variance_is_the_trace_of_the_covariance() -> None:
    x, weight = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), torch.rand(50).double()
    both = moments(x[:20], weight[:20]) + moments(x[20:], weight[20:])
    expected = np.cov(x.numpy().T, aweights=weight.numpy(), ddof=0).trace()
    assert variance(both) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "replace"}, "write replace"),
        ({"policy": "acumulate"}, "Did you mean 'accumulate'"),
        ({"size": 0}, "size must be a positive integer; got 0"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"new_share": 2.0}, "new_share must be a share"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ClframeError, match=message):
        GenerativeReplay(**options)


def test_inputs_that_do_not_vary_are_refused() -> None:
    x, y = np.ones((20, 3), dtype=np.float32), np.arange(20) % 4
    stream = class_incremental(from_arrays(x, y, x, y), experiences=2)
    with pytest.raises(DataError, match="must have inputs that vary; got 10 equal ones"):
        walked(stream, 1)
