"""What a study says, in sentences: each is computed from its scores, none is a judgement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from clframe.eval.protocol.cases import Entry
from clframe.eval.protocol.outcome import Group, Line
from clframe.eval.protocol.study import Study
from clframe.eval.protocol.tables import interval
from clframe.eval.report import format as fmt
from clframe.eval.statistics import Summary, paired_difference


def answer(study: Study, group: Group, entries: Mapping[str, Entry]) -> Iterator[str]:
    """One protocol on one scenario: who is first, whether the tuning phase knew, the largest regret, what was lost.

    Args:
        study: what was asked.
        group: the outcome.
        entries: method -> what came of it, for the seeds.
    """
    yield _first(study, group, entries)
    yield from _agreement(group)
    regrets = [(line.regret.mean, line) for line in group.lines if line.regret is not None and line.regret.mean is not None]
    if regrets:
        _, worst = max(regrets, key=lambda pair: pair[0])
        found = worst.regret
        if found is not None and found.mean is not None and found.mean >= 0.0005:
            yield f"The largest regret against the oracle is that of {worst.method}, {interval(found)}{_covers(found)}."
        else:
            yield "The oracle would have chosen better for no method."
    lost = [f"{line.method} ({line.diverged} of {len(study.evaluation_seeds)} runs)" for line in group.lines if line.diverged]
    if lost:
        yield f"Without a rank, because runs diverged: {_listed(lost)}."


def _first(study: Study, group: Group, entries: Mapping[str, Entry]) -> str:
    ranked = sorted((line for line in group.lines if line.rank is not None), key=lambda line: line.rank or 0)
    name = fmt.metric_name(study.metric)
    if not ranked:
        return "No method came to the end of all its runs with a score, so none is first."
    best = [line for line in ranked if line.rank == ranked[0].rank]
    if len(best) > 1:
        return f"{_listed([line.method for line in best])} share the first rank with {name} {interval(best[0].score)}."
    first = f"{best[0].method} is first with {name} {interval(best[0].score)}"
    if len(ranked) == 1:
        others = "no other method has a rank" if len(group.lines) > 1 else "it was compared with nothing"
        return f"{first}; {others}."
    return f"{first}, {ranked[1].method} second with {interval(ranked[1].score)}{_apart(study, best[0], ranked[1], entries)}"


def _apart(study: Study, first: Line, second: Line, entries: Mapping[str, Entry]) -> str:
    """Whether the seeds that two methods share tell them apart."""
    if first.method not in entries or second.method not in entries:
        return "."
    a, b = (_by_seed(study, entries[line.method]) for line in (first, second))
    if not a.keys() & b.keys():
        return "."
    found = paired_difference(a, b)
    if found.mean is None or found.low is None or found.high is None:
        return "; one seed cannot tell whether that is chance."
    if found.n < 3:
        return f"; on {found.n} seeds they differ by {fmt.number(found.mean)}: too few to tell whether that is chance."
    span = f"{fmt.number(found.mean)} [{fmt.number(found.low)}, {fmt.number(found.high)}]"
    told = "so the seeds do not tell them apart" if found.low <= 0 <= found.high else "so the seeds tell them apart"
    return f"; on the same seeds they differ by {span}, {told}."


def _agreement(group: Group) -> Iterator[str]:
    if group.tau is None:
        known = [line.tuning for line in group.lines if line.tuning is not None and line.rank is not None]
        if len(known) > 1 and len(set(known)) == 1:
            yield "All methods are tied in tuning, so it foretells nothing."
        elif any(line.tuning is not None for line in group.lines):
            yield "Too few methods have both scores to say whether the tuning phase foretold the evaluation."
        return
    value, low, high = group.tau
    span = f"Kendall's tau {fmt.number(value, 2)}"
    if low is None or high is None:
        yield f"Ranks in tuning and in evaluation: {span}; too few seeds for an interval."
        return
    span = f"{span} [{fmt.number(low, 2)}, {fmt.number(high, 2)}]"
    if low > 0:
        yield f"Ranks in tuning foretold ranks in evaluation: {span}."
    elif high < 0:
        yield f"Ranks in tuning were turned round in evaluation: {span}."
    else:
        yield f"The seeds do not show that ranks in tuning foretell ranks in evaluation: {span}."


def _covers(found: Summary) -> str:
    if found.low is None or found.high is None:
        return ""
    return "; its interval covers 0" if found.low <= 0 <= found.high else "; its interval does not cover 0"


def general(group: Group) -> list[str]:
    """The warnings that are about the protocol, not about one of its methods."""
    return [w for w in group.warnings if not any(w.startswith(f"{line.method}:") for line in group.lines)]


def _by_seed(study: Study, entry: Entry) -> dict[int, float | None]:
    return {r.seed: getattr(r.metrics, study.metric) for r in entry.results}


def block_scores(study: Study, entries: Sequence[Entry]) -> dict[str, list[float | None]]:
    """Method -> its score in every block, scenario by scenario and seed by seed; None where it has none."""
    scenarios = list(dict.fromkeys(e.case.streams.name for e in entries))
    known = {(e.case.method, e.case.streams.name): _by_seed(study, e) for e in entries}
    return {
        method: [known.get((method, s), {}).get(seed) for s in scenarios for seed in study.evaluation_seeds]
        for method in dict.fromkeys(e.case.method for e in entries)
    }


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
