"""One multiplication and one addition between stored and delivered values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clframe.errors import OptionError, bad_option

Floats = npt.NDArray[np.float64]


class Affine:
    """Stored values to float32 inputs: out = x * scale + shift.

    Two rounded operations, not one fused: a sample comes out bit-equal in any batch and on any device.

    Args:
        scale: factor per channel, broadcastable to a sample: (C, 1, 1) for images, (D,) for features, () for one for all.
        shift: summand, of the same shape.

    Example:
        >>> Affine(torch.tensor(0.5), torch.tensor(-1.0))(torch.tensor([[2, 4]], dtype=torch.uint8))
        tensor([[0., 1.]])
    """

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        self.scale = scale.float()
        self.shift = shift.float()
        self._identity = bool((self.scale == 1).all() and (self.shift == 0).all())

    def __call__(self, x: Tensor) -> Tensor:
        """Inputs (B, ...), float32, of stored values (B, ...), uint8 or float32."""
        if self._identity:
            return x.float()
        return x.mul(self.scale).add_(self.shift)

    def to(self, device: torch.device) -> Affine:
        """The same map on `device`."""
        moved = object.__new__(Affine)
        moved.scale, moved.shift, moved._identity = self.scale.to(device), self.shift.to(device), self._identity
        return moved

    def parts(self) -> tuple[object, ...]:
        """Everything as plain pieces, to be hashed."""
        return (self.scale.cpu().numpy(), self.shift.cpu().numpy())


def plain_affine(dtype: torch.dtype) -> Affine:
    """Without statistics: uint8 to [0, 1], floats as they are."""
    return Affine(torch.tensor(1 / 255 if dtype == torch.uint8 else 1.0), torch.tensor(0.0))


def fit_affine(
    x: Tensor,
    *,
    standardise: bool | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
) -> Affine:
    """The map that standardises like the training part `x`: out = (v - mean) / std per channel.

    A channel is the second axis of images (N, C, H, W), one column of float features (N, D), everything otherwise; a channel
    that does not vary has std 1. Statistics are exact for uint8 and float64 for floats, whatever the number of threads.

    Args:
        x: stored values of the training part, uint8 or float32.
        standardise: by the statistics of `x`; None means yes for uint8 and no for floats.
        mean: given mean per channel instead, in [0, 1] for uint8 and in the data's unit for floats.
        std: given standard deviation per channel, in the same unit; needed with `mean`.

    Raises:
        OptionError: `mean` without `std` or the reverse, a wrong number of channels, a std that is not positive.

    Example:
        >>> x = torch.tensor([[0.0], [4.0]])
        >>> fit_affine(x, standardise=True)(x).flatten()
        tensor([-1.,  1.])
    """
    unit = 255.0 if x.dtype == torch.uint8 else 1.0
    if mean is not None or std is not None:
        centre, spread = (unit * value for value in _given(x, mean, std))
    elif standardise or (standardise is None and x.dtype == torch.uint8):
        centre, spread = _histogram_moments(x) if x.dtype == torch.uint8 else _float_moments(x.numpy())
        spread = np.where(spread > 0, spread, 1.0)
    else:
        return plain_affine(x.dtype)
    shape = (-1, 1, 1) if x.ndim == 4 else (-1,)
    scale, shift = (1 / spread).reshape(shape), (-centre / spread).reshape(shape)
    return Affine(torch.from_numpy(scale), torch.from_numpy(shift))


def _given(x: Tensor, mean: Sequence[float] | float | None, std: Sequence[float] | float | None) -> tuple[Floats, Floats]:
    if mean is None or std is None:
        raise OptionError("mean and std must be given together; got one of them. Give both, or neither to have them measured.")
    centre, spread = np.atleast_1d(np.asarray(mean, float)), np.atleast_1d(np.asarray(std, float))
    channels = x.shape[1] if x.ndim in (2, 4) else 1
    for option, value in (("mean", centre), ("std", spread)):
        if len(value) not in (1, channels):
            raise bad_option(option, f"one number or one per channel ({channels})", value.tolist(), f"Give {channels}.")
    if not (spread > 0).all():
        raise bad_option("std", "positive", spread.tolist(), "Use 1 for a channel that does not vary.")
    return centre, spread


def _histogram_moments(x: Tensor) -> tuple[Floats, Floats]:
    """Exact mean and standard deviation per channel of uint8 values."""
    columns = [x[:, c] for c in range(x.shape[1])] if x.ndim == 4 else [x]
    values = np.arange(256, dtype=np.float64)
    mean, std = [], []
    for column in columns:
        counts = torch.bincount(column.reshape(-1), minlength=256).numpy().astype(np.float64)
        total = counts.sum()
        m = (counts * values).sum() / total
        mean.append(m)
        std.append(np.sqrt((counts * (values - m) ** 2).sum() / total))
    return np.array(mean), np.array(std)


def _float_moments(x: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Mean and standard deviation per channel in float64, block by block."""
    axes = {2: (0,), 4: (0, 2, 3)}.get(x.ndim, tuple(range(x.ndim)))
    keep = [1] * (x.ndim - 1)
    if x.ndim in (2, 4):
        keep[0] = x.shape[1]
    count = x.size / np.prod(keep)
    step = max(1, 4_000_000 // max(1, x[0].size))
    blocks = [slice(start, start + step) for start in range(0, len(x), step)]
    mean = np.sum([x[b].sum(axis=axes, dtype=np.float64) for b in blocks], axis=0) / count
    centre = mean.reshape(keep)
    square = np.sum([((x[b] - centre) ** 2).sum(axis=axes, dtype=np.float64) for b in blocks], axis=0)
    return np.atleast_1d(mean), np.atleast_1d(np.sqrt(square / count))
