"""What the closed forms of two small models expect of a policy: a planning aid, not a forecast for a network."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from clframe.errors import bad_option, unknown_name

LABEL = "planning aid, linear model"
"""What stands beside every number of `linear_ratio`, wherever it is printed."""
POLICIES = ("replace", "accumulate", "accumulate-subsample")
LIMITS = {"replace": math.inf, "accumulate": math.pi**2 / 6, "accumulate-subsample": math.pi**2 / 2 - 2}
"""Of `linear_ratio`, as the generations go on."""


def linear_ratio(policy: str, generations: int) -> npt.NDArray[np.float64]:
    """Expected test error of the linear model in each generation, over that of the first one (generations,).

        replace:               E_n / E_1 = n
        accumulate:            E_n / E_1 = sum_{i=1}^n 1 / i^2                                                   -> pi^2 / 6
        accumulate-subsample:  E_n / E_1 = sum_{i<=n} 1 / i^2 + 2 (H_n - 1) / n + 2 sum_{j=2}^{n-1} (H_j - 1) / (j (j + 1))
                                                                                                            -> pi^2 / 2 - 2
    with H_n the n-th harmonic number. The first two are exact; the third is for T much larger than d, without a floor of real rows.

    Args:
        policy: "replace", "accumulate" or "accumulate-subsample".
        generations: how many.

    Raises:
        OptionError: a policy without a closed form, or no generation.

    Example:
        >>> linear_ratio("accumulate-subsample", 5).round(3).tolist()
        [1.0, 1.75, 2.083, 2.271, 2.391]

    Reference: Gerstgrasser et al., COLM 2024, theorems 1 and 2, in the setting of Dohmatob et al., "Model collapse demystified",
        NeurIPS 2024. The third was derived for clframe.

    Differences: none known.
    """
    if policy not in POLICIES:
        raise unknown_name("policy with a closed form", policy, POLICIES)
    if generations < 1:
        raise bad_option("generations", "a positive integer", generations, "Give generations=5.")
    n = np.arange(1, generations + 1, dtype=np.float64)
    squares = np.cumsum(1 / n**2)
    if policy == "replace":
        return n
    if policy == "accumulate":
        return squares
    harmonic = np.cumsum(1 / n)
    steps = (harmonic - 1) / (n * (n + 1))  # 0 at n = 1
    before = np.concatenate([[0.0], np.cumsum(steps)[:-1]])
    return np.asarray(squares + 2 * (harmonic - 1) / n + 2 * before)


def linear_error(policy: str, generations: int, *, rows: int, dimensions: int, sigma: float = 1.0) -> npt.NDArray[np.float64]:
    """Expected squared error E ||w_n - w*||^2 of least squares in each generation (generations,).

        E_1 = sigma^2 d / (T - d - 1)

    for T = `rows` standard normal inputs of d = `dimensions` numbers, the same in every generation, and noise of deviation sigma.

    Raises:
        OptionError: see `linear_ratio`; or fewer than d + 2 rows, for which there is no expectation.

    Example:
        >>> linear_error("replace", 2, rows=100, dimensions=10).round(4).tolist()
        [0.1124, 0.2247]

    Reference: as of `linear_ratio`.

    Differences: none known.
    """
    if rows < dimensions + 2:
        raise bad_option("rows", f"at least dimensions + 2 = {dimensions + 2}", rows, "Give more rows.")
    return sigma**2 * dimensions / (rows - dimensions - 1) * linear_ratio(policy, generations)


def gaussian_variance(policy: str, generations: int, *, rows: int) -> npt.NDArray[np.float64]:
    """Expected variance of a Gaussian that is fitted by maximum likelihood, over the true one (generations,).

        replace:     E s_n^2 / s^2 = (1 - 1 / T)^n                    -> 0
        accumulate:  E s_n^2 / s^2 = prod_{i<=n} (1 - 1 / (T i^2))    -> sqrt(T) / pi sin(pi / sqrt(T))

    for T = `rows` samples a generation; the same for the trace of a covariance in any dimension.

    Raises:
        OptionError: another policy.

    Example:
        >>> [gaussian_variance(policy, 5, rows=10).round(3).tolist()[::4] for policy in ("replace", "accumulate")]
        [[0.9, 0.59], [0.9, 0.859]]

    Reference: Shumailov et al., Nature 2024, for replace; Kazdan et al., ICML 2025.

    Differences: none known.
    """
    if policy not in POLICIES[:2]:
        raise unknown_name("policy with a closed form", policy, POLICIES[:2])
    n = np.arange(1, generations + 1, dtype=np.float64)
    if policy == "replace":
        return np.asarray((1 - 1 / rows) ** n)
    return np.asarray(np.cumprod(1 - 1 / (rows * n**2)))
