"""Carry a study out: all trials, then the choice, then the runs that are reported. What is there already is not done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from clframe.comparison import Job, attempt
from clframe.errors import ClframeError, OptionError, RunError
from clframe.eval.protocol.access import Samples, refuse_overlap
from clframe.eval.protocol.cases import Case, Entry, Trial, Values, cases_of, choose, length, settings, tuning_seeds
from clframe.eval.protocol.protocols import Place
from clframe.eval.protocol.setting import applied
from clframe.eval.protocol.study import Study
from clframe.eval.protocol.tpe import suggest
from clframe.eval.result import Result, Results
from clframe.experiment import NOT_IDENTITY, rehearse

Progress = Callable[[str, int, int], None]
AT_BOUNDARIES = ("acc", "bwt", "la", "average_incremental_accuracy")
"""Metrics that boundaries are enough for: trials that they choose between are not measured more often."""


def conduct(
    study: Study,
    out: str | Path,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
    begin: Callable[[Sequence[Case]], None] | None = None,
) -> list[Entry]:
    """Carry out the study below the directory.

    Every run lies in a directory named by a hash of all that it is made of: OUT/trials/HASH and OUT/runs/SCENARIO/PROTOCOL/HASH.
    So a study that was stopped, or whose file was changed, does what is missing and nothing else, and protocols that need the
    same trial share it. A run that diverged leaves nothing finished, and is tried again.

    Args:
        study: what to do.
        out: the directory.
        jobs: runs at the same time.
        progress: called with (name of the run, updates done, updates in all).
        begin: called with the cases when everything has been checked and nothing is trained yet.

    Raises:
        ClframeError: something cannot be built, before anything is trained.
    """
    out = Path(out)
    try:
        cases = list(cases_of(study))
        check(study, cases)
    except ClframeError as error:
        raise type(error)(f"{study.name}: {error}") from error
    if begin is not None:
        begin(cases)
    trials, spent = search(study, cases, out, jobs, progress)
    chosen = [choose(study, case, found) for case, found in zip(cases, trials, strict=True)]
    planned = [_run_jobs(study, case, found, picks, out) for case, found, picks in zip(cases, trials, chosen, strict=True)]
    done = _done((job for some in planned for job in some), jobs, progress)
    entries = []
    for case, found, flops, picks, some in zip(cases, trials, spent, chosen, planned, strict=True):
        ends = [done[job.out] for job in some]
        results = Results([end for end in ends if isinstance(end, Result)])
        failed = tuple(end for end in ends if isinstance(end, ClframeError))
        entries.append(Entry(case, found, picks, results, failed, flops))
    return entries


Trials = tuple[Trial, ...]


def folder(case: Case) -> Path:
    """Where the reported runs of a case lie, below OUT/runs: by scenario and protocol, which are not to be mixed."""
    return Path(
        *("".join(c if c.isalnum() or c in "-_.=" else "-" for c in name) for name in (case.streams.name, case.protocol.name))
    )


def search(
    study: Study, cases: Sequence[Case], out: Path, jobs: int, progress: Progress | None
) -> tuple[list[Trials], list[float]]:
    """All trials of every case, and the operations that they took: at once where they are drawn beforehand, else one by one."""
    trials: list[Trials] = [() for _ in cases]
    spent = [0.0 for _ in cases]
    following = [settings(study, case) for case in cases]
    while any(following):
        jobs_of = [
            [(values, list(_trial_jobs(study, case, values, out))) for values in some]
            for case, some in zip(cases, following, strict=True)
        ]
        tried = _done((job for some in jobs_of for _, made in some for job in made), jobs, progress)
        for i, some in enumerate(jobs_of):
            for values, made in some:
                ends = [tried[job.out] for job in made]
                scores = tuple(getattr(end.metrics, study.metric) if isinstance(end, Result) else None for end in ends)
                trials[i] = (*trials[i], Trial(values, scores))
                spent[i] += sum(end.budget.train_flops for end in ends if isinstance(end, Result))
        following = [_following(study, case, found) for case, found in zip(cases, trials, strict=True)]
    return trials, spent


def _following(study: Study, case: Case, trials: Trials) -> list[dict[str, Any]]:
    """The next setting of a sequential search, until the budget is used up."""
    space = study.methods[case.method]
    if study.search != "tpe" or case.tuning is None or not space or len(trials) >= study.trials:
        return []
    return [suggest(space, [(dict(t.values), t.score) for t in trials], study.maximise, study.seed)]


def check(study: Study, cases: Sequence[Case]) -> None:
    """Build one of everything, and compare the samples of the two phases; nothing is trained.

    Every value of a list, and both ends of a range, are built once for every method.

    Raises:
        ClframeError: something cannot be built, or a protocol that keeps its phases apart has samples in both.
    """
    known, compared, methods = Samples(study.options.get("data_dir")), set(), set()
    for case in cases:
        values = settings(study, case)[0]
        _refuse_what_is_no_choice(study, case)
        _rehearse(study, case, values)
        if case.tuning is not None and case.method not in methods:
            methods.add(case.method)
            for name, dimension in study.methods[case.method].items():
                for value in dimension.extremes:
                    _rehearse(study, case, {**values, name: value})
        phases = (case.streams.name, case.protocol.name)
        if case.tuning is not None and not case.protocol.reuses and phases not in compared:
            compared.add(phases)
            every = ((a, b) for a in tuning_seeds(study, case) for b in study.evaluation_seeds)
            pairs = zip(study.evaluation_seeds, study.evaluation_seeds, strict=True) if case.protocol.seeds == "each" else every
            refuse_overlap(case.streams.name, case.tuning, case.scored, pairs, known)


def _refuse_what_is_no_choice(study: Study, case: Case) -> None:
    """Refuse a protocol that would look at the future, although it says that it does not."""
    if case.protocol.seeds != "each":
        return
    whole = length(study, Place(case.streams.evaluation))
    if case.tuning is not None and length(study, case.tuning) >= whole:
        raise OptionError(
            f"scenarios.{case.streams.name}: {case.protocol.name!r} must tune on fewer experiences than there are; "
            f"{case.streams.evaluation!r} has {whole}. Give a smaller m, or take 'end-of-training'."
        )
    if study.search == "tpe":
        raise OptionError(
            f"search must not be sequential under {case.protocol.name!r}, where every seed chooses for itself and would learn from "
            "the others' trials; got 'tpe'. Take random, quasi-random or grid."
        )


def _trial_jobs(study: Study, case: Case, values: Values, out: Path) -> Iterator[Job]:
    if case.tuning is not None:
        yield from _jobs(study, case.tuning, case.method, values, tuning_seeds(study, case), out / "trials")


def _run_jobs(study: Study, case: Case, trials: Sequence[Trial], chosen: Sequence[int], out: Path) -> list[Job]:
    told: dict[str, Any] = {}
    if case.tuning is not None:
        seeds = 1 if case.protocol.seeds == "each" else len(tuning_seeds(study, case))
        told = {"tuning": f"{case.protocol.name}: {case.protocol.looks_at}", "tuning_trials": len(trials) * seeds}
    place = out / "runs" / folder(case)
    return [
        job
        for seed, i in zip(study.evaluation_seeds, chosen, strict=bool(chosen))
        for job in _jobs(study, case.scored, case.method, trials[i].values, [seed], place, told)
    ]


def _jobs(
    study: Study, place: Place, method: str, values: Values, seeds: Sequence[int], out: Path, told: Values | None = None
) -> Iterator[Job]:
    words, options = _words(study, place, method, values)
    options |= told or {}
    content = {k: v for k, v in options.items() if k not in NOT_IDENTITY}
    for seed in seeds:
        text = json.dumps([place.scenario, words, seed, content], sort_keys=True, default=str)
        name = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        yield Job(place.scenario, words, seed, out / name, options)  # type: ignore[arg-type]


def _words(study: Study, place: Place, method: str, values: Values) -> tuple[str, dict[str, Any]]:
    """The strategy and the options of its runs at a place."""
    words, chosen = applied(method, values)
    options = {**study.options, **chosen}
    if place.tested_on == "validation":
        options = {k: v for k, v in options.items() if k not in ("representation", "bits", "grad_decomposition")}
        options["tested_on"] = "validation"
        if study.metric in AT_BOUNDARIES:
            options["evaluate"] = "boundaries"
    return words, options


def _rehearse(study: Study, case: Case, values: Values) -> None:
    """Build what the case runs, and refuse it where it cannot be built."""
    for place, seeds in ((case.tuning, tuning_seeds(study, case)), (case.scored, study.evaluation_seeds)):
        if place is None:
            continue
        words, options = _words(study, place, case.method, values)
        try:
            rehearse(place.scenario, words, seed=seeds[0], **options)
        except ClframeError as error:
            given = ", ".join(f"{k}={v}" for k, v in values.items())
            where = f"methods.{case.method} on scenarios.{case.streams.name}" + (f" with {given}" if given else "")
            raise type(error)(f"{where}: {error}") from error


def _done(planned: Iterable[Job], jobs: int, progress: Progress | None) -> dict[Path | None, Result | ClframeError]:
    """Every run by its directory, each done once. A run that diverged is a result; anything else that went wrong is raised."""
    distinct = {job.out: job for job in planned}
    ends = attempt(list(distinct.values()), jobs, progress) if distinct else []
    for end in ends:
        if isinstance(end, ClframeError) and not (isinstance(end, RunError) and "must be finite" in str(end)):
            job = list(distinct.values())[ends.index(end)]
            raise type(end)(f"{job.scenario}, {job.strategy}, seed {job.seed}: {end}") from end
    return dict(zip(distinct, ends, strict=True))
