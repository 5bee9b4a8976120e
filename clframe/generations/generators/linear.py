"""Least squares: the model of which theory knows what each policy does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np

from clframe.errors import DataError, bad_option
from clframe.generations.generators.interface import Columns, Floats, matrix, need_fit
from clframe.seeding import rng


@final
@dataclass
class Linear:
    """Least squares on a fixed design; samples are its own answers, with noise.

        w = pinv(sqrt(D) X) sqrt(D) y,  D = diag(weight);   sample: y = X_0 w + sigma e, e ~ N(0, I);   loss_i = (x_i' w - y_i)^2

    X_0, the inputs of the real data, is the same in every generation: `sample` gives its rows in order, again from the first
    where more are asked for. Columns: "x" (n, d) inputs, "y" (n,) targets, or "label" where there is no "y".

    Args:
        sigma: standard deviation of the noise of the samples.

    Raises:
        OptionError: sigma is not positive, or nothing was fitted.
        DataError: a column is missing.

    Example:
        >>> real = {"x": np.eye(3), "y": np.array([1.0, 2.0, 3.0])}
        >>> model = Linear(sigma=0.1)
        >>> model.prepare(real)
        >>> model.fit(real, np.ones(3), seed=0)
        >>> model.score(real).round(6).tolist(), model.sample(3, seed=0)["y"].shape
        ([0.0, 0.0, 0.0], (3,))

    Reference: Gerstgrasser et al., COLM 2024, section 3; Dohmatob et al., NeurIPS 2024.

    Differences: none known.
    """

    sigma: float = 1.0
    design: Floats | None = field(default=None, init=False, repr=False)
    target: str = field(default="y", init=False, repr=False)
    w: Floats | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise bad_option("sigma", "positive", self.sigma, "Give sigma=1.")

    def prepare(self, real: Columns) -> None:
        """Keep the design."""
        self.design = matrix(real, "linear")
        self.target = next((name for name in ("y", "label") if name in real), "")
        if not self.target:
            raise DataError(f"generator 'linear' needs a column 'y' of targets; got {', '.join(real)}. Take other data.")

    def fit(self, data: Columns, weight: Floats, seed: int) -> None:
        """See `Generator`."""
        if self.design is None:
            self.prepare(data)
        root = np.sqrt(weight)
        self.w = np.linalg.lstsq(matrix(data, "linear") * root[:, None], np.asarray(data[self.target]) * root, rcond=None)[0]

    def sample(self, n: int, seed: int) -> Columns:
        """See `Generator`."""
        w, design = need_fit(self.w, "linear"), need_fit(self.design, "linear")
        x = design[np.arange(n) % len(design)]
        return {"x": x, self.target: x @ w + self.sigma * rng(seed, "linear").normal(size=n)}

    def score(self, data: Columns) -> Floats:
        """See `Generator`."""
        w = need_fit(self.w, "linear")
        return np.asarray(np.square(matrix(data, "linear") @ w - np.asarray(data[self.target])))
