"""Accuracy over the whole stream rather than at its end, and how finely the stream was watched."""

from __future__ import annotations

import numpy as np

from clframe.errors import bad_option
from clframe.eval.metrics.curves import Curves, Floats, mean_or_none


def aaa(curves: Curves) -> float | None:
    """AAA, average anytime accuracy: the mean over updates of the accuracy on what has been seen so far. High is better.

    AAA = (1/t) sum_{n<=t} Abar_n, where Abar_n is the mean of A(E_i, f_n) over the experiences whose training has begun and
    t = |T_k|. A value stands for the updates since the evaluation before it.

    Example:
        >>> from clframe.eval.metrics import aaa, dip
        >>> round(aaa(dip()), 12)
        0.7375

    Reference: Caccia et al. (2022); Soutif-Cormerais et al. (2023), 2306.16817.

    Differences:
        1. ocl_survey takes a plain mean over evaluations, which an uneven plan distorts.
        2. An evaluation that missed some experience seen is skipped: its updates go to the next complete one.
    """
    return _weighted(curves, np.ones(curves.accuracy.shape[1]))


def aaa_calibrated(curves: Curves) -> float | None:
    """AAA with each value scaled by the share of experiences seen, so that early, easy values do not dominate. High is better.

    (1/t) sum_{n<=t} (s_n / N) Abar_n, with s_n experiences begun at n and N in the stream.

    Example:
        >>> from clframe.eval.metrics import aaa_calibrated, dip
        >>> round(aaa_calibrated(dip()), 12)
        0.525

    Reference: Soutif-Cormerais et al. (2023), ocl_survey.
    """
    experiences = curves.accuracy.shape[1]
    return _weighted(curves, np.arange(1, experiences + 1) / experiences)


def lca(curves: Curves, beta: int = 10) -> float | None:
    """LCA, learning curve area: the mean accuracy of an experience over its first updates. High is better.

    LCA_beta = (1/k) sum_{i<=k} (1/(beta+1)) sum_{b=0..beta} A(E_i, f_{|T_{i-1}|+b}), with beta = `beta` in updates.
    The value before the first update (b = 0) counts once, any other for the updates since the evaluation before it. An
    experience shorter than beta counts to its end. None where some experience was not evaluated at b = 0 and again within beta.

    Raises:
        OptionError: beta is below 1.

    Example:
        >>> from clframe.eval.metrics import dip, lca
        >>> round(lca(dip(), beta=2), 12)
        0.7

    Reference: Chaudhry et al. (2019), A-GEM, section 3.

    Differences:
        1. De Lange et al.'s code averages the first 10 evaluations, without b = 0 except for the first experience.
    """
    if beta < 1:
        raise bad_option("beta", "an integer of at least 1 update", beta, "Give beta=10.")
    return mean_or_none([_area(curves, i, beta) for i in range(curves.k)])


def largest_evaluation_gap(curves: Curves) -> float | None:
    """The most updates between two evaluations of an experience seen: how coarse the plan was. 1 means every update.

    max_{i<=k} max over neighbours m < n in the curve of E_i, from |T_{i-1}| to |T_k|, of n - m. What min-ACC, WF or the
    gap metrics say holds up to dips that fit into this many updates.

    Example:
        >>> from clframe.eval.metrics import dip, largest_evaluation_gap
        >>> largest_evaluation_gap(dip())
        1.0
    """
    gaps = []
    for i in range(curves.k):
        times, _ = curves.series(i, after=curves.start(i) - 1)
        stops = [curves.start(i), *times.tolist(), curves.ends[-1]]
        gaps.append(float(np.diff(stops).max()))
    return max(gaps, default=None)


def _weighted(curves: Curves, scale: Floats) -> float | None:
    if curves.k == 0:
        return None
    use = (curves.times > 0) & (curves.times <= curves.ends[-1])
    times, trained, accuracy = curves.times[use], curves.trained[use], curves.accuracy[use]
    seen = np.arange(accuracy.shape[1]) <= trained[:, None]
    complete = ~(np.isnan(accuracy) & seen).any(axis=1)
    if not complete.any() or times[complete][-1] != curves.ends[-1]:
        return None
    begun = trained[complete] + 1
    mean = np.where(seen, accuracy, 0.0)[complete].sum(axis=1) / begun
    weight = np.diff(times[complete], prepend=0)
    return float((weight * mean * scale[begun - 1]).sum() / weight.sum())


def _area(curves: Curves, experience: int, beta: int) -> float:
    start = curves.start(experience)
    times, values = curves.series(experience, after=start - 1, until=min(start + beta, curves.ends[experience]))
    if len(times) < 2 or times[0] != start:
        return float("nan")
    weight = np.diff(times, prepend=start - 1)
    return float((weight * values).sum() / weight.sum())
