"""What the numbers say, in sentences: each is computed from the rows, none is a judgement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clframe.eval.records import SUBSETS
from clframe.eval.report import format as fmt
from clframe.eval.report.tables import usable
from clframe.eval.result import Result, Results
from clframe.eval.statistics import summarise

HIDDEN = 0.1
"""A fall between two boundaries that is smaller than this is not told as a gap."""


@dataclass(frozen=True, slots=True)
class Fall:
    """The lowest accuracy on one previous experience during one stretch of training.

    Attributes:
        seed: seed of the run.
        experience: the previous experience that fell.
        trained: the experience in training.
        updates: updates from the boundary to the lowest value.
        before, low, after: accuracy at the boundary before, at the lowest value, at the boundary after.
    """

    seed: int
    experience: int
    trained: int
    updates: int
    before: float
    low: float
    after: float

    @property
    def hidden(self) -> float:
        """How far it fell below both boundaries: what a table of boundaries does not show."""
        return min(self.before, self.after) - self.low


def falls(result: Result) -> list[Fall]:
    """One entry for every previous experience in every finished stretch of training."""
    curves = result.curves
    found: list[Fall] = []
    for trained in range(1, curves.k):
        start, stop = curves.ends[trained - 1], curves.ends[trained]
        for experience in range(trained):
            times, values = curves.series(experience, after=start - 1, until=stop)
            if len(times) < 2 or times[0] != start or times[-1] != stop:
                continue
            at = int(values.argmin())
            ends = float(values[0]), float(values[at]), float(values[-1])
            found.append(Fall(result.seed, experience, trained, int(times[at] - start), *ends))
    return found


def story(results: Results) -> str:
    """One strategy in one scenario, told from its numbers."""
    runs = usable(results)
    acc = summarise([r.metrics.acc for r in runs])
    finished = all(r.finished for r in runs)
    done = _span([r.curves.k for r in runs])
    opening = f"{'ends' if finished else 'stands'} at {fmt.summary(acc)} on average over " + (
        "the experiences" if finished else f"the first {done} experiences, unfinished"
    )
    every = [f for r in runs for f in falls(r)]
    if not every:
        return f"{opening}; no previous experience was measured while another was trained."
    worst = max(every, key=lambda f: f.hidden)
    seed = f", seed {worst.seed}" if len(runs) > 1 else ""
    if worst.hidden >= HIDDEN:
        return (
            f"{opening}. The boundaries hide its deepest gap: on experience {worst.experience} it stood at {worst.before:.2f} "
            f"when experience {worst.trained} began and at {worst.after:.2f} when it ended, but at {worst.low:.2f} only "
            f"{_after(worst.updates)} the switch{seed}."
        )
    lowest = min(every, key=lambda f: f.low)
    seed = f", seed {lowest.seed}" if len(runs) > 1 else ""
    return (
        f"{opening}. Its worst moment on a previous experience is {lowest.low:.2f} (experience {lowest.experience}, "
        f"{_after(lowest.updates)} experience {lowest.trained} began{seed}; {lowest.before:.2f} just before, "
        f"{lowest.after:.2f} when experience {lowest.trained} ended). No fall between "
        f"two boundaries went deeper than the lower of them by more than {max(worst.hidden, 0):.2f}."
    )


def _after(updates: int) -> str:
    return "at" if updates == 0 else f"{updates:,} update{'s' if updates > 1 else ''} after"


def plan(results: Results) -> str:
    """When it was measured and on how much, from the rows."""
    gaps = np.concatenate([np.diff(r.curves.times) for r in results if len(r.curves.times) > 1] or [np.zeros(1)])
    low, high = int(gaps.min()), int(gaps.max())
    if high <= 1:
        when = "measured after every update"
    elif low == high:
        when = f"measured every {high:,} updates"
    else:
        when = f"measured every {low:,} to {high:,} updates (the largest gap between evaluations: {high:,} updates)"
    return f"{when}, {_samples(results)}"


def _samples(results: Results) -> str:
    full, curve = (_span([int(t) for r in results for t in r.rows.loc[r.rows["subset"] == s, "total"]]) for s in SUBSETS)
    kind = " and ".join(dict.fromkeys(str(r.spec.get("resolved", {}).get("tested_on", "test")) for r in results))
    if curve == "0":
        return f"on all {full} {kind} samples of an experience"
    return f"on a fixed subset of {curve} {kind} samples an experience, at the boundaries on all {full}"


def _span(values: Sequence[int]) -> str:
    if not values:
        return "0"
    return f"{min(values):,}" if min(values) == max(values) else f"{min(values):,}–{max(values):,}"


def seeds(results: Results) -> str:
    """The seeds, as a range where they are consecutive.

    Example:
        >>> seeds(Results([]))
        'no seed'
    """
    found = sorted({r.seed for r in results})
    if not found:
        return "no seed"
    if len(found) == 1:
        return f"seed {found[0]}"
    if found == list(range(found[0], found[-1] + 1)):
        return f"seeds {found[0]}–{found[-1]}"
    return f"seeds {', '.join(map(str, found))}"


def size(results: Results) -> str:
    """How long the stream is."""
    updates = [int(r.curves.times[-1]) for r in usable(results) if len(r.curves.times)]
    experiences = [r.curves.accuracy.shape[1] for r in results]
    return f"{_span(experiences)} experiences, {_span(updates)} updates"


def notices(results: Results) -> list[str]:
    """What a reader must know before comparing: unfinished runs, single seeds, runs given twice, unequal options."""
    found: list[str] = []
    for r in results:
        if not r.finished:
            at = int(r.curves.times[-1]) if len(r.curves.times) else 0
            found.append(f"Unfinished: {r.strategy}, seed {r.seed}, stopped after update {at:,} of {r.scenario}.")
    for strategy in results.strategies:
        group = results.of(strategy)
        if len({r.seed for r in group}) < len(group):
            found.append(f"{strategy}: the same seed was given more than once, so the interval is too narrow.")
        unequal = differing(group)
        if unequal:
            found.append(f"{strategy}: its runs differ in {', '.join(unequal)}, so they are not repetitions of one run.")
    if len({frozenset(r.seed for r in results.of(s)) for s in results.strategies}) > 1:
        found.append("The strategies were run with different seeds.")
    return found


def options(result: Result) -> Mapping[str, Any]:
    """What was asked for: the options of the specification, without what they came to in this run."""
    asked: Mapping[str, Any] = result.spec.get("options", result.spec)
    return asked


def differing(results: Results) -> list[str]:
    """Options that are not the same in all runs, the seed apart."""
    specs = [fmt.flat(options(r)) for r in results]
    keys = dict.fromkeys(k for s in specs for k in s)
    return [k for k in keys if k != "seed" and len({s.get(k) for s in specs}) > 1]


def chance(results: Results) -> float | None:
    """Accuracy of guessing among all classes; None without per-class counts, or where a revealed task narrows the choice."""
    if any("task_test" in r.spec.get("resolved", {}).get("reveals", ()) for r in results):
        return None
    labels = {int(label) for r in results for label in r.classes["label"].unique()}
    return 1 / len(labels) if labels else None
