"""A study as text: what it will cost, what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clframe.eval.protocol.cases import Case, cost, search_of, tuning_seeds
from clframe.eval.protocol.outcome import Group, Line
from clframe.eval.protocol.study import Study
from clframe.eval.statistics import Summary

COLUMNS = ("method", "tuning", "rank", "evaluation", "rank", "regret", "transfer", "spread")
LEGEND = (
    "tuning: score of what was chosen, in the tuning phase; evaluation: mean over seeds and half the 95 % interval; regret: "
    "score of the oracle's choice minus this, same seeds; transfer: Spearman correlation of the trials' scores here and under the "
    "oracle; spread: standard deviation over the trials."
)


def plan(study: Study, cases: Sequence[Case]) -> Iterator[str]:
    """Before it starts: what each protocol looks at, and what it costs."""
    for scenario, protocol, some in _grouped(cases):
        case, total = some[0], sum(cost(study, c) for c in some)
        runs = sum(len(study.evaluation_seeds) + _trial_runs(study, c) for c in some)
        atmost = "at most " if case.protocol.chooser is not None or (study.pruning is not None and case.tuning is not None) else ""
        legal = "" if case.protocol.deployable else "; not for deployment"
        yield (
            f"{scenario}, {protocol}: looks at {case.protocol.looks_at}{legal}; {runs} runs of {len(some)} methods, "
            f"{atmost}{total} times training one experience"
        )


def _trial_runs(study: Study, case: Case) -> int:
    if case.tuning is None:
        return 0
    seeds = len(tuning_seeds(study, case))
    return seeds if case.protocol.chooser is not None else search_of(study, case).count * seeds


def _grouped(cases: Sequence[Case]) -> Iterator[tuple[str, str, list[Case]]]:
    found: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        found.setdefault((case.streams.name, case.protocol.name), []).append(case)
    for (scenario, protocol), some in found.items():
        yield scenario, protocol, some


def rows(group: Group) -> list[tuple[str, ...]]:
    """The lines of a group as cells, best evaluation score first."""
    ordered = sorted(group.lines, key=lambda line: (line.rank is None, line.rank))
    return [_cells(line) for line in ordered]


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.method,
        _number(line.tuning),
        _rank(line.tuning_rank),
        interval(line.score) if not line.diverged else f"diverged {line.diverged}x",
        _rank(line.rank),
        "–" if line.regret is None else interval(line.regret),
        _number(line.transfer, 2),
        _number(line.spread),
    )


def together(found: Sequence[Group], scenario: str) -> list[tuple[str, ...]]:
    """All protocols on one scenario in one table, best evaluation score first: method, protocol with its marks, score, compute.

    It ranks what was chosen with different knowledge, so it is made only where it is asked for, and every protocol is marked:
    "†" looked at the stream that is scored, all of it; "‡" data that it looked at counts in the score.
    """
    lines = [(group, line) for group in found if group.scenario == scenario for line in group.lines]
    lines.sort(key=lambda pair: (pair[1].score.mean is None, -(pair[1].score.mean or 0.0)))
    return [
        (
            line.method,
            group.protocol + ("" if group.deployable else " †") + (" ‡" if group.reuses else ""),
            interval(line.score) if not line.diverged else f"diverged {line.diverged}x",
            str(line.trials or "–"),
            f"{line.train_flops:.2e}",
        )
        for group, line in lines
    ]


TOGETHER = ("method", "protocol", "evaluation", "trials", "FLOPs")
MARKS = (
    "Protocols with different knowledge in one table, as asked. † looked at the whole stream that is scored; ‡ data that it looked "
    "at counts in the score. FLOPs: of training, in all trials and reported runs."
)


def chosen(group: Group, study: Study) -> Iterator[str]:
    """What was chosen for each method, by evaluation seed where the seeds differ."""
    for line in group.lines:
        words = [", ".join(f"{name}={_along(value)}" for name, value in values.items()) for values in line.values]
        if not any(words):
            continue  # nothing was to be chosen, or no trial came to its end
        if len(set(words)) == 1:
            yield f"{line.method}: {words[0]}"
        else:
            yield f"{line.method}: {'; '.join(f'seed {s}: {w}' for s, w in zip(study.evaluation_seeds, words, strict=True))}"


def _along(value: object) -> str:
    """A value, or the values of the experiences of a stream, one where they are equal."""
    if not isinstance(value, tuple):
        return str(value)
    return str(value[0]) if len(set(value)) == 1 else " > ".join(map(str, value))


def interval(found: Summary) -> str:
    """`mean ± half-width`."""
    if found.mean is None:
        return "–"
    return (
        f"{found.mean:.3f}" if found.low is None or found.high is None else f"{found.mean:.3f} ± {(found.high - found.low) / 2:.3f}"
    )


def tau(group: Group) -> str:
    """How well the ranks of the two phases agree."""
    if group.tau is None:
        return ""
    value, low, high = group.tau
    span = " (too few seeds for an interval)" if low is None else f" [{low:.2f}, {high:.2f}]"
    return f"Kendall's tau between the ranks of the two phases: {value:.2f}{span}."


def markdown(found: Sequence[Group], study: Study) -> str:
    """The whole study as a Markdown page."""
    lines = [f"# {study.name}", f"Metric: {study.metric}. Search: {study.search}, {study.trials} trials. {LEGEND}"]
    for group in found:
        lines += [f"## {group.scenario}, {group.protocol}", f"The choice looks at {group.looks_at}. {tau(group)}".strip()]
        table = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        lines.append("\n".join(table + ["| " + " | ".join(cells) + " |" for cells in rows(group)]))
        if picks := list(chosen(group, study)):
            lines.append("\n".join(f"- chosen, {pick}" for pick in picks))
        if group.warnings:
            lines.append("\n".join(f"- **{warning}**" for warning in group.warnings))
    return "\n\n".join(lines) + "\n"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _rank(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"
