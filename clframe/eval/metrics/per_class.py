"""Accuracy class by class, from the per-class counts on the full test sets at n = 0 and at boundaries."""

from __future__ import annotations

import numpy as np

from clframe.eval.metrics.curves import Curves, mean_or_none


def per_class_accuracy(curves: Curves, k: int | None = None, *, seen: bool = True) -> dict[int, float]:
    """Accuracy of each class by its label, after the k-th experience; empty where no per-class counts were kept.

    acc_c = sum_i correct[i, c] / sum_i total[i, c] over the experiences i that hold test samples of class c.

    Args:
        curves: the curves of one run, built with `classes`.
        k: experiences finished; 0 for the initial model, None for the last finished one.
        seen: only test sets of experiences trained by then; False takes those of the whole stream.

    Example:
        >>> import pandas as pd
        >>> from clframe.eval.metrics import Curves
        >>> count = {"correct": [3, 1], "total": [4, 4]}
        >>> rows = pd.DataFrame({"n": [0, 9], "trained": [-1, 0], "evaluated": [0, 0], "subset": "full", **count})
        >>> classes = pd.DataFrame({"n": [9, 9], "evaluated": [0, 0], "label": [5, 7], **count})
        >>> per_class_accuracy(Curves.from_rows(rows, classes=classes))
        {5: 0.75, 7: 0.25}
    """
    k = curves.k if k is None else k
    if curves.classes is None:
        return {}
    c = curves.classes
    rows = c.n == (curves.ends[k - 1] if k else 0)
    if seen:
        rows &= c.evaluated < k
    labels, code = np.unique(c.label[rows], return_inverse=True)
    correct = np.bincount(code, weights=c.correct[rows], minlength=len(labels))
    total = np.bincount(code, weights=c.total[rows], minlength=len(labels))
    return {int(y): float(a / b) for y, a, b in zip(labels, correct, total, strict=True) if b > 0}


def mean_class_accuracy(curves: Curves) -> float | None:
    """Mean over the classes seen of their accuracy at the last boundary. High is better; robust to unequal class sizes.

    (1/|C_k|) sum_{c in C_k} acc_c. None where no per-class counts were kept.

    Example:
        >>> from clframe.eval.metrics import dip, mean_class_accuracy
        >>> mean_class_accuracy(dip()) is None
        True
    """
    return mean_or_none(list(per_class_accuracy(curves).values()))


def worst_class_accuracy(curves: Curves) -> float | None:
    """Accuracy of the worst class seen, at the last boundary. High is better.

    min_{c in C_k} acc_c. None where no per-class counts were kept.

    Example:
        >>> from clframe.eval.metrics import dip, worst_class_accuracy
        >>> worst_class_accuracy(dip()) is None
        True
    """
    return min(per_class_accuracy(curves).values(), default=None)


def amca(curves: Curves) -> float | None:
    """AMCA, average mean class accuracy: over the classes of the whole stream, averaged over the boundaries. High is better.

    (1/k) sum_{j<=k} (1/|C|) sum_{c in C} acc_c(f_|T_j|), C all classes of the stream, unseen ones included.

    Example:
        >>> from clframe.eval.metrics import amca, dip
        >>> amca(dip()) is None
        True

    Reference: Avalanche `amca.py` (evaluation on the whole test stream after each experience).

    Differences:
        1. Avalanche keeps one value a task label; labels are not told apart here.
    """
    return _over_boundaries(curves, seen=False)


def amca_seen(curves: Curves) -> float | None:
    """AMCA over the classes seen by each boundary only. High is better.

    (1/k) sum_{j<=k} (1/|C_j|) sum_{c in C_j} acc_c(f_|T_j|), C_j the classes of the first j experiences.

    Example:
        >>> from clframe.eval.metrics import amca_seen, dip
        >>> amca_seen(dip()) is None
        True
    """
    return _over_boundaries(curves, seen=True)


def _over_boundaries(curves: Curves, seen: bool) -> float | None:
    tables = [per_class_accuracy(curves, j, seen=seen) for j in range(1, curves.k + 1)]
    return mean_or_none([sum(t.values()) / len(t) if t else float("nan") for t in tables])
