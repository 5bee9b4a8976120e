"""Domains are virtual: ids and labels by arithmetic, inputs transformed alike in training and test."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clframe.data import Dataset, from_arrays
from clframe.errors import DataError, OptionError
from clframe.scenarios import colour, domains, permuted, rotated
from clframe.scenarios.domain_transforms import ColourShift, Permutation, Rotation


def fetch(source: object, *ids: int) -> torch.Tensor:
    return source.fetch(torch.tensor(ids))  # type: ignore[attr-defined, no-any-return]


THREE = {
    "permuted": lambda data: permuted(data, experiences=3),
    "colour": lambda data: colour(data, experiences=3),
    "rotated": lambda data: rotated(data, angles=[0, 40, 90]),
}


@pytest.mark.parametrize("kind", THREE)
def test_ids_labels_and_tasks_of_domains(images: Dataset, kind: str) -> None:
    stream = THREE[kind](images)
    source, rows = stream.data.train, len(images.train)
    assert len(source) == 3 * rows
    assert (source.y == np.tile(images.train.y, 3)).all()
    assert (source.task == np.repeat([0, 1, 2], rows)).all()
    assert [ids.tolist() for ids in stream.segments] == [list(range(d * rows, (d + 1) * rows)) for d in range(3)]
    assert [len(ids) for ids in stream.tests] == [len(images.test)] * 3
    assert (fetch(source, 5) == fetch(images.train, 5)).all()
    assert stream.reveals.names() == {"boundaries", "classes"}


@pytest.mark.parametrize("make", [permuted, colour, lambda d: rotated(d, step=25)])
def test_transforms_are_the_same_for_train_and_test_and_differ_between_domains(images: Dataset, make: object) -> None:
    stream = make(images)  # type: ignore[operator]
    rows, tests = len(images.train), len(images.test)
    for d in range(5):
        assert torch.equal(fetch(stream.data.train, d * rows + 3), fetch(stream.data.test, d * tests + 3))
    views = [fetch(stream.data.train, d * rows + 3) for d in range(5)]
    assert all(not torch.equal(views[i], views[j]) for i in range(5) for j in range(i))


@pytest.mark.parametrize("make", [permuted, colour, lambda d: rotated(d, step=25)])
@settings(max_examples=20, deadline=None)
@given(ids=st.lists(st.integers(0, 199), min_size=1, max_size=20))
def test_a_sample_is_bit_equal_in_any_batch(images: Dataset, make: object, ids: list[int]) -> None:
    source = make(images).data.train  # type: ignore[operator]
    together = fetch(source, *ids)
    assert torch.equal(together, torch.cat([fetch(source, i) for i in ids]))
    assert together.dtype == torch.float32


def test_permutations_move_pixels_and_keep_channels_together() -> None:
    transform = Permutation.drawn((3, 6, 6), domains=4, seed=1)
    x = torch.arange(3 * 36.0).reshape(1, 3, 6, 6)
    for d in range(4):
        out = transform(x, torch.tensor([d])).flatten(2)[0]
        assert torch.equal(out[0].sort().values, torch.arange(36.0))
        assert torch.equal(out[1], out[0] + 36)
    assert len({tuple(row.tolist()) for row in transform.table}) == 4
    more = Permutation.drawn((3, 6, 6), domains=9, seed=1)
    assert torch.equal(more.table[:4], transform.table)


def test_rotation_by_zero_is_the_identity_and_quarter_turns_are_rot90() -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    transform = Rotation((3, 8, 8), [0, 360, 90, 180, -90])
    for d, turns in enumerate([0, 0, 1, 2, 3]):
        out = transform(x, torch.tensor([d, d]))
        if turns == 0:
            assert torch.equal(out, x)
        torch.testing.assert_close(out, torch.rot90(x, turns, (2, 3)), atol=1e-4, rtol=1e-4)
    mixed = transform(x, torch.tensor([0, 2]))
    assert torch.equal(mixed[0], x[0])


def test_rotation_of_oblong_images_keeps_shapes_round() -> None:
    x = torch.zeros(1, 1, 9, 15)
    x[0, 0, 4, 4:11] = 1.0
    out = Rotation((1, 9, 15), [90])(x, torch.tensor([0]))
    assert out[0, 0, 1:8, 7].min() > 0.99
    assert float(out.sum()) == pytest.approx(7.0, abs=1e-3)


def test_colour_shift_is_affine_and_bounded() -> None:
    transform = ColourShift.drawn((3, 4, 4), domains=50, strength=0.3, seed=0)
    assert torch.equal(transform.scale[0], torch.ones(3))
    assert torch.equal(transform.shift[0], torch.zeros(3))
    assert transform.scale.log().abs().max() <= 0.3 + 1e-6
    assert transform.shift.abs().max() <= 0.6 + 1e-6
    assert transform.shift.std(dim=1)[1:].min() > 0
    grey = ColourShift.drawn((1, 4, 4), domains=20, strength=0.3, seed=0)
    assert grey.shift.abs().max() <= 0.3 + 1e-6


def test_shares_of_rows(images: Dataset) -> None:
    rows = len(images.train)
    some = permuted(images, experiences=3, samples_per_experience=[10, 20, 5])
    assert [len(ids) for ids in some.segments] == [10, 20, 5]
    assert [set(ids // rows) for ids in some.segments] == [{0}, {1}, {2}]
    dealt = permuted(images, experiences=3, disjoint=True, samples_per_experience=10)
    assert np.bincount(np.concatenate(dealt.segments) % rows).max() == 1
    for options in ({"samples_per_experience": 41}, {"samples_per_experience": [1, 2]}, {"samples_per_experience": 0}):
        with pytest.raises(OptionError, match="samples_per_experience must be from 1 to 40 rows"):
            permuted(images, experiences=3, **options)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="40 together"):
        permuted(images, experiences=3, disjoint=True, samples_per_experience=14)


def test_held_out_rows_are_trained_on_in_no_domain(images: Dataset) -> None:
    stream = permuted(images, experiences=3, validation=0.25)
    rows = len(images.train)
    held = {int(i) % rows for ids in stream.validation for i in ids}
    assert len(held) == 10
    assert not held & {int(i) % rows for ids in stream.segments for i in ids}
    assert np.bincount(images.train.y[sorted(held)]).tolist() == [5, 5]


def test_own_domains_are_joined(images: Dataset) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (12, 6, 6, 3), dtype=np.uint8)
    weight = np.full(12, 2.0)
    other = from_arrays(x, np.arange(12) % 2, x[:4], np.arange(4) % 2, name="other", weight=weight)
    stream = domains([images, other, images], validation=0.25)
    source = stream.data.train
    assert len(source) == 92
    mixed = fetch(source, 41, 3, 60, 40)
    parts = [(other, 1), (images, 3), (images, 8), (other, 0)]
    assert torch.equal(mixed, torch.cat([fetch(d.train, i) for d, i in parts]))
    assert source.task is not None
    assert source.task[[39, 40, 52]].tolist() == [0, 1, 2]
    assert source.weight is not None
    assert source.weight[[39, 40, 52]].tolist() == [1, 2, 1]
    assert [len(ids) for ids in stream.tests] == [10, 4, 10]
    assert [len(a) + len(b) for a, b in zip(stream.segments, stream.validation, strict=True)] == [40, 12, 40]
    assert source.fingerprint() != domains([other, images, images]).data.train.fingerprint()


def test_bad_domains_are_refused(images: Dataset, toy: Dataset) -> None:
    with pytest.raises(DataError, match="domains must have the same input_shape"):
        domains([images, toy])
    with pytest.raises(DataError, match="domains must name at least one data set"):
        domains([])
    with pytest.raises(DataError, match=r"must be images of shape \(C, H, W\); got \(1,\)"):
        rotated(toy, step=30)
    with pytest.raises(DataError, match="images of shape"):
        colour(toy)
    for options in ({}, {"angles": [0, 1], "step": 3}):
        with pytest.raises(OptionError, match="one of angles and step must be given"):
            rotated(images, **options)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="angles must be at least one finite number"):
        rotated(images, angles=[])
    with pytest.raises(OptionError, match="strength must be"):
        colour(images, strength=-1)
    with pytest.raises(OptionError, match="experiences must be an integer, 1 or more; got 0"):
        permuted(images, experiences=0)


def test_fingerprints_tell_transforms_apart(images: Dataset) -> None:
    prints = {
        rotated(images, step=10).data.fingerprint(),
        rotated(images, step=11).data.fingerprint(),
        permuted(images, seed=0).data.fingerprint(),
        permuted(images, seed=1).data.fingerprint(),
        colour(images, seed=0).data.fingerprint(),
    }
    assert len(prints) == 5
