"""The mean of a quantity over a pool, from a weighted sample, with a 95 % interval; and what a theorem says beforehand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from clframe.selection.draws import Draw
from clframe.selection.draws.draw import Numbers, Rows


@final
@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error.

    Attributes:
        mean: the estimate.
        error: its standard error; infinite where one draw says nothing of it.
        freedom: degrees of freedom of the interval.

    Example:
        >>> found = Estimate(2.0, 0.1, 99)
        >>> round(found.low, 3), round(found.high, 3)
        (1.802, 2.198)
    """

    mean: float
    error: float
    freedom: float

    @property
    def half(self) -> float:
        """Half the width of the 95 % interval."""
        from scipy.special import ndtri, stdtrit

        wide = ndtri(0.975) if math.isinf(self.freedom) else stdtrit(max(1.0, self.freedom), 0.975)
        return float(wide) * self.error

    @property
    def low(self) -> float:
        """The lower end of the 95 % interval."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The upper end of the 95 % interval."""
        return self.mean + self.half


def drawn_mean(draw: Draw, values: Numbers, n: int) -> Estimate:
    """The mean over n rows from a draw: that of f_j / (n p_j) over m draws, each with its probability p_j.

        mean = (1/m) sum_j t_j,   t_j = m f_j / (n expected_j),   error = sd(t) / sqrt(m)

    Rows that were certain (without replacement, expected = 1) have no part in the error; for the others that of draws with
    replacement is taken, which is too large rather than too small. The weights are never divided by their sum: with
    probabilities in proportion to a guess of f that costs most of what they gain.

    Args:
        draw: what was drawn.
        values: f of each row that was drawn (m,).
        n: rows of the pool.

    Example:
        >>> draw = Draw(np.array([0, 2]), np.array([1, 1]), np.array([1.0, 0.5]), 2, replaced=False)
        >>> drawn_mean(draw, np.array([3.0, 1.0]), 4).mean
        1.25

    Reference: Hansen, Hurwitz, 1943; Horvitz, Thompson, 1952.
    """
    total = float((draw.weight * values).sum())
    certain = np.zeros(len(values), dtype=bool) if draw.replaced else draw.expected >= 1
    rest = ~certain
    m = int(draw.count[rest].sum())
    if not m:
        return Estimate(total / n, 0.0, math.inf)
    t = m * values[rest] / draw.expected[rest]
    mean = float((draw.count[rest] * t).sum()) / m
    variance = float((draw.count[rest] * (t - mean) ** 2).sum()) / (m - 1) if m > 1 else math.inf
    return Estimate(total / n, math.sqrt(variance / m) / n, m - 1)


def stratified_mean(values: Numbers, stratum: Rows, sizes: Mapping[int, int]) -> Estimate:
    """The mean over all strata from simple random samples without replacement of each.

        mean = sum_h W_h mean_h,   error^2 = sum_h v_h,   v_h = W_h^2 (1 - m_h / N_h) s_h^2 / m_h,   W_h = N_h / N
        freedom = (sum_h v_h)^2 / sum_h v_h^2 / (m_h - 1)

    L strata with one sample each say nothing of the variance within them; together they count as one, which can only be too much:
    L / (L - 1) sum_h (z_h - mean z)^2 with z_h = W_h sqrt(1 - 1 / N_h) f_h. A single one lends the pooled variance of the others.

    Args:
        values: of each row that was drawn (m,), one or more of each stratum.
        stratum: which each is of (m,).
        sizes: N_h of each stratum with rows in the pool.

    Example:
        >>> stratified_mean(np.array([1.0, 1.0, 5.0, 5.0]), np.array([0, 0, 1, 1]), {0: 30, 1: 10})
        Estimate(mean=2.0, error=0.0, freedom=2)

    Reference: Cochran, "Sampling Techniques", 1977, chapter 5: 5.4 for the freedom, 5A.12 for collapsed strata.
    """
    names, whole = np.array(list(sizes)), np.array(list(sizes.values()))
    order = np.argsort(names)
    of = order[np.searchsorted(names[order], stratum)]
    m = np.bincount(of, minlength=len(names))
    mean = np.bincount(of, weights=values, minlength=len(names)) / m
    square = np.bincount(of, weights=(values - mean[of]) ** 2, minlength=len(names))
    share, left = whole / whole.sum(), 1 - m / whole
    several, alone = (m > 1) & (left > 0), (m == 1) & (left > 0)
    parts = [*(share**2 * left * square / np.maximum(m - 1, 1) / m)[several]]
    freedom = [*(m - 1)[several]]
    if alone.any():
        z = (share * np.sqrt(left) * mean)[alone]
        rest = int((m - 1).sum())
        pooled = square.sum() / rest if rest else math.inf
        parts.append(len(z) * z.var(ddof=1) if len(z) > 1 else float((share**2 * left)[alone][0] * pooled))
        freedom.append(len(z) - 1 if len(z) > 1 else max(1, rest))
    variance, below = sum(parts), sum(v**2 / f for v, f in zip(parts, freedom, strict=True))
    found = variance**2 / below if 0 < below < math.inf else max(1, int((m - 1).sum()))
    return Estimate(float((share * mean).sum()), math.sqrt(variance), found)


