"""Forgetting is not one number: each variant under a name that says which.

R[j, i] is the full-test accuracy on the i-th experience after the j-th; k experiences have ended. With k = 1 there is
nothing to forget and every variant is None.
"""

from __future__ import annotations

import numpy as np

from clframe.eval.metrics.curves import Curves, mean_or_none


def forgetting_first_last(curves: Curves) -> float | None:
    """FORG: accuracy right after learning minus accuracy now. Low is better; negative means backward transfer.

    FORG_k = (1/(k-1)) sum_{i<k} (R[i, i] - R[k, i]).

    Example:
        >>> from clframe.eval.metrics import dip, forgetting_first_last
        >>> round(forgetting_first_last(dip()), 12)
        0.2

    Reference: De Lange et al. (2023), section 2; Avalanche `StreamForgetting`.

    Differences:
        1. LibContinual leaves the (k-1)-th experience out of the sum and still divides by k - 1.
    """
    k = curves.k
    return mean_or_none(np.diagonal(curves.matrix[1:])[: max(k - 1, 0)] - curves.matrix[k, : max(k - 1, 0)])


def forgetting_max_final_included(curves: Curves) -> float | None:
    """Best accuracy since it was learned, the present one included, minus accuracy now. Low is better; never negative.

    (1/(k-1)) sum_{i<k} (max_{i<=j<=k} R[j, i] - R[k, i]).

    Example:
        >>> from clframe.eval.metrics import dip, forgetting_max_final_included
        >>> round(forgetting_max_final_included(dip()), 12)
        0.2

    Reference: Mammoth `utils/metrics.py`; PyCIL `trainer.py`.

    Differences:
        1. PyCIL sorts the groups of classes as strings, which moves columns between 2- and 3-digit labels; here experiences
           are numbers.
    """
    return _from_best(curves, final=True)


def forgetting_max_before_final(curves: Curves) -> float | None:
    """Best accuracy before the last experience minus accuracy now. Low is better; negative means backward transfer.

    (1/(k-1)) sum_{i<k} (max_{i<=j<k} R[j, i] - R[k, i]).

    Example:
        >>> from clframe.eval.metrics import dip, forgetting_max_before_final
        >>> round(forgetting_max_before_final(dip()), 12)
        0.2

    Reference: Chaudhry et al. (2018), RWalk, eq. 3.

    Differences:
        1. The paper's maximum starts at j = 1; rows before the i-th experience was trained are left out, as continuum does.
        2. continuum's code leaves out both the (k-1)-th experience and the (k-1)-th row, and still divides by k - 1.
    """
    return _from_best(curves, final=False)


def _from_best(curves: Curves, final: bool) -> float | None:
    r, k = curves.matrix, curves.k
    stop = k + 1 if final else k
    return mean_or_none([np.max(r[i + 1 : stop, i]) - r[k, i] for i in range(k - 1)])
