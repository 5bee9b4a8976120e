"""What the usual tables show: accuracies of the models at the ends of experiences.

R[j, i] is the full-test accuracy on the i-th experience after the j-th (`curves.matrix`, whose row 0 is the initial model).
"""

from __future__ import annotations

import numpy as np

from clframe.eval.metrics.curves import Curves, mean_or_none


def acc(curves: Curves) -> float | None:
    """ACC, the task mean: average full-test accuracy over the experiences seen. High is better.

    ACC_k = (1/k) sum_{i<=k} A(E_i, f_|T_k|), with A from `curves.matrix[k]`. None before the first experience has ended.

    Example:
        >>> from clframe.eval.metrics import acc, dip
        >>> acc(dip())
        0.75

    Reference: Lopez-Paz and Ranzato (2017), GEM; De Lange et al. (2023), section 2.

    Differences:
        1. Avalanche's stream accuracy with one task label is the sample mean: see `acc_sample_mean`.
    """
    return mean_or_none(curves.matrix[-1, : curves.k])


def acc_curve(curves: Curves) -> float | None:
    """ACC on the samples of the curves, the ones that min-ACC and WC-ACC see. High is better.

    As `acc`, with `curves.curve_matrix`: the value that WC-ACC bounds from below.

    Example:
        >>> from clframe.eval.metrics import acc_curve, dip
        >>> acc_curve(dip())
        0.75

    Reference: De Lange et al. (2023), section 2.

    Differences:
        1. The released code takes ACC from the full test set and WC-ACC from a subset, so there the bound need not hold.
    """
    return mean_or_none(curves.curve_matrix[-1, : curves.k])


def acc_sample_mean(curves: Curves) -> float | None:
    """ACC, the sample mean: correct over total on the test samples of all experiences seen. High is better.

    (sum_{i<=k} m_i A(E_i, f_|T_k|)) / sum_{i<=k} m_i, with m_i = `curves.sizes[i]`. Equals `acc` for equal test sizes.

    Example:
        >>> from clframe.eval.metrics import Curves, acc_sample_mean
        >>> acc_sample_mean(Curves.from_arrays([1, 2], [[0.8, 0.0], [0.5, 1.0]], ends=[1, 2], sizes=[300, 100]))
        0.625

    Reference: Avalanche `StreamAccuracy` with one task label.
    """
    sizes = curves.sizes[: curves.k]
    if curves.k == 0 or (sizes < 1).any():
        return None
    share = sizes / sizes.sum()
    return mean_or_none([float((share * curves.matrix[-1, : curves.k]).sum())])


def average_incremental_accuracy(curves: Curves) -> float | None:
    """Mean of ACC over the ends of all experiences. High is better.

    (1/k) sum_{j<=k} ACC_j.

    Example:
        >>> from clframe.eval.metrics import average_incremental_accuracy, dip
        >>> average_incremental_accuracy(dip())
        0.825

    Reference: Rebuffi et al. (2017), iCaRL.

    Differences:
        1. PyCIL and the original average sample means; equal where every experience has as many test samples.
    """
    return mean_or_none([np.mean(curves.matrix[j, :j]) for j in range(1, curves.k + 1)])


def la(curves: Curves) -> float | None:
    """Learning accuracy: each experience right after it was learned. High is better.

    LA_k = (1/k) sum_{i<=k} A(E_i, f_|T_i|), so ACC_k = LA_k - (k-1)/k FORG_k with `forgetting_first_last`.

    Example:
        >>> from clframe.eval.metrics import dip, la
        >>> round(la(dip()), 12)
        0.85

    Reference: Riemer et al. (2019), MER.
    """
    return mean_or_none(np.diagonal(curves.matrix[1:]))
