"""How many directions a representation uses, without labels: RankMe and alpha-ReQ, functions of features (n, d)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt
import torch

from clframe.errors import DataError, bad_option

if TYPE_CHECKING:
    from torch import Tensor

Spectrum = Literal["eigen", "singular"]
RANKS = (10, 100)
"""Ranks that alpha is fitted on."""
MEASURES = ("rankme_eigen", "rankme_singular", "alpha_req")
"""What a run records; the names say which spectrum, alpha_req is of the eigenvalues."""
_FEWEST = 3


def rankme(features: Tensor | npt.NDArray[Any], spectrum: Spectrum = "eigen", centre: bool = True) -> float | None:
    """RankMe, a smooth rank: 1 where all samples lie on one line, d where they spread evenly; None where nothing varies.

        RankMe = exp(-sum_i p_i ln p_i),   p_i = s_i / sum_j s_j,   F^T F / n = covariance of the features F (n, d)

    with s the eigenvalues of the covariance, or their square roots, which are proportional to the singular values of F.

    Args:
        features: (n, d).
        spectrum: "eigen" or "singular".
        centre: subtract the mean of the samples first.

    Raises:
        OptionError: an unknown spectrum.
        DataError: features that are no matrix.

    Example:
        >>> F = torch.diag(torch.tensor([4.0, 2.0, 1.0, 1.0]))
        >>> round(rankme(F, centre=False), 6), round(rankme(F, "singular", centre=False), 6)
        (2.276322, 3.363586)
        >>> rankme(torch.ones(5, 3)) is None
        True

    Reference: 2509.23024 (eigenvalues of the covariance of centred features); Garrido et al., "RankMe", 2023, eq. 1
    (singular values).

    Differences:
        1. Garrido et al. do not centre, and add 1e-7 to each p_i; here what rounding alone could have made counts as 0.
    """
    return _rankme(_spectrum(eigenvalues(features, centre), spectrum))


def alpha_req(
    features: Tensor | npt.NDArray[Any],
    spectrum: Spectrum = "eigen",
    centre: bool = True,
    ranks: tuple[int, int] = RANKS,
) -> float | None:
    """alpha-ReQ: how fast the spectrum falls, s_i ~ i^-alpha; the larger, the fewer directions matter.

        alpha = - slope of the least squares line through (ln i, ln s_i),   i = ranks[0], ..., ranks[1]

    Ranks beyond the rank of the features are left out; None where fewer than three are left.

    Args:
        features: (n, d).
        spectrum: "eigen", or "singular", which halves alpha.
        centre: subtract the mean of the samples first.
        ranks: first and last rank of the fit, counted from 1.

    Raises:
        OptionError: an unknown spectrum, or ranks that are no range of at least three.
        DataError: features that are no matrix.

    Example:
        >>> F = torch.diag(torch.arange(1.0, 201.0) ** -0.65)
        >>> round(alpha_req(F, centre=False), 4)
        1.3

    Reference: Agrawal et al., "alpha-ReQ", 2022; 2509.23024.

    Differences:
        1. The range of the fit is not in the text of 2509.23024; 10 to 100 is that of a public re-implementation.
    """
    low, high = ranks
    if low < 1 or high < low + _FEWEST - 1:
        raise bad_option("ranks", "(first, last) with 1 <= first and at least three ranks", ranks, "Give ranks=(10, 100).")
    return _alpha(_spectrum(eigenvalues(features, centre), spectrum), ranks)


def measures(features: Tensor | npt.NDArray[Any]) -> Mapping[str, float | None]:
    """Each of `MEASURES`, of centred features (n, d), from one decomposition."""
    values = eigenvalues(features)
    return dict(zip(MEASURES, (_rankme(values), _rankme(values.sqrt()), _alpha(values, RANKS)), strict=True))


def eigenvalues(features: Tensor | npt.NDArray[Any], centre: bool = True) -> Tensor:
    """Positive eigenvalues (r,) of the covariance F^T F / n in float64, falling; none where a feature is not finite.

    Raises:
        DataError: features that are no matrix.
    """
    given = torch.as_tensor(features).detach()
    if given.ndim != 2 or not given.is_floating_point() or 0 in given.shape:
        raise DataError(
            f"features must be a matrix (n, d) of floats with n and d at least 1; got {tuple(given.shape)}. Flatten each sample."
        )
    x = (given.cpu() if given.device.type == "mps" else given).double()
    total = x.square().sum() / len(x)
    if not total.isfinite():
        return torch.empty(0, dtype=torch.float64)
    if centre:
        x = x - x.mean(0)
    gram = x.T @ x if len(x) >= x.shape[1] else x @ x.T
    values = torch.linalg.eigvalsh((gram / len(x)).cpu()).flip(0)
    rounding = max(float(values[0]) * max(x.shape) * _eps(torch.float64), float(total) * (10 * _eps(given.dtype)) ** 2)
    kept: Tensor = values[values > rounding]
    return kept


def _eps(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


def _spectrum(values: Tensor, spectrum: Spectrum) -> Tensor:
    if spectrum not in ("eigen", "singular"):
        raise bad_option("spectrum", "'eigen' or 'singular'", spectrum, "Give spectrum='eigen'.")
    return values if spectrum == "eigen" else values.sqrt()


def _rankme(values: Tensor) -> float | None:
    if not len(values):
        return None
    p = values / values.sum()
    return math.exp(-float((p * p.log()).sum()))


def _alpha(values: Tensor, ranks: tuple[int, int]) -> float | None:
    y = values[ranks[0] - 1 : ranks[1]].log()
    if len(y) < _FEWEST:
        return None
    x = torch.arange(ranks[0], ranks[0] + len(y), dtype=torch.float64).log()
    x = x - x.mean()
    return -float(x @ (y - y.mean()) / (x @ x))
