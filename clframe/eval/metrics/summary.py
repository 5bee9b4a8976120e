"""The table of metrics: every one by name, with its direction and its unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Literal

from clframe.errors import DataError, bad_option, unknown_name
from clframe.eval.metrics import anytime, end_of_task, forgetting, gap, per_class, transfer, window, worst_case
from clframe.eval.metrics.curves import Curves
from clframe.registry import Registry

if TYPE_CHECKING:
    import pandas as pd

Unit = Literal["accuracy", "share", "updates", "accuracy x updates"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that describes a run.

    Attributes:
        name: the name that reports and tables use.
        function: curves -> value, or None where it is not defined (never 0, never NaN).
        better: "high", "low", or None where neither is.
        description: one line.
        unit: of the value.
    """

    name: str
    function: Callable[[Curves], float | None]
    better: Literal["high", "low"] | None
    description: str
    unit: Unit = "accuracy"

    @property
    def higher_is_better(self) -> bool | None:
        """`better` as a truth value; None where there is no direction."""
        return None if self.better is None else self.better == "high"


class MetricTable(MutableMapping[str, Metric]):
    """Metrics by name: the given ones, those set with `table[name] = metric`, and those that installed packages register.

    An installed package registers a `Metric` as an entry point of the group "clframe.metrics"; it is imported when used.
    """

    def __init__(self, *metrics: Metric) -> None:
        self._metrics = {m.name: m for m in metrics}

    def __getitem__(self, name: str) -> Metric:
        if name not in self._metrics and name in _INSTALLED.names():
            found = _INSTALLED.load(name)
            if not isinstance(found, Metric):
                raise bad_option(f"entry point {name!r} of clframe.metrics", "a Metric", found, "Register a Metric object.")
            self._metrics[name] = found
        return self._metrics[name]

    def __setitem__(self, name: str, metric: Metric) -> None:
        self._metrics[name] = metric

    def __delitem__(self, name: str) -> None:
        del self._metrics[name]

    def __contains__(self, name: object) -> bool:
        return name in self._metrics or name in _INSTALLED.names()

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._metrics, *_INSTALLED.names()]))

    def __len__(self) -> int:
        return len(list(iter(self)))


_INSTALLED = Registry("metric", {}, group="clframe.metrics")


_first_last = forgetting.forgetting_first_last
_final_included = forgetting.forgetting_max_final_included
_before_final = forgetting.forgetting_max_before_final
_incremental = end_of_task.average_incremental_accuracy

METRICS = MetricTable(
    Metric("acc", end_of_task.acc, "high", "accuracy at the end, mean over experiences (full test)"),
    Metric("acc_curve", end_of_task.acc_curve, "high", "accuracy at the end on the samples of the curves"),
    Metric("acc_sample_mean", end_of_task.acc_sample_mean, "high", "accuracy at the end, mean over samples (full test)"),
    Metric("average_incremental_accuracy", _incremental, "high", "mean of acc over all boundaries"),
    Metric("la", end_of_task.la, "high", "accuracy of each experience right after it was learned"),
    Metric("forgetting_first_last", _first_last, "low", "accuracy after learning minus accuracy at the end"),
    Metric("forgetting_max_final_included", _final_included, "low", "best accuracy, end included, minus accuracy at the end"),
    Metric("forgetting_max_before_final", _before_final, "low", "best accuracy before the end minus accuracy at the end"),
    Metric("bwt", transfer.bwt, "high", "backward transfer, final row"),
    Metric("bwt_all_rows", transfer.bwt_all_rows, "high", "backward transfer, mean over all later rows"),
    Metric("fwt", transfer.fwt, "high", "accuracy before training minus that of the initial model"),
    Metric("fwt_without_baseline", transfer.fwt_without_baseline, "high", "accuracy before training"),
    Metric("min_acc", worst_case.min_acc, "high", "lowest accuracy since learned, mean over previous experiences"),
    Metric("wc_acc", worst_case.wc_acc, "high", "worst case: last experience now, previous ones at their lowest"),
    Metric("wf_10", partial(window.wf, window=10), "low", "largest drop within 10 updates"),
    Metric("wf_100", partial(window.wf, window=100), "low", "largest drop within 100 updates"),
    Metric("wp_10", partial(window.wp, window=10), "high", "largest gain within 10 updates"),
    Metric("wp_100", partial(window.wp, window=100), "high", "largest gain within 100 updates"),
    Metric("aaa", anytime.aaa, "high", "average anytime accuracy over updates"),
    Metric("aaa_calibrated", anytime.aaa_calibrated, "high", "anytime accuracy scaled by the share of experiences seen"),
    Metric("lca_10", partial(anytime.lca, beta=10), "high", "learning curve area over the first 10 updates"),
    Metric("gap_depth", gap.gap_depth, "low", "mean depth of the stability gap"),
    Metric("gap_area", gap.gap_area, "low", "mean area of the stability gap until recovery", "accuracy x updates"),
    Metric("relative_dip", gap.relative_dip, "low", "lowest point as a share lost of what was learned", "share"),
    Metric("recovery_time_median", gap.recovery_time_median, "low", "median updates to recovery, never = infinite", "updates"),
    Metric("recovery_time_mean", gap.recovery_time_mean, "low", "mean updates to recovery of those that recovered", "updates"),
    Metric("recovered_share", gap.recovered_share, "high", "share of gaps recovered before the next boundary", "share"),
    Metric("mean_class_accuracy", per_class.mean_class_accuracy, "high", "mean accuracy of the classes seen, at the end"),
    Metric("worst_class_accuracy", per_class.worst_class_accuracy, "high", "accuracy of the worst class seen, at the end"),
    Metric("amca", per_class.amca, "high", "mean class accuracy, all classes, averaged over boundaries"),
    Metric("amca_seen", per_class.amca_seen, "high", "mean class accuracy, classes seen, averaged over boundaries"),
    Metric("largest_evaluation_gap", anytime.largest_evaluation_gap, None, "most updates between evaluations", "updates"),
)


