"""Variance ratio: is generated data as widely spread as real data?"""

from __future__ import annotations

import numpy as np

from clframe.generations.alarms.alarm import Floats

BLOCK = 1 << 22
"""Numbers of labels that are dealt out at once."""


def trace_ratio(made: Floats, real: Floats) -> float:
    """Spread of the generated rows over that of the real ones.

        tr Cov(made) / tr Cov(real)

    Args:
        made, real: embeddings (m, d), (n, d), at least two rows each.

    1 for equal spread, 0 where all generated rows are one. The largest directions of variance decide; it does not tell of a mode
    that is lost while another grows, nor of a small direction that vanishes (see `determinant_ratio`).

    Example:
        >>> trace_ratio(np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]]))
        0.25

    Reference: Kazdan et al., "Collapse or thrive? Perils and promises of synthetic data in a self-generating world", 2024.
    """
    below = float(real.var(axis=0, ddof=1).sum())
    return float(made.var(axis=0, ddof=1).sum()) / below if below > 0 else float("nan")


def determinant_ratio(made: Floats, real: Floats) -> float:
    """Volume of the generated rows over that of the real ones, for each direction: the geometric mean of the ratios of variance.

        exp((log det Cov(made) - log det Cov(real)) / d)

    Args:
        made, real: embeddings (m, d), (n, d), more than d rows each, that vary in every direction.

    0 where the generated rows lose a direction, however small. It does not tell which one.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> round(determinant_ratio(x * [1, 1, 0.125], x), 12)  # (1/64)^(1/3)
        0.25

    Reference: Wilks, "Certain generalizations in the analysis of variance", 1932, for the generalized variance.

    Differences: 1. The d-th root, so that the number does not shrink with d.
    """
    volumes = [np.linalg.slogdet(np.atleast_2d(np.cov(x, rowvar=False))) for x in (made, real)]
    if volumes[1][0] <= 0:
        return float("nan")
    return float(np.exp((volumes[0][1] - volumes[1][1]) / made.shape[1])) if volumes[0][0] > 0 else 0.0


def by_chance_alone(rows: int, generation: int) -> float:
    """Variance that is left where each generation replaces the last and everything else is perfect.

        (1 - 1/T)^n

    the expected variance of a Gaussian fitted by maximum likelihood to T rows of its predecessor, n times over, over that of the
    first. A planning aid: with data that accumulates more is left.

    Args:
        rows: T.
        generation: n.

    Example:
        >>> round(by_chance_alone(100, 50), 3)
        0.605

    Reference: Alemohammad et al., "Self-consuming generative models go MAD", 2024; Kazdan et al., 2024.
    """
    return float((1 - 1 / rows) ** generation)


def trace_ratio_by_chance(x: Floats, real: int, times: int, random: np.random.Generator) -> Floats:
    """`trace_ratio` where real and generated rows are dealt out anew, as `exchange.of_rows`, in a few matrix products (times,).

    Args:
        x: real rows, then generated ones (n + m, d).
        real: n.
        times: B.
        random: numpy's generator.

    Example:
        >>> x = np.array([[0.0], [1.0], [3.0], [7.0]])
        >>> found = trace_ratio_by_chance(x, 2, 50, np.random.default_rng(0))
        >>> sorted({round(v, 3) for v in found.tolist()})[0]  # {0, 1} generated, {3, 7} real
        0.062
    """
    x = x - x.mean(axis=0)
    n, made, step = len(x), len(x) - real, max(1, BLOCK // len(x))
    squares, all_rows, found = (x * x).sum(axis=1), x.sum(axis=0), []
    for b in range(0, times, step):
        dealt = np.zeros((min(step, times - b), n))
        for one in dealt:
            one[random.permutation(n)[:made]] = 1
        sums, second = dealt @ x, dealt @ squares
        above = (second - (sums**2).sum(axis=1) / made) / (made - 1)
        below = (squares.sum() - second - ((all_rows - sums) ** 2).sum(axis=1) / real) / (real - 1)
        found.append(above / below)
    return np.concatenate(found)


def leading(base: Floats, share: float = 0.9, most: int = 32) -> Floats:
    """The directions that hold a share of the variance, the largest first (d, r).

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 3)) * [10, 1, 0]
        >>> leading(x).shape, bool(abs(leading(x)[0, 0]) > 0.99)
        ((3, 1), True)

    Reference: Pearson, "On lines and planes of closest fit to systems of points in space", 1901.
    """
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(base, rowvar=False)))
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    total = float(values.sum())
    wanted = 1 + int(np.searchsorted(np.cumsum(values), share * total)) if total else 1
    found: Floats = vectors[:, : min(wanted, most, int((values > 1e-9 * total).sum()) or 1)]
    return found
