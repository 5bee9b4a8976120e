"""Samples in memory: the source on the path of every training iteration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor

from clframe.data.dataset import Dataset, strata, stratified_ids
from clframe.data.hashing import fingerprint
from clframe.data.normalise import Affine, fit_affine, plain_affine
from clframe.data.samples import Array, Samples, as_array, encode_labels, make_samples
from clframe.errors import DataError, bad_option


@final
class TensorSource:
    """Samples in memory, on the CPU or on an accelerator; uint8 stays uint8 and is normalised where it lies.

    Args:
        x: inputs, numpy or torch: uint8 images (N, H, W), (N, H, W, 3) or (N, C, H, W); floats of any shape (N, ...).
        y: labels (N,): integers or strings.
        name: a short name for messages.
        class_names: one name per class; by default the labels that occur, sorted.
        task: task label (N,), integers from 0.
        weight: sample weight (N,), finite and at least 0.
        columns: further arrays (N,) by name, such as {"experience": ...}.
        affine: stored values to inputs; by default uint8 becomes [0, 1] and floats stay as they are.

    Raises:
        DataError: empty, lengths that differ, a label, weight or value that breaks its rule.

    Example:
        >>> source = TensorSource(np.full((2, 4, 4), 255, dtype=np.uint8), ["cat", "ant"])
        >>> source.input_shape, source.class_names, float(source.fetch(torch.tensor([1])).mean())
        ((1, 4, 4), ('ant', 'cat'), 1.0)
    """

    def __init__(
        self,
        x: object,
        y: object,
        *,
        name: str = "arrays",
        class_names: Sequence[str] | None = None,
        task: object = None,
        weight: object = None,
        columns: Mapping[str, object] | None = None,
        affine: Affine | None = None,
    ) -> None:
        stored = prepare(x, name)
        samples = make_samples(len(stored), y, class_names=class_names, task=task, weight=weight, columns=columns, name=name)
        self._set(name, stored, samples, affine or plain_affine(stored.dtype))

    def _set(self, name: str, x: Tensor, samples: Samples, affine: Affine) -> None:
        self.name = name
        self.y, self.task, self.weight, self.columns = samples.y, samples.task, samples.weight, samples.columns
        self.class_names = samples.class_names
        self.input_shape = tuple(x.shape[1:])
        self.device = x.device
        self._x, self._samples, self._affine = x, samples, affine
        self._on_cpu = x.device.type == "cpu"
        self._fingerprint: str | None = None

    def __len__(self) -> int:
        return len(self.y)

    def fetch(self, index: Tensor) -> Tensor:
        """Inputs (B, *input_shape), float32, of the ids (B,), on the source's device."""
        if not self._on_cpu:
            index = index.to(self.device, non_blocking=True)
        return self._affine(self._x.index_select(0, index))

    def to(self, device: torch.device) -> TensorSource:
        """The same samples on `device`."""
        x = self._x.to(device)
        if x is self._x:
            return self
        moved = object.__new__(TensorSource)
        moved._set(self.name, x, self._samples, self._affine.to(device))
        moved._fingerprint = self._fingerprint
        return moved

    def fingerprint(self) -> str:
        """A hash of dtype, shape, content, labels, companions and normalisation; computed once."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self._x.cpu().numpy(), *self._samples.parts(), *self._affine.parts())
        return self._fingerprint


def prepare(x: object, name: str = "arrays") -> Tensor:
    """Inputs as a contiguous uint8 or float32 tensor (N, ...); images become (N, C, H, W).

    uint8 of three dimensions is (N, H, W); four dimensions with 1 or 3 channels last are turned to channels first; every other
    type of number becomes float32 and must be finite.

    Raises:
        DataError: not numbers, fewer than two dimensions, or a value that is not finite.
    """
    values = as_array(x)
    if values.dtype.kind not in "iufb":
        raise DataError(f"{name}: x must hold numbers; got {values.dtype}. Encode text and categories as numbers first.")
    if values.ndim < 2:
        raise DataError(f"{name}: x must have shape (N, ...); got {values.shape}. Give one row per sample, as in x[:, None].")
    stored = values if values.dtype == np.uint8 else values.astype(np.float32)
    stored = channels_first(stored)
    if stored.dtype != np.uint8:
        check_finite(stored, name)
    return torch.from_numpy(np.array(stored, order="C"))


def channels_first(x: Array) -> Array:
    """Images (N, H, W) of uint8 and (N, H, W, 1 or 3) as (N, C, H, W); anything else as it is. A view, not a copy."""
    if x.ndim == 3 and x.dtype == np.uint8:
        return x[:, None]
    if x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        return x.transpose(0, 3, 1, 2)
    return x


def check_finite(x: Array, name: str) -> None:
    """Refuse NaN and infinity, naming the first row that holds one; block by block."""
    step = max(1, 4_000_000 // max(1, x[:1].size))
    for start in range(0, len(x), step):
        block = x[start : start + step]
        if not np.isfinite(block).all():
            row = int((~np.isfinite(block)).reshape(len(block), -1).any(axis=1).argmax())
            value = float(block[row][~np.isfinite(block[row])].flat[0])
            raise DataError(f"{name}: x must be finite; got {value} in row {start + row} (the first is 0). Fill or drop the row.")


def from_arrays(
    x: object,
    y: object,
    x_test: object = None,
    y_test: object = None,
    *,
    name: str = "arrays",
    class_names: Sequence[str] | None = None,
    task: object = None,
    task_test: object = None,
    weight: object = None,
    columns: Mapping[str, object] | None = None,
    columns_test: Mapping[str, object] | None = None,
    standardise: bool | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    allow_missing: bool = False,
) -> Dataset:
    """A data set from arrays in memory, numpy or torch.

    Args:
        x: training inputs (N, ...), as `TensorSource` takes them.
        y: training labels (N,): integers or strings, mapped to 0..C-1 in sorted order unless they are that already.
        x_test: test inputs; without them a stratified `test_fraction` of the training samples is set apart.
        y_test: test labels.
        name: a short name for messages and reports.
        class_names: one name per class, in the order of the label numbers.
        task: task label (N,), integers from 0; `task_test` for the test part.
        task_test: see `task`.
        weight: weight (N,) of the training samples.
        columns: further arrays (N,) by name, such as {"experience": ...}; `columns_test` for the test part.
        columns_test: see `columns`.
        standardise: to mean 0 and deviation 1 by the training part; None means uint8 yes, floats no.
        mean: given mean per channel instead; in [0, 1] for uint8.
        std: given standard deviation per channel.
        test_fraction: see `x_test`.
        seed: draws the test part.
        allow_missing: accept classes without training or test samples.

    Raises:
        DataError: what `TensorSource` and `Dataset` refuse.
        OptionError: `x_test` without `y_test` or the reverse, or an option outside its range.

    Example:
        >>> data = from_arrays(np.eye(10), ["even", "odd"] * 5)
        >>> len(data.train), len(data.test), data.num_classes
        (8, 2, 2)
    """
    if (x_test is None) != (y_test is None):
        raise bad_option("x_test", "given together with y_test", None if x_test is None else "x_test alone", "Give both or none.")
    stored = prepare(x, name)
    if x_test is None:
        samples = make_samples(len(stored), y, class_names=class_names, task=task, weight=weight, columns=columns, name=name)
        train_ids, test_ids = stratified_ids(strata(samples.y, samples.task, samples.columns), test_fraction, seed)
        parts = [(stored[torch.from_numpy(ids)], samples.take(ids)) for ids in (train_ids, test_ids)]
    else:
        stored_test = prepare(x_test, name)
        (y, y_test), names = encode_labels([y, y_test], class_names, name=name)
        train = make_samples(len(stored), y, class_names=names, task=task, weight=weight, columns=columns, name=f"{name} (train)")
        test = make_samples(
            len(stored_test), y_test, class_names=names, task=task_test, columns=columns_test, name=f"{name} (test)"
        )
        parts = [(stored, train), (stored_test, test)]
    affine = fit_affine(parts[0][0], standardise=standardise, mean=mean, std=std)
    train_source, test_source = (source_of(name, values, part, affine) for values, part in parts)
    return Dataset(name, train_source, test_source, allow_missing)


def source_of(name: str, x: Tensor, samples: Samples, affine: Affine) -> TensorSource:
    """A source of prepared tensors and checked samples, without doing either again."""
    source = object.__new__(TensorSource)
    source._set(name, x, samples, affine)
    return source