def compute(curves: Curves, names: Iterable[str] | None = None) -> dict[str, float | None]:
    """Metrics by name, in the order asked for; None stands for all that are registered.

    Raises:
        OptionError: an unknown name.
        DataError: a registered metric returned a value that is not finite.

    Example:
        >>> from clframe.eval.metrics import dip
        >>> compute(dip(), ["acc", "min_acc"])
        {'acc': 0.75, 'min_acc': 0.3}
    """
    values: dict[str, float | None] = {}
    for name in METRICS if names is None else names:
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS)
        value = METRICS[name].function(curves)
        if value is not None and not math.isfinite(value):
            raise DataError(f"metric {name} must be finite or None; got {value}. Return None where it is not defined.")
        values[name] = value
    return values


@dataclass(frozen=True)
class Metrics:
    """The headline metrics of one run; None where one is not defined. `METRICS` describes each field.

    Example:
        >>> from clframe.eval.metrics import dip
        >>> Metrics.from_curves(dip()).min_acc
        0.3
    """

    acc: float | None
    acc_curve: float | None
    acc_sample_mean: float | None
    average_incremental_accuracy: float | None
    la: float | None
    forgetting_first_last: float | None
    forgetting_max_final_included: float | None
    forgetting_max_before_final: float | None
    bwt: float | None
    bwt_all_rows: float | None
    fwt: float | None
    fwt_without_baseline: float | None
    min_acc: float | None
    wc_acc: float | None
    wf_10: float | None
    wf_100: float | None
    wp_10: float | None
    wp_100: float | None
    aaa: float | None
    aaa_calibrated: float | None
    lca_10: float | None
    gap_depth: float | None
    gap_area: float | None
    relative_dip: float | None
    recovery_time_median: float | None
    recovery_time_mean: float | None
    recovered_share: float | None
    mean_class_accuracy: float | None
    worst_class_accuracy: float | None
    amca: float | None
    amca_seen: float | None
    largest_evaluation_gap: float | None

    @classmethod
    def from_curves(cls, curves: Curves) -> Metrics:
        """The headline metrics of curves already built."""
        return cls(**compute(curves, [f.name for f in fields(cls)]))

    @classmethod
    def from_rows(cls, rows: pd.DataFrame, classes: pd.DataFrame | None = None, *, finished: bool = True) -> Metrics:
        """The headline metrics of the one run in `rows`; arguments and errors as in `Curves.from_rows`."""
        return cls.from_curves(Curves.from_rows(rows, classes=classes, finished=finished))
