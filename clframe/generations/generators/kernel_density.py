"""A kernel density: every row that was learned from, with a little noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np

from clframe.errors import bad_option
from clframe.generations.generators.interface import Columns, Floats, matrix, need_fit
from clframe.seeding import rng


@final
@dataclass
class KernelDensity:
    """A Gaussian kernel on every row.

        p(x) = sum_i w_i N(x; x_i, h^2 I) / sum_i w_i,  loss = -ln p(x), in nats;  sample: a row, by w, plus N(0, h^2 I)

    Each generation adds variance h^2 in every direction, so this model does not lose the tails but blurs. Column: "x" (n, ...).
    Scoring m rows by n costs up to m n distances (scikit-learn's tree).

    Args:
        bandwidth: h, in the units of x.

    Raises:
        OptionError: a bandwidth that is not positive, or nothing was fitted.

    Example:
        >>> model = KernelDensity(bandwidth=1.0)
        >>> model.fit({"x": np.zeros((1, 1))}, np.ones(1), seed=0)
        >>> model.score({"x": np.zeros((1, 1))}).round(4).tolist(), model.sample(2, seed=0)["x"].shape
        ([0.9189], (2, 1))

    Reference: Kazdan et al., ICML 2025 (bandwidths 0.1, 0.5 and 1 on two-dimensional sets).

    Differences: none known.
    """

    bandwidth: float = 0.5
    rows: Floats | None = field(default=None, init=False, repr=False)
    weight: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False)
    shape: tuple[int, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.bandwidth > 0:
            raise bad_option("bandwidth", "positive", self.bandwidth, "Give bandwidth=0.5.")

    def fit(self, data: Columns, weight: Floats, seed: int) -> None:
        """See `Generator`."""
        kept = weight > 0
        self.rows, self.weight, self.shape = matrix(data, "kernel-density")[kept], weight[kept], data["x"].shape[1:]

    def sample(self, n: int, seed: int) -> Columns:
        """See `Generator`."""
        rows = need_fit(self.rows, "kernel-density")
        random = rng(seed, "kernel-density")
        x = rows[random.choice(len(rows), n, p=self.weight / self.weight.sum())]
        return {"x": (x + self.bandwidth * random.normal(size=x.shape)).reshape(n, *self.shape)}

    def score(self, data: Columns) -> Floats:
        """See `Generator`."""
        from sklearn.neighbors import KernelDensity as Density

        rows = need_fit(self.rows, "kernel-density")
        density = Density(bandwidth=self.bandwidth).fit(rows, sample_weight=self.weight)
        return np.asarray(-density.score_samples(matrix(data, "kernel-density")))
