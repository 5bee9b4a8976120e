"""How a study was done, for its page: the search, what could be chosen, the phases, the streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from clframe.eval.protocol.cases import Entry
from clframe.eval.protocol.outcome import Group
from clframe.eval.protocol.report.figures import direction
from clframe.eval.protocol.report.target import R_MAX
from clframe.eval.protocol.study import Study
from clframe.eval.report import format as fmt
from clframe.eval.statistics import summarise


def how(study: Study) -> Iterator[tuple[str, str]]:
    """(key, value) of the search, the seeds, the metric and the options of all runs."""
    yield "search", f"{study.search}, {count(study.trials, 'trial')} a method, root seed {study.seed}"
    yield "tuning seeds", ", ".join(map(str, study.tuning_seeds))
    yield "evaluation seeds", ", ".join(map(str, study.evaluation_seeds))
    yield "metric of the choice", f"{study.metric}, {direction(study.metric)}, on validation samples"
    yield "validation share", f"{study.validation:g} of each experience's training samples, while tuning"
    interval = fmt.interval(summarise([0.0] * max(2, len(study.evaluation_seeds))))
    yield "intervals", f"{interval} of the mean over evaluation seeds" if len(study.evaluation_seeds) > 1 else "none: one seed"
    yield from ((f"options.{k}", v) for k, v in fmt.flat(dict(study.options)).items() if k != "data_dir")
    yield "performance profile", f"to {R_MAX:g} times the fastest"


def spaces(study: Study) -> list[tuple[str, list[str]]]:
    """(method, what could be chosen for it)."""

    def words(dimension: Any) -> str:
        if hasattr(dimension, "values"):
            return ", ".join(map(str, dimension.values))
        return f"{dimension.low:g} to {dimension.high:g}{', log' if dimension.log else ''}"

    return [(m, [f"{n}: {words(d)}" for n, d in space.items()]) for m, space in study.methods.items()]


def phases(found: Iterable[tuple[Group, Entry | None]]) -> Iterator[list[str]]:
    """Where each protocol tunes and scores, what it looks at, whether one pass could do it, and its cost."""
    for group, entry in found:
        tuned, scored = (entry.case.tuning, entry.case.scored) if entry is not None else (None, None)
        places = [fmt.DASH if p is None else f"{p.scenario} ({p.tested_on} samples)" for p in (tuned, scored)]
        yield [group.scenario, group.protocol, group.looks_at, "yes" if group.deployable else "no", *places, f"{group.cost:,g}"]


def streams(entries: Sequence[Entry]) -> Iterator[tuple[str, int, str]]:
    """(scenario, seed, fingerprint) of every stream that was scored on."""
    found = {(r.scenario, r.seed, str(r.spec.get("resolved", {}).get("stream", fmt.DASH))) for e in entries for r in e.results}
    yield from sorted(found)


def count(n: int, word: str) -> str:
    """A number of things, in words.

    Example:
        >>> count(1, "trial"), count(1200, "trial")
        ('1 trial', '1,200 trials')
    """
    return f"{n:,} {word}{'' if n == 1 else 's'}"
