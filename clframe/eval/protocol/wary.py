"""What to be wary of in the outcome of a study, each a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clframe.eval.protocol.cases import Entry, length, tuning_seeds
from clframe.eval.protocol.space import Space
from clframe.eval.protocol.study import Study

if TYPE_CHECKING:
    from clframe.eval.protocol.outcome import Line


def warnings(study: Study, entries: Sequence[Entry], lines: Sequence[Line]) -> Iterator[str]:
    """What to be wary of, each a sentence."""
    case = entries[0].case
    if not case.protocol.deployable:
        yield "The choice looked at the whole stream that is scored: no learner of one pass could have made it."
    if case.protocol.reuses:
        yield "Data that the choice looked at counts in the score."
    same = case.tuning is not None and case.protocol.seeds == "other" and set(study.tuning_seeds) & set(study.evaluation_seeds)
    if same:
        yield f"Both phases have the seeds {sorted(same)}, and so the same class orders."
    tried = {line.method: line.trials for line in lines if line.trials}
    if len(set(tried.values())) > 1:
        yield f"Numbers of trials differ: {', '.join(f'{m} {n}' for m, n in tried.items())}."
    yield from _unequal_compute(entries)
    for line in lines:
        if line.edges:
            yield f"{line.method}: {', '.join(line.edges)} lies at the edge of what could be chosen."
        if line.score.missing:
            runs = f"{line.score.missing} of {len(study.evaluation_seeds)} runs"
            yield f"{line.method}: {study.metric} is not defined in {runs}, so it has no rank."
        if line.diverged:
            yield f"{line.method}: the loss was not finite in {line.diverged} of {len(study.evaluation_seeds)} runs."
    for entry in entries:
        pruned = sum(t.pruned_after is not None for t in entry.trials)
        if pruned:
            yield f"{entry.case.method}: {pruned} of {len(entry.trials)} trials were pruned; spread is of the others."
        lost = sum(t.score is None and t.pruned_after is None for t in entry.trials)
        if case.tuning is not None and lost:
            where = f"{lost} of {len(entry.trials)} trials diverged or have no {study.metric}"
            yield f"{entry.case.method}: {where}{'' if entry.chosen else ', so nothing was chosen'}; spread is of the others."
        yield from _arbitrary(study, entry)
    yield from _without_effect(study, entries)
    some = any(e.chosen or e.tuned for e in entries)
    if case.tuning is not None and some and (len(tuning_seeds(study, case)) == 1 or case.protocol.seeds == "each"):
        yield "Every choice rests on one run of each setting: it may be luck."


def _arbitrary(study: Study, entry: Entry) -> Iterator[str]:
    """A sentence where several settings share the best score, so that the first of them was taken for being the first."""
    if entry.case.tuning is None or not entry.chosen:
        return
    each = entry.case.protocol.seeds == "each"
    ties = 0
    for s, i in enumerate(entry.chosen if each else entry.chosen[:1]):
        scores = [t.scores[s] if each else t.score for t in entry.trials]
        ties = max(ties, sum(score is not None and score == scores[i] for score in scores))
    if ties > 1:
        yield f"{entry.case.method}: {ties} of {len(entry.trials)} settings share the best score, and the first of them was taken."


def _without_effect(study: Study, entries: Sequence[Entry]) -> Iterator[str]:
    """Sentences where something that was asked for could not have an effect."""
    case = entries[0].case
    chooser = case.protocol.chooser
    single = case.tuning is not None and length(study, case.tuning) == 1
    if study.pruning is not None and case.tuning is not None and (chooser is not None or single):
        yield "Nothing could be pruned: trials have one experience."
    if chooser is not None and chooser.looks == "memory":
        for entry in entries:
            later = [t for tuned in entry.tuned for r in tuned.rounds[1:] for t in r.tries]
            if later and not any(t.withheld for t in later):
                yield f"{entry.case.method}: it has no memory to withhold from, so this is current-task with a median over classes."


def _unequal_compute(entries: Sequence[Entry]) -> Iterator[str]:
    """A sentence where one method had more than twice the compute of another to be tuned with."""
    spent = sorted((e.tuning_flops, e.case.method) for e in entries if e.tuning_flops > 0)
    if spent and spent[-1][0] > 2 * spent[0][0]:
        (least, cheapest), (most, dearest) = spent[0], spent[-1]
        yield f"Tuning compute differs: {dearest} has {most / least:.1f} times that of {cheapest}. With equal: compute it does not."


def edges(space: Space, chosen: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Options whose chosen value lies at the edge of what could be chosen, for any seed: an end of a list of at least three
    numbers, or the outer twentieth of a range.
    """
    for name, dimension in space.items():
        found = [v[name] for v in chosen if name in v]
        each = [value for values in found for value in (values if isinstance(values, tuple) else (values,))]
        at = sorted({str(value) for value in each if dimension.edge(value)})
        if at:
            yield f"{name}={at[0]}"
