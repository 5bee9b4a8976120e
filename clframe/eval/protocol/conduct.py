"""Carry a study out: all trials, then the choice, then the runs that are reported. What is there already is not done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clframe import pieces
from clframe.comparison import Job, attempt
from clframe.errors import ClframeError, RunError
from clframe.eval.protocol.access import Samples, refuse_overlap
from clframe.eval.protocol.protocols import Place, Protocol, Streams
from clframe.eval.protocol.search import draws
from clframe.eval.protocol.setting import applied
from clframe.eval.protocol.study import Study
from clframe.eval.result import Result, Results
from clframe.experiment import rehearse

Progress = Callable[[str, int, int], None]
Values = Mapping[str, Any]
AT_BOUNDARIES = ("acc", "bwt", "la", "average_incremental_accuracy")
"""Metrics that boundaries are enough for: trials that they choose between are not measured more often."""


@dataclass(frozen=True)
class Case:
    """One method under one protocol on one scenario: where it is tuned (None: nowhere), and where it is scored."""

    streams: Streams
    protocol: Protocol
    method: str
    tuning: Place | None
    scored: Place


@dataclass(frozen=True)
class Trial:
    """One setting, gone through with every tuning seed.

    Attributes:
        values: of the options that may be chosen.
        scores: of the metric on validation samples, by tuning seed; None for a run that diverged or where it is not defined.
    """

    values: Values
    scores: tuple[float | None, ...] = ()

    @property
    def score(self) -> float | None:
        """The mean over seeds; None where one of them has none."""
        known = [s for s in self.scores if s is not None]
        return sum(known) / len(known) if known and len(known) == len(self.scores) else None


@dataclass(frozen=True)
class Entry:
    """What came of a case.

    Attributes:
        case: the method, the protocol and the scenario.
        trials: what was tried; one without scores where nothing was chosen.
        chosen: position of the best trial, for every evaluation seed.
        results: the runs that are reported, with the chosen values.
        failed: what ended the others.
        tuning_flops: floating-point operations of training in all trials.
    """

    case: Case
    trials: tuple[Trial, ...]
    chosen: tuple[int, ...]
    results: Results
    failed: tuple[ClframeError, ...] = ()
    tuning_flops: float = 0.0

    @property
    def score(self) -> float | None:
        """The score of what was chosen, in the tuning phase: the mean over seeds; None where nothing was chosen."""
        if self.case.tuning is None:
            return None
        if self.case.protocol.seeds == "each":
            scores = [self.trials[i].scores[s] for s, i in enumerate(self.chosen)]
        else:
            scores = list(self.trials[self.chosen[0]].scores)
        known = [s for s in scores if s is not None]
        return sum(known) / len(known)


def conduct(
    study: Study,
    out: str | Path,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
    begin: Callable[[Sequence[Case]], None] | None = None,
) -> list[Entry]:
    """Carry out the study below the directory.

    Every run lies in a directory named by a hash of all that it is made of: OUT/trials/HASH and OUT/runs/HASH. So a study that
    was stopped, or whose file was changed, does what is missing and nothing else, and protocols that need the same run share it.

    Args:
        study: what to do.
        out: the directory.
        jobs: runs at the same time.
        progress: called with (name of the run, updates done, updates in all).
        begin: called with the cases when everything has been checked and nothing is trained yet.

    Raises:
        ClframeError: something cannot be built, before anything is trained; or no trial of a method came to its end.
    """
    out = Path(out)
    try:
        cases = list(cases_of(study))
        check(study, cases)
    except ClframeError as error:
        raise type(error)(f"{study.name}: {error}") from error
    if begin is not None:
        begin(cases)
    tried = _done((job for case in cases for job in _trial_jobs(study, case, out)), jobs, progress)
    trials = [_trials(study, case, tried, out) for case in cases]
    chosen = [choose(study, case, found) for case, found in zip(cases, trials, strict=True)]
    planned = [_run_jobs(study, case, found, picks, out) for case, found, picks in zip(cases, trials, chosen, strict=True)]
    done = _done((job for some in planned for job in some), jobs, progress)
    entries = []
    for case, found, picks, some in zip(cases, trials, chosen, planned, strict=True):
        ends = [done[job.out] for job in some]
        results = Results([end for end in ends if isinstance(end, Result)])
        failed = tuple(end for end in ends if isinstance(end, ClframeError))
        spent = [end for job in _trial_jobs(study, case, out) if isinstance(end := tried[job.out], Result)]
        flops = sum(end.budget.train_flops for end in spent)
        entries.append(Entry(case, found, picks, results, failed, flops))
    return entries


def check(study: Study, cases: Sequence[Case]) -> None:
    """Build one of everything, and compare the samples of the two phases; nothing is trained.

    Raises:
        ClframeError: something cannot be built, or a protocol that keeps its phases apart has samples in both.
    """
    known, compared = Samples(study.options.get("data_dir")), set()
    for case in cases:
        _rehearse(study, case)
        phases = (case.streams.name, case.protocol.name)
        if case.tuning is not None and not case.protocol.reuses and phases not in compared:
            compared.add(phases)
            every = ((a, b) for a in tuning_seeds(study, case) for b in study.evaluation_seeds)
            pairs = zip(study.evaluation_seeds, study.evaluation_seeds, strict=True) if case.protocol.seeds == "each" else every
            refuse_overlap(case.streams.name, case.tuning, case.scored, pairs, known)


def cost(study: Study, case: Case) -> int:
    """Experiences trained for one method, trials and reported runs of all seeds together: K trials x T experiences x S seeds."""

    def length(place: Place) -> int:
        return len(pieces.stream(place.scenario, "finetune", study.evaluation_seeds[0], study.options.get("data_dir")))

    trained = len(study.evaluation_seeds) * length(case.scored)
    if case.tuning is None:
        return trained
    return trained + len(settings(study, case)) * len(tuning_seeds(study, case)) * length(case.tuning)


def cases_of(study: Study) -> Iterator[Case]:
    """Every method under every protocol on every scenario."""
    for streams in study.scenarios:
        for protocol in study.protocols:
            tuning, scored = protocol.phases(streams, study.validation)
            for method in study.methods:
                yield Case(streams, protocol, method, tuning, scored)


def settings(study: Study, case: Case) -> list[dict[str, Any]]:
    """The settings that are tried; one without values where nothing is chosen."""
    if case.tuning is None:
        return [{}]
    return draws(study.search, study.methods[case.method], study.trials, study.seed, study.known)


def tuning_seeds(study: Study, case: Case) -> tuple[int, ...]:
    """The seeds that every trial is gone through with."""
    return study.tuning_seeds if case.protocol.seeds == "other" else study.evaluation_seeds


def choose(study: Study, case: Case, trials: Sequence[Trial]) -> tuple[int, ...]:
    """For every evaluation seed the position of the trial with the best score, the first of equals.

    Raises:
        RunError: no trial has a score.
    """
    count = len(study.evaluation_seeds)
    if case.tuning is None:
        return (0,) * count
    if case.protocol.seeds == "each":
        return tuple(_best(study, case, [trial.scores[s] for trial in trials]) for s in range(count))
    return (_best(study, case, [trial.score for trial in trials]),) * count


def _best(study: Study, case: Case, scores: Sequence[float | None]) -> int:
    sign = 1.0 if study.maximise else -1.0
    known = [(sign * score, -i) for i, score in enumerate(scores) if score is not None]
    if not known:
        raise RunError(
            f"methods.{case.method}: at least one trial must come to its end with a value of {study.metric!r}; none of "
            f"{len(scores)} did on {case.streams.name} under {case.protocol.name}. Narrow its space, such as the learning rates."
        )
    return -max(known)[1]


def _trials(study: Study, case: Case, tried: Mapping[Path | None, Result | ClframeError], out: Path) -> tuple[Trial, ...]:
    if case.tuning is None:
        return (Trial({}),)
    found = []
    for values in settings(study, case):
        ends = [tried[job.out] for job in _jobs(study, case.tuning, case.method, values, tuning_seeds(study, case), out / "trials")]
        scores = tuple(getattr(end.metrics, study.metric) if isinstance(end, Result) else None for end in ends)
        found.append(Trial(values, scores))
    return tuple(found)


def _trial_jobs(study: Study, case: Case, out: Path) -> Iterator[Job]:
    if case.tuning is not None:
        for values in settings(study, case):
            yield from _jobs(study, case.tuning, case.method, values, tuning_seeds(study, case), out / "trials")


def _run_jobs(study: Study, case: Case, trials: Sequence[Trial], chosen: Sequence[int], out: Path) -> list[Job]:
    told: dict[str, Any] = {}
    if case.tuning is not None:
        seeds = 1 if case.protocol.seeds == "each" else len(tuning_seeds(study, case))
        told = {"tuning": f"{case.protocol.name}: {case.protocol.looks_at}", "tuning_trials": len(trials) * seeds}
    return [
        job
        for seed, i in zip(study.evaluation_seeds, chosen, strict=True)
        for job in _jobs(study, case.scored, case.method, trials[i].values, [seed], out / "runs", told)
    ]


def _jobs(
    study: Study, place: Place, method: str, values: Values, seeds: Sequence[int], out: Path, told: Values | None = None
) -> Iterator[Job]:
    words, options = _words(study, place, method, values)
    options |= told or {}
    content = {k: v for k, v in options.items() if k not in ("data_dir", "device", "threads")}
    for seed in seeds:
        text = json.dumps([place.scenario, words, seed, content], sort_keys=True, default=str)
        name = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        yield Job(place.scenario, words, seed, out / name, options)  # type: ignore[arg-type]


def _words(study: Study, place: Place, method: str, values: Values) -> tuple[str, dict[str, Any]]:
    """The strategy and the options of its runs at a place."""
    words, chosen = applied(method, values)
    options = {**study.options, **chosen}
    if place.tested_on == "validation":
        options["tested_on"] = "validation"
        if study.metric in AT_BOUNDARIES:
            options["evaluate"] = "boundaries"
    return words, options


def _rehearse(study: Study, case: Case) -> None:
    """Build what the case runs, and refuse it where it cannot be built."""
    for place in (case.tuning, case.scored):
        if place is None:
            continue
        words, options = _words(study, place, case.method, settings(study, case)[0])
        try:
            rehearse(place.scenario, words, seed=study.evaluation_seeds[0], **options)
        except ClframeError as error:
            raise type(error)(f"methods.{case.method} on scenarios.{case.streams.name}: {error}") from error


def _done(planned: Iterable[Job], jobs: int, progress: Progress | None) -> dict[Path | None, Result | ClframeError]:
    """Every run by its directory, each done once. A run that diverged is a result; anything else that went wrong is raised."""
    distinct = {job.out: job for job in planned}
    ends = attempt(list(distinct.values()), jobs, progress) if distinct else []
    for end in ends:
        if isinstance(end, ClframeError) and not (isinstance(end, RunError) and "must be finite" in str(end)):
            raise end
    return dict(zip(distinct, ends, strict=True))
