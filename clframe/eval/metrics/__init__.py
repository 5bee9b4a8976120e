"""Metrics: pure functions of the record table of one run.

    curves = Curves.from_rows(result.rows)
    acc(curves), min_acc(curves), wf(curves, window=10)

A metric is a function of `Curves` that returns a number, or None where it is not defined. Windows and areas count updates, not
evaluations. To add one, register it: `METRICS["mine"] = Metric("mine", function, "high", "one line")`, or, in a
package of your own, an entry point of the group "clframe.metrics" that names such a `Metric`.
"""

from __future__ import annotations

from clframe.eval.metrics.anytime import aaa, aaa_calibrated, largest_evaluation_gap, lca
from clframe.eval.metrics.curves import ClassCounts, Curves, dip
from clframe.eval.metrics.end_of_task import acc, acc_curve, acc_sample_mean, average_incremental_accuracy, la
from clframe.eval.metrics.forgetting import (
    forgetting_first_last,
    forgetting_max_before_final,
    forgetting_max_final_included,
)
from clframe.eval.metrics.gap import (
    Gap,
    gap_area,
    gap_depth,
    gaps,
    recovered_share,
    recovery_table,
    recovery_time_mean,
    recovery_time_median,
    relative_dip,
)
from clframe.eval.metrics.per_class import (
    amca,
    amca_seen,
    mean_class_accuracy,
    per_class_accuracy,
    worst_class_accuracy,
)
from clframe.eval.metrics.representation import alpha_req, rankme
from clframe.eval.metrics.summary import METRICS, Metric, Metrics, compute
from clframe.eval.metrics.transfer import bwt, bwt_all_rows, fwt, fwt_without_baseline
from clframe.eval.metrics.window import wf, windowed, wp
from clframe.eval.metrics.worst_case import min_acc, wc_acc

__all__ = [
    "METRICS",
    "ClassCounts",
    "Curves",
    "Gap",
    "Metric",
    "Metrics",
    "aaa",
    "aaa_calibrated",
    "acc",
    "acc_curve",
    "acc_sample_mean",
    "alpha_req",
    "amca",
    "amca_seen",
    "average_incremental_accuracy",
    "bwt",
    "bwt_all_rows",
    "compute",
    "dip",
    "forgetting_first_last",
    "forgetting_max_before_final",
    "forgetting_max_final_included",
    "fwt",
    "fwt_without_baseline",
    "gap_area",
    "gap_depth",
    "gaps",
    "la",
    "largest_evaluation_gap",
    "lca",
    "mean_class_accuracy",
    "min_acc",
    "per_class_accuracy",
    "rankme",
    "recovered_share",
    "recovery_table",
    "recovery_time_mean",
    "recovery_time_median",
    "relative_dip",
    "wc_acc",
    "wf",
    "windowed",
    "worst_class_accuracy",
    "wp",
]
