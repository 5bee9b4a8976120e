"""In-memory sources: shapes, labels, normalisation, fingerprints, views and the split."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clframe.data import Dataset, Subset, TensorSource, column, from_arrays, split_test
from clframe.data.normalise import Affine, fit_affine
from clframe.errors import DataError, OptionError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(40) % 4


def test_uint8_images_get_channels_first_and_stay_uint8() -> None:
    source = TensorSource(IMAGES, LABELS)
    assert source.input_shape == (3, 6, 5)
    assert source._x.dtype == torch.uint8
    fetched = source.fetch(torch.tensor([7, 3]))
    assert fetched.dtype == torch.float32
    np.testing.assert_allclose(fetched.numpy(), IMAGES[[7, 3]].transpose(0, 3, 1, 2) / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((4, 6, 5), np.uint8, (1, 6, 5)),
        ((4, 6, 5, 1), np.uint8, (1, 6, 5)),
        ((4, 3, 6, 5), np.uint8, (3, 6, 5)),
        ((4, 6, 5, 3), np.float64, (3, 6, 5)),
        ((4, 6, 5), np.float32, (6, 5)),
        ((4, 7), np.float16, (7,)),
        ((4, 7), np.int64, (7,)),
    ],
)
def test_input_shapes(shape: tuple[int, ...], dtype: type, expected: tuple[int, ...]) -> None:
    source = TensorSource(np.ones(shape, dtype=dtype), [0, 1, 0, 1])
    assert source.input_shape == expected
    assert source.fetch(torch.tensor([0])).dtype == torch.float32


def test_torch_and_numpy_give_the_same_source() -> None:
    a = TensorSource(IMAGES, LABELS)
    b = TensorSource(torch.from_numpy(IMAGES), torch.from_numpy(LABELS))
    assert a.fingerprint() == b.fingerprint()


def test_the_caller_keeps_the_arrays() -> None:
    x, y = np.zeros((4, 2), dtype=np.float32), np.array([0, 1, 0, 1])
    source = TensorSource(x, y)
    x[:], y[:] = 9, 1
    assert source.fetch(torch.tensor([0])).sum() == 0
    assert source.y.tolist() == [0, 1, 0, 1]


def test_train_statistics_normalise_both_parts() -> None:
    data = from_arrays(IMAGES[:30], LABELS[:30], IMAGES[30:], LABELS[30:])
    train = data.train.fetch(torch.arange(30))
    torch.testing.assert_close(train.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.std((0, 2, 3), correction=0), torch.ones(3))
    reference = IMAGES[:30].reshape(-1, 3)
    expected = (IMAGES[35].transpose(2, 0, 1) - reference.mean(0)[:, None, None]) / reference.std(0)[:, None, None]
    np.testing.assert_allclose(data.test.fetch(torch.tensor([5]))[0].numpy(), expected, atol=1e-5)


def test_given_mean_and_std_are_in_unit_range() -> None:
    data = from_arrays(IMAGES, LABELS, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1))
    raw = from_arrays(IMAGES, LABELS, standardise=False).train.fetch(torch.tensor([0]))[0]
    expected = (raw - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.2, 0.1]).view(3, 1, 1)
    torch.testing.assert_close(data.train.fetch(torch.tensor([0]))[0], expected, atol=1e-5, rtol=0)


def test_floats_are_left_alone_unless_asked() -> None:
    x = RNG.normal(3, 2, (20, 4))
    ids = torch.arange(16)
    assert from_arrays(x, LABELS[:20]).train.fetch(ids).mean() > 2
    standard = from_arrays(x, LABELS[:20], standardise=True).train.fetch(ids)
    torch.testing.assert_close(standard.mean(0), torch.zeros(4), atol=1e-6, rtol=0)


def test_a_constant_channel_is_only_centred() -> None:
    x = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert fit_affine(x, standardise=True)(x).tolist() == [[-1.0, 0.0], [1.0, 0.0]]


@given(
    st.lists(st.integers(0, 39), min_size=1, max_size=40),
    st.floats(0.015625, 1, width=32, allow_nan=False),
    st.floats(-2, 2, width=32, allow_nan=False),
)
@settings(max_examples=50, deadline=None)
def test_a_sample_is_bit_equal_in_any_batch(ids: list[int], scale: float, shift: float) -> None:
    source = TensorSource(IMAGES, LABELS, affine=Affine(torch.full((3, 1, 1), scale), torch.full((3, 1, 1), shift)))
    whole = source.fetch(torch.arange(40))
    assert torch.equal(source.fetch(torch.tensor(ids)), whole[ids])


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_integer_labels_map_in_sorted_order(labels: list[int]) -> None:
    source = TensorSource(np.zeros((len(labels), 1)), labels)
    values = sorted(set(labels))
    assert source.class_names == tuple(str(v) for v in values)
    assert [values[i] for i in source.y] == labels
    assert source.y.dtype == np.int64


@pytest.mark.parametrize("labels", [["b", "a", "b"], np.array(["b", "a", "b"], dtype=object)])
def test_string_labels(labels: object) -> None:
    source = TensorSource(np.zeros((3, 1)), labels)
    assert (source.class_names, source.y.tolist()) == (("a", "b"), [1, 0, 1])


def test_class_names_fix_the_order() -> None:
    source = TensorSource(np.zeros((2, 1)), ["ant", "cat"], class_names=["cat", "ant"])
    assert source.y.tolist() == [1, 0]
    assert TensorSource(np.zeros((2, 1)), [2, 0], class_names=["a", "b", "c"]).y.tolist() == [2, 0]


def test_labels_of_shape_n_by_1_and_whole_floats_are_accepted() -> None:
    assert TensorSource(np.zeros((2, 1)), np.array([[0], [1]])).y.tolist() == [0, 1]
    assert TensorSource(np.zeros((2, 1)), np.array([0.0, 1.0])).y.tolist() == [0, 1]


def test_labels_of_train_and_test_are_mapped_together() -> None:
    data = from_arrays(np.zeros((3, 1)), [5, 7, 9], np.zeros((3, 1)), [9, 7, 5])
    assert (data.train.y.tolist(), data.test.y.tolist()) == ([0, 1, 2], [2, 1, 0])
    assert data.train.class_names == data.test.class_names == ("5", "7", "9")


@given(st.lists(st.integers(0, 3), min_size=12, max_size=80), st.sampled_from([0.1, 0.2, 0.5]), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_split_is_a_stratified_partition(labels: list[int], fraction: float, seed: int) -> None:
    source = TensorSource(np.arange(len(labels))[:, None], labels)
    train, test = split_test(source, fraction, seed)
    assert sorted([*train.ids, *test.ids]) == list(range(len(labels)))
    for c, size in enumerate(np.bincount(source.y)):
        expected = 0 if size == 1 else min(size - 1, max(1, round(fraction * size)))
        assert (test.y == c).sum() == expected
    again = split_test(source, fraction, seed)
    assert again[1].ids.tolist() == test.ids.tolist()


def test_split_keeps_every_experience_in_test() -> None:
    experience = np.repeat([0, 1, 2, 3], 10)
    data = from_arrays(IMAGES, np.arange(40) % 2, columns={"experience": experience})
    assert set(column(data.test, "experience")) == {0, 1, 2, 3}
    assert len(data.test) == 8


def test_subset_is_a_view() -> None:
    source = TensorSource(IMAGES, LABELS, task=LABELS, weight=np.ones(40), columns={"experience": np.arange(40)})
    view = Subset(source, np.array([9, 4, 4]))
    assert torch.equal(view.fetch(torch.tensor([0, 2])), source.fetch(torch.tensor([9, 4])))
    assert view.y.tolist() == LABELS[[9, 4, 4]].tolist()
    assert view.columns["experience"].tolist() == [9, 4, 4]
    assert view.weight is not None
    assert view.to(torch.device("cpu")) is view
    assert view.fingerprint() != Subset(source, np.array([4, 9, 4])).fingerprint()


def test_fingerprint_sees_every_difference() -> None:
    changed = IMAGES.copy()
    changed[39, 5, 4, 2] ^= 1
    prints = {
        TensorSource(IMAGES, LABELS).fingerprint(),
        TensorSource(changed, LABELS).fingerprint(),
        TensorSource(IMAGES, LABELS[::-1]).fingerprint(),
        TensorSource(IMAGES, LABELS, task=LABELS).fingerprint(),
        TensorSource(IMAGES, LABELS, weight=np.ones(40)).fingerprint(),
        TensorSource(IMAGES, LABELS, class_names="abcd").fingerprint(),
        TensorSource(IMAGES.astype(np.float32), LABELS).fingerprint(),
        TensorSource(IMAGES, LABELS, columns={"experience": LABELS}).fingerprint(),
        TensorSource(IMAGES, LABELS, affine=Affine(torch.tensor(2.0), torch.tensor(0.0))).fingerprint(),
    }
    assert len(prints) == 9
    assert TensorSource(IMAGES, LABELS).fingerprint() in prints


def test_moving_keeps_fingerprint_and_labels() -> None:
    source = TensorSource(IMAGES, LABELS)
    moved = source.to(torch.device("meta"))
    assert moved.device.type == "meta"
    assert moved.fetch(torch.tensor([0, 1])).shape == (2, 3, 6, 5)
    assert source.to(torch.device("cpu")) is source


X = np.zeros((4, 2))
ERRORS = {
    "lengths": (lambda: from_arrays(X, [0, 1, 0]), "x and y must have the same length; got 4 and 3"),
    "empty": (lambda: from_arrays(X[:0], []), "at least one sample; got 0"),
    "range": (lambda: TensorSource(X, [0, 1, 5, 0], class_names=["a", "b"]), r"in 0\.\.1 .* got 5 in row 2"),
    "negative": (lambda: TensorSource(X, [0, -1, 1, 0], class_names=["a", "b"]), "got -1 in row 1"),
    "unknown class": (lambda: TensorSource(X, ["a", "b", "c", "a"], class_names=["a", "b"]), "got 'c' in row 2"),
    "float labels": (lambda: TensorSource(X, [0.0, 0.5, 1.0, 0.0]), r"got 0\.5 in row 1"),
    "nan label": (lambda: TensorSource(X, [0.0, 1.0, float("nan"), 0.0]), "got nan in row 2"),
    "missing label": (lambda: TensorSource(X, np.array(["a", None, "b", "a"], dtype=object)), "got None in row 1"),
    "one-hot": (lambda: TensorSource(X, np.eye(4)), r"got shape \(4, 4\)"),
    "mixed": (lambda: from_arrays(X, [0, 1, 0, 1], X, ["a", "b", "a", "b"]), "got integers and strings"),
    "nan": (lambda: TensorSource([[0.0], [np.nan]], [0, 1]), "got nan in row 1"),
    "inf": (lambda: TensorSource([[np.inf], [0.0]], [0, 1]), "got inf in row 0"),
    "text": (lambda: TensorSource(np.array([["a"], ["b"]]), [0, 1]), "x must hold numbers"),
    "ragged": (lambda: TensorSource([[1, 2], [3]], [0, 1]), "rows of one length"),
    "flat": (lambda: TensorSource(np.zeros(4), [0, 1, 0, 1]), r"x must have shape \(N, \.\.\.\)"),
    "weight": (lambda: TensorSource(X, [0, 1, 0, 1], weight=[1, 1, -2, 1]), "got -2 in row 2"),
    "weights": (lambda: TensorSource(X, [0, 1, 0, 1], weight=[1.0]), "x and weight must have the same length"),
    "task": (lambda: TensorSource(X, [0, 1, 0, 1], task=[0, 0, -1, 0]), "task must hold integers from 0"),
    "columns": (lambda: TensorSource(X, [0, 1, 0, 1], columns={"experience": [1]}), "column 'experience'"),
    "missing in test": (lambda: from_arrays(X, [0, 1, 2, 2], X, [0, 1, 0, 1]), "'2' got none in test"),
    "missing in train": (lambda: from_arrays(X, [0, 1, 0, 1], X, [0, 1, 2, 2]), "'2' got none in train"),
    "single": (lambda: from_arrays(X, [0, 0, 0, 1]), "'1' got none in test"),
    "shapes": (lambda: from_arrays(X, [0, 1, 0, 1], np.zeros((4, 3)), [0, 1, 0, 1]), "input_shape must be the same"),
    "column": (lambda: column(TensorSource(X, [0, 1, 0, 1]), "experience"), "got columns: none"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_sentences(case: str) -> None:
    call, message = ERRORS[case]
    with pytest.raises(DataError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "]"))


def test_dataset_checks_labels_of_any_source() -> None:
    source = TensorSource(X, [0, 1, 0, 1])
    bad = TensorSource(X, [0, 1, 0, 1])
    bad.y = np.array([0, 1, 0, 2])
    with pytest.raises(DataError, match=r"labels must be in 0\.\.1; got 2 in the test part"):
        Dataset("d", source, bad)


def test_allow_missing() -> None:
    data = from_arrays(X, [0, 1, 2, 2], X, [0, 1, 0, 1], allow_missing=True)
    assert data.num_classes == 3
    assert data.to(torch.device("cpu")).allow_missing


@pytest.mark.parametrize(
    "options",
    [
        {"mean": 0.5},
        {"mean": 0.5, "std": 0.0},
        {"mean": (0.5, 0.5, 0.5, 0.5), "std": 1.0},
        {"test_fraction": 0.0},
        {"x_test": IMAGES},
    ],
)
def test_wrong_options(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        from_arrays(IMAGES, LABELS, **options)  # type: ignore[arg-type]
