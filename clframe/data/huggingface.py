"""Any `datasets.Dataset`: Arrow-backed rows, decoded on fetch; and data sets of the Hugging Face hub by name."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from clframe.data.arrays import channels_first, check_finite
from clframe.data.dataset import Dataset
from clframe.data.faults import reason
from clframe.data.hashing import spaced
from clframe.data.images import ImageForm, Size, image_form
from clframe.data.lazy import SAMPLED_ROWS, CachedRows, Rows, lazy_dataset
from clframe.data.samples import Array, Samples, encode_labels, make_samples
from clframe.errors import DataError
from clframe.types import Ids

TEST_SPLITS = ("test", "validation", "valid", "val")
REACH_SECONDS = 5.0


@final
class ArrowImages:
    """An image column, decoded when it is read."""

    def __init__(self, data: Any, column: str, form: ImageForm, name: str) -> None:
        self._data, self._column = data.select_columns([column]), column
        self.form, self.name = form, name
        self.shape: tuple[int, ...] = (len(data), *form.shape)

    def read(self, ids: Ids) -> Array:
        """The images with these ids, uint8 (B, C, H, W)."""
        images = _decoded(self._data, self._column, ids, self.name)
        rows = [self.form.pixels(image, f"{self.name}, row {i}") for image, i in zip(images, ids, strict=True)]
        return np.stack(rows)


@final
class ArrowFeatures:
    """Numeric columns side by side; a single column keeps its shape."""

    def __init__(self, data: Any, columns: Sequence[str], name: str) -> None:
        self._data, self.columns, self.name = data.select_columns(list(columns)).with_format("numpy"), tuple(columns), name
        self.shape = (len(data), *self.read(np.zeros(1, dtype=np.int64)).shape[1:])
        check_finite(self.read(spaced(len(data), SAMPLED_ROWS)), name)

    def read(self, ids: Ids) -> Array:
        """The rows with these ids, float32, or uint8 for a single column of images."""
        batch = self._data[ids.tolist()]
        parts = [self._numbers(column, np.asarray(batch[column])) for column in self.columns]
        if len(parts) == 1 and parts[0].ndim > 1:
            only = parts[0]
            return channels_first(only if only.dtype == np.uint8 else only.astype(np.float32))
        return np.concatenate([part.reshape(len(ids), -1).astype(np.float32) for part in parts], axis=1)

    def _numbers(self, column: str, values: Array) -> Array:
        if values.dtype.kind not in "iufb":
            raise DataError(
                f"{self.name}: column {column!r} must hold numbers, as many in each row; got {values.dtype}. "
                "Encode it as numbers, or name the feature columns: columns=[...]."
            )
        # The numpy format widens every integer to int64.
        return values.astype(np.uint8) if getattr(self._data.features[column], "dtype", None) == "uint8" else values


def from_huggingface(
    data: Any,
    *,
    label: str = "label",
    image: str | None = None,
    columns: Sequence[str] | None = None,
    task: str | None = None,
    weight: str | None = None,
    experience: str | None = None,
    name: str = "huggingface",
    size: Size | None = None,
    standardise: bool = True,
    cache_bytes: int = 1 << 30,
    test_fraction: float = 0.2,
    seed: int = 0,
    allow_missing: bool = False,
) -> Dataset:
    """A data set from a `datasets.Dataset`, or a `DatasetDict` with a train and a test (or validation) split.

    Args:
        data: the data set; its rows stay in Arrow and are decoded when asked for.
        label: column of the labels: class labels, integers or strings.
        image: column of the images; by default the one that there is, if any.
        columns: feature columns where there is no image; by default all others, which must then be numbers or equally long
            lists of numbers.
        task: column of the task labels; numbered 0, 1, ... in sorted order.
        weight: column of the sample weights.
        experience: column that says which experience a row belongs to; scenarios read it with `column(source, "experience")`.
        name: a short name for messages and reports.
        size: resize every image to size x size or (height, width).
        standardise: to mean 0 and deviation 1 per channel or feature, measured on 5,000 evenly spaced training rows.
        cache_bytes: most memory for decoded rows, per part; 0 decodes every time.
        test_fraction: share of each class set apart where there is no test split.
        seed: draws the test part.
        allow_missing: accept classes without training or test samples.

    Raises:
        DataError: a missing column, a column that is not numbers, an image of another size than the first.

    Example:
        >>> import datasets
        >>> table = datasets.Dataset.from_dict({"u": range(10), "v": range(10), "label": ["a", "b"] * 5})
        >>> sorted(from_huggingface(table).train.class_names)
        ['a', 'b']
    """
    splits = _splits(data, name)
    for wanted in (label, image, task, weight, experience, *(columns or ())):
        _check_column(splits[0], wanted, name)
    special = [c for c in (label, task, weight, experience) if c is not None]
    image = image if image is not None or columns is not None else _image_column(splits[0], name)
    if image is not None:
        form = _form(splits[0], image, size, name)
        rows: list[Rows] = [ArrowImages(split, image, form, name) for split in splits]
    else:
        features = [c for c in splits[0].column_names if c not in special] if columns is None else list(columns)
        if not features:
            raise DataError(f"{name}: there must be a feature column; got only {', '.join(special)}. Add one.")
        rows = [ArrowFeatures(split, features, name) for split in splits]
    samples = _samples(splits, label, task, weight, experience, name)
    return lazy_dataset(
        name,
        [(CachedRows(r, cache_bytes), s) for r, s in zip(rows, samples, strict=True)],
        standardise=standardise,
        test_fraction=test_fraction,
        seed=seed,
        allow_missing=allow_missing,
    )


def _splits(data: Any, name: str) -> list[Any]:
    """[all] or [train, test]."""
    if not isinstance(data, dict):
        splits = [data]
    elif len(data) == 1:
        splits = list(data.values())
    else:
        test = next((data[key] for key in TEST_SPLITS if key in data), None)
        if "train" not in data or test is None:
            raise DataError(f"{name}: the splits must be train and test; got {', '.join(data)}. Rename them or pass one split.")
        splits = [data["train"], test]
    for split in splits:
        if not hasattr(split, "__len__"):
            rule = f"must be a datasets.Dataset; got {type(split).__name__}"
            raise DataError(f"{name}: {rule}. Load it without streaming, or see clframe.bridges.huggingface.landed.")
        if len(split) == 0:
            raise DataError(f"{name}: every split must hold at least one row; got 0. Check the filter before it.")
    return splits


def _check_column(data: Any, wanted: str | None, name: str) -> None:
    if wanted is not None and wanted not in data.column_names:
        found = ", ".join(data.column_names)
        raise DataError(f"{name}: there must be a column {wanted!r}; got columns {found}. Name the columns that are there.")


def _image_column(data: Any, name: str) -> str | None:
    import datasets

    found = [column for column, feature in data.features.items() if isinstance(feature, datasets.Image)]
    if len(found) > 1:
        raise DataError(f"{name}: one column must hold the images; got {', '.join(found)}. Choose with image={found[0]!r}.")
    return found[0] if found else None


def _form(data: Any, image: str, size: Size | None, name: str) -> ImageForm:
    return image_form(_decoded(data.select_columns([image]), image, spaced(len(data), 20), name), size)


def _decoded(data: Any, column: str, ids: Ids, name: str) -> list[Any]:
    from PIL import Image

    try:
        images = data[ids.tolist()][column]
    except Exception as error:
        raise DataError(
            f"{name}: column {column!r} must hold readable images; got {reason(error)}. Write the file again."
        ) from error
    wrong = next((i for i, image in zip(ids, images, strict=True) if not isinstance(image, Image.Image)), None)
    if wrong is not None:
        raise DataError(f"{name}: column {column!r} must hold images; got none in row {wrong}. Choose another with image=.")
    return list(images)


def _values(data: Any, column: str) -> Array:
    return np.asarray(data.select_columns([column]).with_format("numpy")[:][column])


def _samples(
    splits: list[Any], label: str, task: str | None, weight: str | None, experience: str | None, name: str
) -> list[Samples]:
    import datasets

    feature = splits[0].features[label]
    names = feature.names if isinstance(feature, datasets.ClassLabel) else None
    labels, class_names = encode_labels([_values(s, label) for s in splits], names, name=name)

    def codes(column: str | None) -> Sequence[Ids | None]:
        if column is None:
            return [None] * len(splits)
        return encode_labels([_values(s, column) for s in splits], name=name, what=column)[0]

    return [
        make_samples(
            len(y),
            y,
            class_names=class_names,
            task=own_task,
            weight=None if weight is None else _values(split, weight),
            columns={} if own_experience is None else {"experience": own_experience},
            name=name,
        )
        for split, y, own_task, own_experience in zip(splits, labels, codes(task), codes(experience), strict=True)
    ]


def hub_reachable() -> bool:
    """Whether the Hugging Face hub answers within seconds; never asked where HF_HUB_OFFLINE says so."""
    if os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on"):
        return False
    request = urllib.request.Request(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=REACH_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def hub_splits(repository: str) -> Any:
    """All splits of a data set of the hub.

    Raises:
        DataError: it cannot be fetched.
    """
    import datasets

    try:
        return datasets.load_dataset(repository)
    except Exception as error:
        raise DataError(
            f"{repository}: must be a data set of the Hugging Face hub; got {reason(error)}. Check its name."
        ) from error
