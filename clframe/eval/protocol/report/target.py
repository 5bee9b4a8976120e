"""Time to target: how much training a method needs until it is good enough, the choice of its options included."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from clframe.errors import DataError, bad_option
from clframe.eval.protocol.cases import Entry
from clframe.eval.result import Result

R_MAX = 4.0
Times = Mapping[str, Sequence[float]]
"""Method -> one time a workload, in the same order for all; infinite where the target was not reached."""


class Time(NamedTuple):
    """How long it took, by two clocks that are the same on every machine; both infinite where the target was not reached.

    Attributes:
        updates: since the start of the stream.
        flops: floating-point operations of training.
    """

    updates: float
    flops: float


NEVER = Time(math.inf, math.inf)


def time_to_target(result: Result, target: float, keep: bool = False) -> Time:
    """When the stream accuracy of a run first reached the target at a measured step, or reached it to keep it.

    The stream accuracy at n is the mean over all experiences, those not yet trained included; so only steps count at which all
    of them were measured: the start, the boundaries, and the measured steps of the last experience. At the boundaries it is
    taken on the whole test sets, as ACC is, between them on the subset of the curves. With W updates in all,

        updates = min {n measured: mean_i A(E_i, f_n) >= target},      flops = train_flops n / W

    which spreads the operations of the run evenly over its updates. With `keep` it is the first n from which on every measured
    step has the target. In continual learning the two differ: plain training learns the last experience before it has
    forgotten the others, and in between may pass a mean accuracy that it is far from at the end.

    Args:
        result: a run.
        target: a mean accuracy over the experiences of the stream.
        keep: whether the target must be kept to the end of the stream.

    Raises:
        OptionError: the target is not a number in [0, 1].

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits(experiences=2)", "er(size=50)", seed=0)
        >>> first, kept = time_to_target(result, 0.5), time_to_target(result, 0.5, keep=True)
        >>> bool(0 < first.updates <= kept.updates <= result.updates[-1]), time_to_target(result, 1.0)
        (True, Time(updates=inf, flops=inf))

    Reference: Dahl et al., "Benchmarking neural network training algorithms", 2023 (AlgoPerf).

    Differences:
        1. The clock counts floating-point operations of training instead of seconds on fixed hardware; evaluation is free.
        2. The target is a stream accuracy on test samples, and it is not the choice's own score: see `default_target`.
        3. Every measured step counts; the paper measures at fixed intervals of time, and stops a run that takes too long.
        4. `keep` is ours.
    """
    if not 0 <= target <= 1:
        raise bad_option("target", "an accuracy in [0, 1]", target, "Give target=0.8, or None for the median of the methods.")
    curves = result.curves
    values = np.where(np.isnan(curves.accuracy).any(axis=1), -np.inf, curves.accuracy.mean(axis=1))
    boundaries = np.isin(curves.times, [0, *curves.ends])
    values[boundaries] = np.nan_to_num(curves.matrix[-boundaries.sum() :].mean(axis=1), nan=-np.inf)
    whole = np.isfinite(values)
    times, good = curves.times[whole], values[whole] >= target - 1e-12
    reached = np.flatnonzero(np.logical_and.accumulate(good[::-1])[::-1] if keep else good)
    if not len(reached):
        return NEVER
    n = int(times[reached[0]])
    return Time(float(n), result.budget.train_flops * n / max(int(curves.times[-1]), 1))


def default_target(entries: Sequence[Entry]) -> float | None:
    """The median over methods of their mean final stream accuracy (ACC): half of the methods end there or above.

    Runs that were not finished are left out, and so are methods without any other; None where no method is left.
    """
    means = []
    for entry in entries:
        known = [r.metrics.acc for r in entry.results if r.metrics.acc is not None]
        if known:
            means.append(sum(known) / len(known))
    return float(median(means)) if means else None


def clock(entry: Entry, seeds: Sequence[int], target: float, *, tuning: bool = False, keep: bool = False) -> list[Time]:
    """Time to target of a method, one an evaluation seed; infinite for a seed without a finished run.

    Args:
        entry: what came of the method.
        seeds: all evaluation seeds.
        target: a stream accuracy.
        tuning: start the clock when the choice begins: with all operations of the trials, where one choice is made for
            all seeds, and with those of its own, on average, where every seed chooses for itself. The updates stay those of the
            reported run. Trials that diverged are not counted.
        keep: as in `time_to_target`.
    """
    by_seed = {r.seed: time_to_target(r, target, keep) for r in entry.results}
    own = len(seeds) if entry.case.protocol.seeds == "each" else 1
    share = entry.tuning_flops / own if tuning and seeds else 0.0
    return [Time(t.updates, t.flops + share) for t in (by_seed.get(s, NEVER) for s in seeds)]


def median_of_min(studies: Sequence[Sequence[float]], count: int | None = None) -> float:
    """The time of one workload: in each study the shortest of its trials, then the median over studies.

    Args:
        studies: the times of the trials of each; a trial that missed the target is infinite, a study without trials, too.
        count: how many studies there should be: those that are missing are infinite.

    Raises:
        DataError: a time that is negative or not a number, or more studies than there should be.

    Example: two missing studies of three make the workload missed.
        >>> inf = math.inf
        >>> median_of_min([[9, 7, inf, 8, 12], [inf, inf], [6, 11, 10, inf, inf]])
        7
        >>> median_of_min([[9, 7, inf, 8, 12]], count=3)
        inf

    Reference: AlgoPerf, external tuning.

    Differences:
        1. The shortest by time; the official code takes the trial with the fewest evaluations, contrary to its documentation.
    """
    _check({f"study {i}": study for i, study in enumerate(studies)})
    if count is not None and len(studies) > count:
        raise DataError(f"There must be at most {count} studies; got {len(studies)}. Give a larger count.")
    least = [min(study, default=math.inf) for study in studies] + [math.inf] * ((count or 0) - len(studies))
    return median(least) if least else math.inf


def ratios(times: Times) -> dict[str, list[float]]:
    """r_sw = t_sw / min_s t_sw: how many times as long as the fastest; infinite where the target was missed.

    Raises:
        DataError: the methods have different numbers of workloads, or a time is negative or not a number.
    """
    _check(times)
    if len({len(own) for own in times.values()}) > 1:
        counts = ", ".join(f"{m} {len(own)}" for m, own in times.items())
        raise DataError(f"Methods must have one time a workload each; got {counts}. Give inf where a target was missed.")
    best = [min(column) for column in zip(*times.values(), strict=True)]
    return {m: [_ratio(t, b) for t, b in zip(own, best, strict=True)] for m, own in times.items()}


def profile(times: Times, tau: float) -> dict[str, float]:
    """rho_s(tau): the share of workloads where the method takes at most tau times as long as the fastest.

    Example:
        >>> profile({"a": [100, 200], "b": [150, math.inf]}, 1.5)
        {'a': 1.0, 'b': 0.5}

    Reference: Dolan and Moré, "Benchmarking optimization software with performance profiles", 2002.
    """
    return {m: sum(r <= tau for r in own) / len(own) if own else 0.0 for m, own in ratios(times).items()}


def profile_score(times: Times, r_max: float = R_MAX) -> dict[str, float]:
    """The area under the performance profile between 1 and r_max, divided by that width: 1 for the fastest everywhere.

        B_s = 1 / (r_max - 1) int_1^r_max rho_s(tau) d tau = mean_w max(0, r_max - r_sw) / (r_max - 1)

    A slower method that is added changes nobody's score; a faster one may.

    Args:
        times: of all methods.
        r_max: where the profile ends, above 1.

    Raises:
        OptionError: r_max is not above 1.
        DataError: as in `ratios`.

    Example:
        >>> inf = math.inf
        >>> times = {"a": [100, 200, 50, 400], "b": [150, 100, 50, inf], "c": [450, 120, 90, 300]}
        >>> {m: round(score, 6) for m, score in profile_score(times).items()}
        {'a': 0.888889, 'b': 0.708333, 'c': 0.666667}

    Reference: AlgoPerf, "benchmark score".

    Differences:
        1. The exact integral; the official code sums 100 trapezoids, .891414 instead of .888889 for "a".
        2. Workloads are counted; the official code divides by eight.
    """
    if not (math.isfinite(r_max) and r_max > 1):
        raise bad_option("r_max", "a number above 1", r_max, "Give r_max=4.0.")
    areas = {m: [max(0.0, r_max - r) / (r_max - 1) for r in own] for m, own in ratios(times).items()}
    return {m: sum(own) / len(own) if own else 0.0 for m, own in areas.items()}


def speed_up(times: Times, reference: str) -> dict[str, tuple[float, int] | None]:
    """How many times as fast as the reference: the geometric mean of t_reference / t, and the workloads that it is over.

    Only workloads where both reached the target, after the start, can be compared; None where there is none.

    Raises:
        OptionError: the reference is not one of the methods.
        DataError: as in `ratios`.

    Example:
        >>> speed_up({"a": [100, 200], "b": [50, math.inf]}, "a")
        {'a': (1.0, 2), 'b': (2.0, 1)}
    """
    if reference not in times:
        raise bad_option("reference", f"one of {', '.join(times)}", reference, "Name a method of the comparison.")
    ratios(times)
    found: dict[str, tuple[float, int] | None] = {}
    for method, own in times.items():
        logs = [math.log(a / b) for a, b in zip(times[reference], own, strict=True) if 0 < a < math.inf and 0 < b < math.inf]
        found[method] = (math.exp(sum(logs) / len(logs)), len(logs)) if logs else None
    return found


def _ratio(time: float, best: float) -> float:
    if math.isinf(time):
        return math.inf
    return time / best if best else (1.0 if time == 0 else math.inf)


def _check(times: Times) -> None:
    for name, own in times.items():
        wrong = next((t for t in own if math.isnan(t) or t < 0), None)
        if wrong is not None:
            raise DataError(f"{name}: a time must be zero, positive or infinite; got {wrong}. Give inf where a target was missed.")
