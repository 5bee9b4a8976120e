"""A stream is a pure function, can be sought, and hides what it does not reveal."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clframe.data import Dataset, load
from clframe.errors import CompositionError, DataError, OptionError
from clframe.scenarios import AsGiven, Cumulative, Joint, Shuffled, Stream, class_incremental, gaussian, task_incremental
from clframe.scenarios.catalog import build
from clframe.types import Reveals

ORDERS = [Shuffled(), AsGiven(), Cumulative(), Joint()]


def ids_of(stream: Stream) -> list[int]:
    return [int(i) for e in stream.experiences for _, index in e.walk() for i in index]


@settings(max_examples=25, deadline=None)
@given(order=st.sampled_from(ORDERS), batch=st.integers(1, 40), epochs=st.integers(1, 3), seed=st.integers(0, 5))
def test_seek_gives_the_tail_of_the_walk_after_every_step(toy: Dataset, order: object, batch: int, epochs: int, seed: int) -> None:
    stream = dataclasses.replace(class_incremental(toy, experiences=3, seed=seed), order=order)
    stream = stream.walked(batch_size=batch, epochs=epochs)
    whole = [[(step, index.tolist()) for step, index in e.walk()] for e in stream.experiences]
    flat = [step for walk in whole for step, _ in walk]
    assert [s.n for s in flat] == list(range(1, stream.starts[-1] + 1))
    assert [s.last for s in flat] == [s.n in stream.starts[1:] for s in flat]
    for k, walk in enumerate(whole):
        for i, (step, _) in enumerate(walk):
            assert [(s, index.tolist()) for s, index in stream.experiences[k].walk(after=step)] == walk[i + 1 :]


def test_steps_deliver_the_samples_of_their_ids(toy: Dataset) -> None:
    stream = class_incremental(toy, experiences=2).walked(batch_size=7)
    for experience in stream.experiences:
        for _, batch in experience.steps():
            assert batch.x[:, 0].long().tolist() == batch.index.tolist()
            assert batch.y.tolist() == toy.train.y[batch.index.numpy()].tolist()
            assert batch.task is None


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_joint_sees_every_sample_exactly_epochs_times(toy: Dataset, epochs: int) -> None:
    stream = class_incremental(toy, experiences=3)
    joint = dataclasses.replace(stream, order=Joint()).walked(batch_size=8, epochs=epochs)
    assert (np.bincount(ids_of(joint), minlength=len(toy.train)) == epochs).all()


@pytest.mark.parametrize("epochs", [1, 2])
def test_cumulative_sees_everything_so_far_each_epoch(toy: Dataset, epochs: int) -> None:
    stream = dataclasses.replace(class_incremental(toy, experiences=3), order=Cumulative()).walked(batch_size=8, epochs=epochs)
    for k, e in enumerate(stream.experiences):
        seen = [int(i) for _, index in e.walk() for i in index]
        assert sorted(seen) == sorted(np.concatenate(stream.segments[: k + 1]).tolist() * epochs)


def test_epochs_and_experiences_have_orders_of_their_own(toy: Dataset) -> None:
    stream = class_incremental(toy, experiences=2).walked(batch_size=200, epochs=2)
    first, second = (index.tolist() for _, index in stream.experiences[0].walk())
    assert sorted(first) == sorted(second)
    assert first != second


def test_another_seed_of_the_walk_changes_the_order_but_not_the_segments(toy: Dataset) -> None:
    stream = class_incremental(toy, experiences=2)
    a, b = stream.walked(seed=1), stream.walked(seed=2)
    assert ids_of(a) != ids_of(b)
    assert all((x == y).all() for x, y in zip(a.segments, b.segments, strict=True))
    assert a.fingerprint() != b.fingerprint()
    assert a.fingerprint() == stream.walked(seed=1, batch_size=3).fingerprint()


def test_task_labels_reach_batches_only_where_revealed(toy: Dataset) -> None:
    stream = task_incremental(toy, experiences=3).walked(batch_size=200)
    for k, e in enumerate(stream.experiences):
        _, batch = next(e.steps())
        assert batch.task is not None
        assert batch.task.tolist() == [k] * len(batch)
        assert e.train.task == k


def test_a_learner_cannot_fetch_what_has_not_come(toy: Dataset) -> None:
    stream = class_incremental(toy, experiences=3)
    train = stream.experiences[1].train
    for k in (0, 1):
        assert len(train.fetch(torch.from_numpy(stream.segments[k]))) == len(stream.segments[k])
    with pytest.raises(CompositionError, match="a later experience"):
        train.fetch(torch.from_numpy(stream.segments[2][:1]))


def test_hidden_boundaries_hide_position_classes_and_passes(toy: Dataset) -> None:
    train = gaussian(toy, experiences=3).experiences[1].train
    assert (train.experience, train.classes, train.task, train.size) == (None, None, None, None)
    with pytest.raises(CompositionError, match="boundaries"):
        next(train.batches(4))


def test_online_refuses_a_second_epoch(toy: Dataset) -> None:
    stream = class_incremental(toy).once()
    assert stream.walked(epochs=1).starts[-1] > 0
    with pytest.raises(OptionError, match="epochs must be 1, because 'class-incremental' is online"):
        stream.walked(epochs=5)


def test_validation_takes_the_place_of_the_test(toy: Dataset) -> None:
    stream = class_incremental(toy, experiences=3, validation=0.25)
    tuned = stream.on_validation()
    for k, e in enumerate(tuned.experiences):
        assert set(e.test) == set(stream.validation[k])
        assert not set(e.test) & set(tuned.segments[k])
        assert set(tuned.data.test.y[e.test]) == set(e.classes)
    with pytest.raises(OptionError, match=r"Build it with validation=0\.1"):
        class_incremental(toy).on_validation()


def test_an_empty_experience_is_refused_with_its_number(toy: Dataset) -> None:
    none = np.array([], dtype=np.int64)
    some = np.array([0])
    with pytest.raises(DataError, match="experience 1 of 'mine' must hold at least one training sample; got 0"):
        Stream("mine", toy, [some, none], [some, some])
    with pytest.raises(DataError, match="experience 0 of 'mine' must hold at least one test sample; got 0"):
        Stream("mine", toy, [some], [none], Reveals())
    with pytest.raises(DataError, match="one array of ids an experience"):
        Stream("mine", toy, [some], [])


def test_a_slice_of_a_stream_is_the_same_experiences() -> None:
    whole = class_incremental("digits", class_order="sorted", validation=0.1)
    some = whole[1:3]
    assert [e.classes for e in some.experiences] == [(2, 3), (4, 5)]
    assert [e.task for e in some.experiences] == [1, 2]
    assert some.num_classes == 10
    assert np.array_equal(some.validation[0], whole.validation[1])
    assert len(whole[:]) == 5
    for wrong in (slice(5, None), slice(0, 4, 2), slice(2, 2)):
        with pytest.raises(OptionError, match="must be a stretch of the 5 experiences"):
            whole[wrong]
    with pytest.raises(TypeError, match=r"stream\.experiences\[1\]"):
        whole[1]  # type: ignore[index]


def test_some_classes_of_a_data_set_are_numbered_anew() -> None:
    stream = build("split-digits(classes=[7,3,5],experiences=3,class_order=sorted)")
    assert stream.data.train.class_names == ("7", "3", "5")
    whole = load("digits")
    assert (whole.train.y[stream.data.train.ids] == np.array([7, 3, 5])[stream.data.train.y]).all()  # type: ignore[attr-defined]
    assert stream.fingerprint() != build("split-digits(classes=[3,7,5],experiences=3,class_order=sorted)").fingerprint()
    assert [e.classes for e in build("permuted-digits(classes=0-2,experiences=2)").experiences] == [(0, 1, 2)] * 2
    for wrong in ("5-4", "3", "[1]", "[1,1]", "[8,10]"):
        with pytest.raises(OptionError, match="classes must be"):
            build(f"split-digits(classes={wrong})")
