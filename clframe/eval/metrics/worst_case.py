"""The lowest point of each curve: what an evaluation at the boundaries never sees."""

from __future__ import annotations

from clframe.eval.metrics.curves import Curves, mean_or_none


def min_acc(curves: Curves) -> float | None:
    """min-ACC: the lowest accuracy of each previous experience since it was learned. High is better.

    min-ACC_k = (1/(k-1)) sum_{i<k} min_n { A(E_i, f_n) : |T_i| < n <= |T_k| }, with |T_i| = `curves.ends[i]`. None for k = 1.
    Only evaluated updates count, so a coarser plan can only raise it: see `largest_evaluation_gap`.

    Example:
        >>> from clframe.eval.metrics import dip, min_acc
        >>> min_acc(dip())
        0.3

    Reference: De Lange et al. (2023), eq. 2.

    Differences:
        1. The released code draws the evaluation subset anew at every update, which biases the minimum down (by 2 to 6 points).
        2. With evaluation every rho > 1 updates the released code may miss the model at the boundary; here it is in the curve.
    """
    return mean_or_none([_lowest(curves, i) for i in range(curves.k - 1)])


def wc_acc(curves: Curves) -> float | None:
    """WC-ACC: the accuracy just learned and the worst of what was learned before. High is better; at most `acc_curve`.

    WC-ACC = (1/k) A(E_k, f_|T_k|) + (1 - 1/k) min-ACC_k. For k = 1 it is A(E_1, f_|T_1|).

    Example:
        >>> from clframe.eval.metrics import dip, wc_acc
        >>> round(wc_acc(dip()), 12)
        0.55

    Reference: De Lange et al. (2023), eq. 6.
    """
    k = curves.k
    if k == 0:
        return None
    return mean_or_none([curves.curve_matrix[k, k - 1], *(_lowest(curves, i) for i in range(k - 1))])


def _lowest(curves: Curves, experience: int) -> float:
    _, values = curves.series(experience, after=curves.ends[experience])
    return float(values.min()) if len(values) else float("nan")
