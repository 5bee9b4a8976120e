"""What learning one experience does to the others, before and after.

R[j, i] is the full-test accuracy on the i-th experience after the j-th, R[0, i] that of the initial model; k experiences have
ended. With k = 1 every metric here is None.
"""

from __future__ import annotations

from clframe.eval.metrics.curves import Curves, mean_or_none


def bwt(curves: Curves) -> float | None:
    """Backward transfer from the final row. High is better; minus `forgetting_first_last`.

    BWT_k = (1/(k-1)) sum_{i<k} (R[k, i] - R[i, i]).

    Example:
        >>> from clframe.eval.metrics import bwt, dip
        >>> round(bwt(dip()), 12)
        -0.2

    Reference: Lopez-Paz and Ranzato (2017), GEM, eq. 3; Mammoth.
    """
    r, k = curves.matrix, curves.k
    return mean_or_none([r[k, i] - r[i + 1, i] for i in range(k - 1)])


def bwt_all_rows(curves: Curves) -> float | None:
    """Backward transfer averaged over every later row, not only the final one. High is better.

    (2/(k(k-1))) sum_{j=2..k} sum_{i<j} (R[j, i] - R[i, i]).

    Example:
        >>> from clframe.eval.metrics import bwt_all_rows, dip
        >>> round(bwt_all_rows(dip()), 12)
        -0.2

    Reference: Diaz-Rodriguez et al. (2018).

    Differences:
        1. continuum's code leaves out i = j - 1 and still divides by k(k-1)/2.
    """
    r, k = curves.matrix, curves.k
    return mean_or_none([r[j, i] - r[i + 1, i] for j in range(2, k + 1) for i in range(j - 1)])


def fwt(curves: Curves) -> float | None:
    """Forward transfer: what earlier experiences bring to the next one, over the initial model. High is better.

    FWT_k = (1/(k-1)) sum_{i=2..k} (R[i-1, i] - R[0, i]).

    Example:
        >>> from clframe.eval.metrics import dip, fwt
        >>> fwt(dip())
        0.0

    Reference: Lopez-Paz and Ranzato (2017), GEM, eq. 4; Mammoth.

    Differences:
        1. The baseline is this run's own initial model; GEM and Mammoth use a separately drawn random one.
    """
    r, k = curves.matrix, curves.k
    return mean_or_none([r[i, i] - r[0, i] for i in range(1, k)])


def fwt_without_baseline(curves: Curves) -> float | None:
    """Accuracy on the next experience before it is trained. High is better; compare only at equal numbers of classes.

    (1/(k-1)) sum_{i=2..k} R[i-1, i].

    Example:
        >>> from clframe.eval.metrics import dip, fwt_without_baseline
        >>> fwt_without_baseline(dip())
        0.5

    Reference: Diaz-Rodriguez et al. (2018), without the baseline.

    Differences:
        1. Only the next experience counts; the reference averages over all later ones.
        2. continuum's code sums R[j, i] over i < j, which are past experiences.
    """
    return mean_or_none([curves.matrix[i, i] for i in range(1, curves.k)])
