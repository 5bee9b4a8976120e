"""What each kind promises about which sample comes when."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clframe.data import Dataset
from clframe.errors import DataError, OptionError
from clframe.scenarios import (
    Stream,
    blurry,
    class_incremental,
    data_incremental,
    domains,
    explicit,
    from_table,
    gaussian,
    long_tailed,
    permuted,
    recurring,
    task_incremental,
)
from clframe.scenarios.blurry import exchanged

ONCE: dict[str, Callable[..., Stream]] = {
    "class-incremental": class_incremental,
    "task-incremental": task_incremental,
    "data-incremental": data_incremental,
    "recurring": recurring,
    "blurry": lambda data, **options: blurry(data, mixing=0.3, **options),
    "gaussian": gaussian,
    "disjoint domains": lambda data, **options: permuted(data, disjoint=True, **options),
}
ALL = ONCE | {"permuted": permuted, "long-tailed": long_tailed}


def visits(stream: Stream, rows: int) -> np.ndarray:
    """How often each row comes as a training sample of any domain."""
    return np.bincount(np.concatenate(stream.segments) % rows, minlength=rows)


@pytest.mark.parametrize("kind", ONCE)
@settings(max_examples=15, deadline=None)
@given(experiences=st.integers(3, 6), validation=st.sampled_from([0.0, 0.2]), seed=st.integers(0, 20))
def test_every_sample_comes_once_in_training_or_validation(
    toy: Dataset, kind: str, experiences: int, validation: float, seed: int
) -> None:
    stream = ONCE[kind](toy, experiences=experiences, validation=validation, seed=seed)
    rows = len(toy.train)
    held = np.concatenate(stream.validation) % rows if validation else np.array([], dtype=np.int64)
    assert (visits(stream, rows) + np.bincount(held, minlength=rows) == 1).all()
    assert len(stream) == len(stream.tests) == experiences
    assert (len(held) > 0) == (validation > 0)


@pytest.mark.parametrize("kind", ALL)
def test_a_stream_is_a_pure_function_of_data_options_and_seed(toy: Dataset, kind: str) -> None:
    def make(seed: int) -> Stream:
        return ALL[kind](toy, experiences=3, validation=0.2, seed=seed)

    assert make(0).fingerprint() == make(0).fingerprint()
    assert make(0).fingerprint() != make(1).fingerprint()
    a, b = (np.concatenate([index for e in make(s).experiences for _, index in e.walk()]) for s in (0, 1))
    assert len(a) != len(b) or (a != b).any()


@pytest.mark.parametrize("kind", ["class-incremental", "task-incremental", "blurry", "gaussian"])
def test_test_sets_are_those_of_the_tasks_and_cover_the_test_once(toy: Dataset, kind: str) -> None:
    stream = ONCE[kind](toy, experiences=3, class_order=[5, 0, 4, 1, 3, 2])
    assert [sorted(set(toy.test.y[ids])) for ids in stream.tests] == [[0, 5], [1, 4], [2, 3]]
    assert sorted(np.concatenate(stream.tests)) == list(range(len(toy.test)))


def test_class_orders_and_unequal_sizes(toy: Dataset) -> None:
    stream = class_incremental(toy, classes_per_experience=[3, 1, 2], class_order=[4, 2, 0, 1, 3, 5])
    assert [e.classes for e in stream.experiences] == [(0, 2, 4), (1,), (3, 5)]
    with pytest.raises(OptionError, match="experiences must be from 1 to the number of classes, 6; got 7"):
        class_incremental(toy, experiences=7)
    with pytest.raises(OptionError, match=r"each of the classes 0..5 once"):
        class_incremental(toy, class_order=[0, 1, 2, 3, 4, 4])
    with pytest.raises(OptionError, match="They add up to 5"):
        class_incremental(toy, classes_per_experience=[3, 2])


def test_data_incremental_chunks_and_tests(toy: Dataset) -> None:
    equal = data_incremental(toy, experiences=7)
    assert {len(ids) for ids in equal.segments} == {14, 15}
    assert all(len(ids) == len(toy.test) for ids in equal.tests)
    unequal = data_incremental(toy, samples_per_experience=[50, 1, 10])
    assert [len(ids) for ids in unequal.segments] == [50, 1, 10]
    assert visits(unequal, len(toy.train)).max() == 1
    with pytest.raises(OptionError, match="number of training samples, 99; got 100"):
        data_incremental(toy, experiences=100)
    with pytest.raises(OptionError, match="add up to 100"):
        data_incremental(toy, samples_per_experience=[50, 50])


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=2, max_size=6),
    mixing=st.floats(0, 1),
    seed=st.integers(0, 100),
)
def test_mixing_exchanges_exact_counts(sizes: list[int], mixing: float, seed: int) -> None:
    ends = np.cumsum(sizes)
    segments = [np.arange(e - s, e) for e, s in zip(ends, sizes, strict=True)]
    counts = [round(mixing * s) for s in sizes]
    if 2 * max(counts) > sum(counts):
        with pytest.raises(OptionError, match="no experience gives more than all others"):
            exchanged(segments, mixing, seed)
        return
    mixed = exchanged(segments, mixing, seed)
    assert [len(ids) for ids in mixed] == sizes
    assert sorted(np.concatenate(mixed)) == list(range(sum(sizes)))
    assert [int((~np.isin(new, old)).sum()) for new, old in zip(mixed, segments, strict=True)] == counts


def test_blurry_hides_boundaries_unless_told_and_bounds_the_mixing(toy: Dataset) -> None:
    assert blurry(toy, experiences=3).reveals.names() == frozenset()
    assert blurry(toy, experiences=3, reveal_boundaries=True).reveals.names() == {"boundaries", "classes"}
    assert blurry(toy, experiences=3, mixing=0.0).segments[0].tolist() == class_incremental(toy, experiences=3).segments[0].tolist()
    for wrong in (-0.1, 1.5):
        with pytest.raises(OptionError, match=r"mixing must be a share in \[0, 1\]; got"):
            blurry(toy, mixing=wrong)


@pytest.mark.parametrize("centres", ["task", "class"])
def test_gaussian_classes_come_in_the_order_of_their_centres(toy: Dataset, centres: str) -> None:
    stream = gaussian(toy, experiences=3, class_order=[5, 0, 4, 1, 3, 2], centres=centres, width=0.3, seed=2)
    y = toy.train.y[np.concatenate(stream.segments)]
    mean = [np.flatnonzero(y == c).mean() for c in (5, 0, 4, 1, 3, 2)]
    groups = [np.mean(mean[i : i + 2]) for i in (0, 2, 4)] if centres == "task" else mean
    assert groups == sorted(groups)
    sizes = [len(ids) for ids in stream.segments]
    assert max(sizes) - min(sizes) <= 1


def test_gaussian_is_walked_in_time_order_and_once(toy: Dataset) -> None:
    stream = gaussian(toy, experiences=3, width=0.1)
    assert stream.online
    for k, e in enumerate(stream.experiences):
        assert [int(i) for _, index in e.walk() for i in index] == stream.segments[k].tolist()
    overlaps = [len({int(c) for c in toy.train.y[s]}) for s in gaussian(toy, experiences=3, width=3.0).segments]
    assert min(overlaps) > 2
    with pytest.raises(OptionError, match="width must be a positive number"):
        gaussian(toy, width=0)
    with pytest.raises(OptionError, match="centres must be 'task' or 'class'"):
        gaussian(toy, centres="tasks")  # type: ignore[arg-type]


@pytest.mark.parametrize("tail", ["ordered", "shuffled"])
def test_long_tail_counts_decay_exponentially(tail: str, toy: Dataset) -> None:
    order = [5, 4, 3, 2, 1, 0]
    stream = long_tailed(toy, imbalance=8, tail=tail, experiences=3, class_order=order, seed=4)
    counts = np.bincount(toy.train.y[np.concatenate(stream.segments)], minlength=6)
    wanted = [round(24 * 8 ** (-r / 5)) for r in range(6)]
    assert wanted == [24, 16, 10, 7, 5, 3]
    if tail == "ordered":
        assert counts[order].tolist() == wanted
    else:
        available = np.bincount(toy.train.y)
        assert counts.max() / counts.min() > 2
        assert all(count in wanted or count == available[c] for c, count in enumerate(counts))
    assert visits(stream, len(toy.train)).max() == 1
    assert sum(map(len, stream.tests)) == len(toy.test)
    with pytest.raises(OptionError, match=r"imbalance must be a number, 1 or more; got 0.5"):
        long_tailed(toy, imbalance=0.5)
    with pytest.raises(OptionError, match="tail must be"):
        long_tailed(toy, tail="up")  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(experiences=st.integers(3, 9), size=st.integers(2, 6), seed=st.integers(0, 50))
def test_recurring_deals_classes_evenly(toy: Dataset, experiences: int, size: int, seed: int) -> None:
    stream = recurring(toy, experiences=experiences, classes_per_experience=size, seed=seed)
    classes = [e.classes for e in stream.experiences]
    count = np.bincount(np.concatenate(classes), minlength=6)
    assert {len(c) for c in classes} == {size}
    assert count.min() >= 1
    assert count.max() - count.min() <= 1
    for c, ids in zip(classes, stream.tests, strict=True):
        assert set(toy.test.y[ids]) == set(c)


def test_recurring_can_repeat_all_samples_and_take_a_schedule(toy: Dataset) -> None:
    stream = recurring(toy, schedule=[[0, 1], [2], [0, 2]], repeat=True, validation=0.2)
    held = np.unique(np.concatenate(stream.validation))
    came = visits(stream, len(toy.train))
    assert not came[held].any()
    for c, times in ((0, 2), (1, 1), (2, 2), (3, 0)):
        ids = np.setdiff1d(np.flatnonzero(toy.train.y == c), held)
        assert (came[ids] == times).all()
    dealt = recurring(toy, schedule=[[0, 1], [2], [0, 2]])
    assert set(visits(dealt, len(toy.train))[toy.train.y < 3]) == {1}
    with pytest.raises(OptionError, match=r"schedule\[1\] must be some of the classes 0..5"):
        recurring(toy, schedule=[[0], [6]])
    with pytest.raises(OptionError, match="at least 6 in all"):
        recurring(toy, experiences=2, classes_per_experience=2)
    with pytest.raises(OptionError, match="at most 9 visits of class 0"):
        recurring(toy, schedule=[[0]] * 10)


def test_a_table_says_itself_what_comes_when(days: Dataset) -> None:
    stream = from_table(days, column="day")
    assert [len(ids) for ids in stream.segments] == [6, 9, 15]
    assert [ids.tolist() for ids in stream.tests] == [[0, 1], [2, 3], [4, 5]]
    back = from_table(days, column="day", order=["wed", "mon", "tue"], reveal_task=True, validation=0.2)
    assert [len(a) + len(b) for a, b in zip(back.segments, back.validation, strict=True)] == [15, 6, 9]
    assert back.reveals.task_test
    assert [len(ids) for ids in domains(days, column="day").segments] == [6, 9, 15]
    with pytest.raises(DataError, match="there must be a column 'hour'"):
        from_table(days, column="hour")
    with pytest.raises(OptionError, match="each value of column 'day' once"):
        from_table(days, column="day", order=["mon", "tue"])


def test_an_experience_without_test_rows_is_refused(days: Dataset) -> None:
    from clframe.data import Subset

    cut = Dataset("days", days.train, Subset(days.test, np.arange(4)))
    with pytest.raises(DataError, match="got 'wed' in column 'day' without a test row"):
        from_table(cut, column="day")
    cut = Dataset("days", Subset(days.train, np.arange(15)), days.test)
    with pytest.raises(DataError, match="got 'wed' in column 'day' without a training row"):
        from_table(cut, column="day")


def test_explicit_experiences(toy: Dataset) -> None:
    stream = explicit(toy, experiences=[{"classes": [0, 1]}, {"train": [3, 1, 2], "test": [5]}, {"classes": ["2"], "test": [7]}])
    assert set(toy.train.y[stream.segments[0]]) == {0, 1}
    assert stream.segments[1].tolist() == [1, 2, 3]
    assert [ids.tolist() for ids in stream.tests[1:]] == [[5], [7]]


@pytest.mark.parametrize(
    ("experiences", "message"),
    [
        ([], "experiences must be a list with one mapping an experience"),
        ([{"clases": [1]}], r"experiences\[0\] must be a known name; got 'clases'. Did you mean 'classes'"),
        ([{"classes": [0]}, {"classes": [9]}], r"experiences\[1\].classes must be classes in 0..5; got 9"),
        ([{"classes": ["cat"]}], r"experiences\[0\].classes must be a known name; got 'cat'"),
        ([{"train": [0, 99], "test": [0]}], r"experiences\[0\].train must be a list of ids in 0..98, each once; got 99"),
        ([{"train": [0, 0], "test": [0]}], "1 repeated ids"),
        ([{"train": [0, 1]}], r"experiences\[0\] must be classes or ids"),
        ([{"train": [], "test": [1]}], "Name at least one id"),
        ([3], r"experiences\[0\] must be a mapping"),
        ([{"classes": [True]}], "an integer; got True"),
    ],
)
def test_explicit_mistakes_are_named(toy: Dataset, experiences: list[object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        explicit(toy, experiences=experiences)  # type: ignore[arg-type]


def test_a_sample_in_two_tasks_is_refused_where_the_task_is_revealed(toy: Dataset) -> None:
    twice = [{"classes": [0, 1]}, {"classes": [1, 2]}]
    assert len(explicit(toy, experiences=twice)) == 2
    with pytest.raises(OptionError, match="one task where the task is revealed"):
        explicit(toy, experiences=twice, reveal_task=True)
    assert len(explicit(toy, experiences=[{**e, "task": 0} for e in twice], reveal_task=True)) == 2


def test_long_streams_hold_their_partition(toy: Dataset) -> None:
    stream = data_incremental("digits", experiences=1000, seed=1)
    assert len(stream) == 1000
    assert sorted(np.concatenate(stream.segments)) == list(range(1438))
    assert stream.tests[0] is stream.tests[999]