def over_strata(estimates: Sequence[Estimate], sizes: Sequence[int]) -> Estimate:
    """The mean over all strata from an estimate of each, which do not sway each other: sum_h N_h / N mean_h.

    Example:
        >>> over_strata([Estimate(1.0, 0.3, 9), Estimate(2.0, 0.1, 29)], [10, 30]).mean
        1.75
    """
    return together(list(zip(map(float, sizes), estimates, strict=True)))


def together(estimates: list[tuple[float, Estimate]]) -> Estimate:
    """Unbiased estimates of one mean that do not sway each other, weighted by numbers fixed beforehand.

    Example:
        >>> together([(1, Estimate(1.0, 0.3, 9)), (3, Estimate(2.0, 0.1, 29))]).mean
        1.75
    """
    total = sum(w for w, _ in estimates)
    shares = [(w / total, e) for w, e in estimates if w]
    parts = [(share * e.error) ** 2 for share, e in shares]
    variance = sum(parts)
    below = sum(v**2 / max(1.0, e.freedom) for v, (_, e) in zip(parts, shares, strict=True))
    return Estimate(sum(share * e.mean for share, e in shares), math.sqrt(variance), variance**2 / below if below else math.inf)


def skewness(values: Numbers) -> float:
    """mean((v - mean)^3) / sd^3 of values (m,); 0 where they are equal.

    Example:
        >>> skewness(np.array([1.0, 2.0, 3.0])), round(skewness(np.array([0.0, 0.0, 0.0, 4.0])), 3)
        (0.0, 1.155)
    """
    away = values - values.mean()
    spread = math.sqrt(float((away**2).mean()))
    return float((away**3).mean()) / spread**3 if spread else 0.0


def enough_rows(skew: float) -> int:
    """For how many rows of this skewness the interval of a mean holds about as often as it says: ceil(25 skewness^2).

    With fewer it is too low more often than not, and holds less often. The skewness of few rows is itself too small.

    Example:
        >>> enough_rows(0.5), enough_rows(5.7)
        (7, 813)

    Reference: Cochran, "Sampling Techniques", 1977, 2.15: n > 25 G1^2 keeps a one-sided error of 2.5 % below 5 % or so.
    """
    return math.ceil(25 * skew**2)


def effective(weight: Numbers, count: Rows) -> float:
    """Kish's effective sample size of m draws, (sum w)^2 / sum w^2, with a weight for each draw.

    Example:
        >>> effective(np.array([1.0, 1.0, 2.0]), np.array([1, 1, 2]))  # the last was drawn twice
        4.0
    """
    each = weight / count
    return float((count * each).sum() ** 2 / (count * each**2).sum())


def draws_needed(epsilon: float, delta: float) -> int:
    """How many draws the theorem of sensitivity sampling asks for: ceil(eps^-2 (2 + 2 eps / 3) ln(2 / delta)).

    Example:
        >>> draws_needed(0.1, 0.05), draws_needed(0.01, 0.01)
        (763, 106320)

    Reference: Axiotis et al., "Data-efficient learning via clustering-based sensitivity sampling", ICML 2024; the constants by
        Bernstein's inequality.
    """
    return math.ceil((2 + 2 * epsilon / 3) / epsilon**2 * math.log(2 / delta))


def epsilon_of(draws: int, delta: float) -> float:
    """The least epsilon for which so many draws are enough.

    Example:
        >>> round(epsilon_of(763, 0.05), 3)
        0.1
    """
    scale = math.log(2 / delta) / draws
    return scale / 3 + math.sqrt((scale / 3) ** 2 + 2 * scale)
