"""One Gaussian, fitted by maximum likelihood."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np

from clframe.errors import bad_option
from clframe.generations.generators.interface import Columns, Floats, matrix, need_fit
from clframe.seeding import rng


@final
@dataclass
class Gaussian:
    """A Gaussian with the weighted mean and covariance of what it learned from.

        m = sum_i w_i x_i / sum_i w_i,  S = sum_i w_i (x_i - m)(x_i - m)' / sum_i w_i    (maximum likelihood: over n, not n - 1)
        loss_i = (d ln 2 pi + ln det S + (x_i - m)' S^-1 (x_i - m)) / 2, in nats

    Directions without variance get that of the floor, so that a collapsed model still has a loss, which is large.
    Column: "x" (n, ...).

    Args:
        floor: least variance of a direction when a row is scored.

    Raises:
        OptionError: a floor that is not positive, or nothing was fitted.

    Example:
        >>> model = Gaussian()
        >>> model.fit({"x": np.array([[-1.0], [1.0]])}, np.ones(2), seed=0)
        >>> model.variance.tolist(), model.score({"x": np.array([[0.0]])}).round(4).tolist()
        ([1.0], [0.9189])

    Reference: Shumailov et al., Nature 631, 2024; Kazdan et al., ICML 2025.

    Differences: none known.
    """

    floor: float = 1e-12
    mean: Floats | None = field(default=None, init=False, repr=False)
    variance: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False)
    axes: Floats = field(default_factory=lambda: np.zeros((0, 0)), init=False, repr=False)
    shape: tuple[int, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.floor > 0:
            raise bad_option("floor", "positive", self.floor, "Give floor=1e-12.")

    def fit(self, data: Columns, weight: Floats, seed: int) -> None:
        """See `Generator`."""
        x, share = matrix(data, "gaussian"), weight / weight.sum()
        self.shape, self.mean = data["x"].shape[1:], share @ x
        centred = x - self.mean
        self.variance, self.axes = np.linalg.eigh((centred * share[:, None]).T @ centred)
        self.variance = np.maximum(self.variance, 0.0)

    def sample(self, n: int, seed: int) -> Columns:
        """See `Generator`."""
        mean = need_fit(self.mean, "gaussian")
        x = rng(seed, "gaussian").normal(size=(n, len(self.variance))) * np.sqrt(self.variance) @ self.axes.T + mean
        return {"x": x.reshape(n, *self.shape)}

    def score(self, data: Columns) -> Floats:
        """See `Generator`."""
        mean = need_fit(self.mean, "gaussian")
        variance = np.maximum(self.variance, self.floor)
        z = (matrix(data, "gaussian") - mean) @ self.axes
        return np.asarray((np.log(2 * np.pi * variance).sum() + (z**2 / variance).sum(axis=1)) / 2)
