"""Strategies that promise to keep their weights in boxes: what is certified, whether it still holds, in words and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clframe.errors import bad_option
from clframe.eval.metrics import certificates as metrics
from clframe.eval.report import format as fmt
from clframe.eval.report.capacity import percent
from clframe.eval.report.series import Floats
from clframe.eval.result import Result, Results

NEAR = 0.01
"""Accuracies on the same samples that differ by no more than this are taken for the same answer."""


@dataclass(frozen=True)
class Certified:
    """The certificate table of one run as arrays over the experiences that have ended (K,); NaN where nothing was promised.

    Attributes:
        accuracy, certified: as the experience ended; certified accuracy is over the boxes that it ended with.
        gap: accuracy that the attack left on some of the samples, minus what is certified of those; NaN where there was none.
        now: accuracy when the last of them ended.
        bound: what can be lost of `accuracy`; NaN where the promise is broken.
        containment: share of the weights in their boxes, when the last of them ended.
        kept: 1 where all weights were, then; else 0.
        wrong: certified samples that were wrong, then.
        radius: mean radius of the boxes.
        answers: whether the accuracies are those of the record table; they are not where a strategy must also find out which
            experience a sample is of.
        finished: whether the run is.
    """

    accuracy: Floats
    certified: Floats
    gap: Floats
    now: Floats
    bound: Floats
    containment: Floats
    kept: Floats
    wrong: Floats
    radius: Floats
    answers: bool
    finished: bool

    @classmethod
    def of(cls, result: Result) -> Certified:
        """The tables of a run.

        Raises:
            OptionError: it has none.
        """
        table, curves = result.certificates, result.curves
        if table is None:
            remedy = "Give a run of a method that promises something of its weights."
            raise bad_option("result", "a run with a certificate table", result.strategy, remedy)
        ended = {name: metrics.at_end(table, curves, name) for name in ("accuracy", "certified", "gap", "radius")}
        now = {name: metrics.at_last(table, curves, name) for name in ("accuracy", "containment", "kept", "certified_wrong")}
        predicted = curves.curve_matrix[curves.k, : curves.k]
        bound = [np.nan if b is None else b for b in metrics.forgetting_bound(table, curves)]
        return cls(
            **ended,
            now=now["accuracy"],
            bound=np.array(bound, dtype=np.float64),
            containment=now["containment"],
            kept=np.where(np.isnan(ended["certified"]), np.nan, now["kept"]),
            wrong=now["certified_wrong"],
            answers=not bool((np.abs(predicted - now["accuracy"]) > NEAR).any()),
            finished=result.finished,
        )

    @property
    def broken(self) -> list[int]:
        """Experiences whose promise is broken, the one with the smallest share of weights in boxes first."""
        found = np.flatnonzero(self.kept == 0)
        return [int(k) for k in found[np.argsort(self.containment[found], kind="stable")]]

    @property
    def promised(self) -> int:
        """How many experiences something is promised of."""
        return int((~np.isnan(self.kept)).sum())

    @property
    def was_attacked(self) -> bool:
        """Whether networks in the boxes were attacked."""
        return bool((~np.isnan(self.gap)).any())


def of_strategy(results: Results) -> tuple[Certified, Result] | None:
    """The certificates of the run in which most is broken, the first of those; None where nothing was promised."""
    found = _promising(results)
    return min(found, key=lambda pair: float(np.nanmin(pair[0].containment))) if found else None


def answer(c: Certified) -> str:
    """Whether the promises are kept, and what can be lost, in sentences."""
    samples = f"{percent(float(np.nanmean(c.certified)))} % of the samples are certified"
    if not c.broken:
        most = int(np.nanargmax(c.bound))
        whose = f"all {c.promised} experiences" if c.promised > 1 else "the experience"
        where = f", on experience {most}" if c.bound[most] > 0 else ""
        return (
            f"keeps every certified sample correct: the weights that answer for {whose} lie in their boxes. While they do, "
            f"{can_be_lost(float(c.bound[most]))}{where}; {samples}."
        )
    first, count = c.broken[0], len(c.broken)
    if count == 1:
        said = (
            f"has broken the promise of experience {first}: {percent(c.containment[first])} % of its weights lie in their boxes, "
        )
        said += "so its certificates no longer hold"
    else:
        said = (
            f"has broken the promises of {count} of {c.promised} experiences, so their certificates no longer hold: of experience "
        )
        said += f"{first}, {percent(c.containment[first])} % of the weights lie in their boxes"
    wrong = int(np.nansum(c.wrong))
    said += f"; {wrong:,} certified sample{'s are' if wrong > 1 else ' is'} wrong by now." if wrong else "."
    return f"{said} When each experience ended, {samples.replace('are', 'were')}."


def over_seeds(results: Results, shown: Result) -> str:
    """Which run is shown, and in how many promises are kept; nothing of a single run."""
    runs = [c for c, _ in _promising(results)]
    if len(runs) < 2:
        return ""
    kept = sum(not c.broken for c in runs)
    return f"All of this is seed {shown.seed}; promises are kept to the end in {kept} of {len(runs)} runs."


def caption(c: Certified, columns: bool) -> str:
    """What the lines of the figure are, or its columns."""
    what = "accuracy" if c.answers else "accuracy where the experience of each sample is told"
    if columns:
        ends = ", hollow where the promise is broken" if c.broken else ""
        return f"from certified accuracy to {what} at the end of each experience; dots: accuracy now{ends}"
    return f"{what}; dashed: certified accuracy" + (", dotted where it no longer holds" if c.broken else "")


def lines(c: Certified) -> list[list[str]]:
    """One row an experience: number, accuracy at its end, certified, gap, bound, accuracy now, share of weights, radius."""
    columns: Sequence[Floats] = (c.accuracy, c.certified, *([c.gap] if c.was_attacked else []), c.bound, c.now)
    rows = []
    for k in range(len(c.accuracy)):
        share = fmt.DASH if np.isnan(c.containment[k]) else percent(c.containment[k])
        size = fmt.DASH if np.isnan(c.radius[k]) else f"{c.radius[k]:.2g}"
        rows.append([str(k), *(fmt.number(float(column[k])) for column in columns), share, size])
    return rows


def terminal(results: Results) -> list[str]:
    """A line for each strategy of each scenario that promises something."""
    found = []
    for scenario in results.scenarios:
        for strategy in results.of(scenario=scenario).strategies:
            runs = _promising(results.of(strategy, scenario))
            if runs:
                name = strategy if len(results.scenarios) == 1 else f"{strategy}, {scenario}"
                found.append(f"certificates: {name}: {_in_short(runs)}")
    return found


def can_be_lost(bound: float) -> str:
    """What a bound on forgetting says, in points of accuracy, rounded up.

    Example:
        >>> can_be_lost(0.1234), can_be_lost(0.02), can_be_lost(0.0)
        ('at most 12.4 points of accuracy can be lost', 'at most 2 points of accuracy can be lost', 'no accuracy can be lost')
    """
    points = math.ceil(round(1000 * bound, 6)) / 10
    return f"at most {points:g} points of accuracy can be lost" if points > 0 else "no accuracy can be lost"


def _promising(results: Results) -> list[tuple[Certified, Result]]:
    """The runs that promise something of an experience that has ended."""
    found = [(Certified.of(r), r) for r in results if r.certificates is not None and r.curves.k]
    return [(c, r) for c, r in found if c.promised]


def _in_short(runs: Sequence[tuple[Certified, Result]]) -> str:
    share = np.mean([float(np.nanmean(c.certified)) for c, _ in runs])
    kept = [c for c, _ in runs if not c.broken]
    said = f"{percent(float(share))} % of samples certified; promises kept in {len(kept)} of {len(runs)} run{'s' * (len(runs) > 1)}"
    if len(kept) == len(runs):
        worst, result = max(runs, key=lambda run: float(np.nanmax(run[0].bound)))
        most = int(np.nanargmax(worst.bound))
        where = f"experience {most}{_seed(runs, result)}" if worst.bound[most] > 0 else f"any of the {worst.promised} experiences"
        return f"{said}, so {can_be_lost(float(worst.bound[most]))} on {where}"
    worst, result = min(runs, key=lambda run: float(np.nanmin(run[0].containment)))
    least = int(np.nanargmin(worst.containment))
    whose = f"of those of experience {least}{_seed(runs, result)}"
    return f"{said}; the fewest weights in their boxes: {percent(float(worst.containment[least]))} % {whose}"


def _seed(runs: Sequence[tuple[Certified, Result]], result: Result) -> str:
    return f" (seed {result.seed})" if len(runs) > 1 else ""
