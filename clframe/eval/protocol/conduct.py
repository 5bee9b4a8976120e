"""Carry a study out: all trials, then the choice, then what is reported. What is there already is not done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clframe.comparison import Job, attempt
from clframe.errors import ClframeError, RunError
from clframe.eval.protocol.protocols import Place, Protocol, Streams
from clframe.eval.protocol.search import draws
from clframe.eval.protocol.setting import applied
from clframe.eval.protocol.study import Study
from clframe.eval.result import Result, Results
from clframe.experiment import rehearse

Progress = Callable[[str, int, int], None]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """One setting, gone through with every tuning seed.

    Attributes:
        values: of the options that may be chosen.
        scores: of the metric on validation samples, by tuning seed; None for a run that diverged or where it is not defined.
    """

    values: Values
    scores: tuple[float | None, ...]

    @property
    def score(self) -> float | None:
        """The mean over seeds; None where one of them has none."""
        known = [s for s in self.scores if s is not None]
        return sum(known) / len(known) if known and len(known) == len(self.scores) else None


@dataclass(frozen=True)
class Entry:
    """One method under one protocol on one scenario.

    Attributes:
        streams, protocol, method: what this is.
        trials: what was tried; one without scores where nothing was chosen.
        chosen: position of the best trial.
        results: the runs that are reported, with the chosen values.
        failed: what ended the others.
    """

    streams: Streams
    protocol: Protocol
    method: str
    trials: tuple[Trial, ...]
    chosen: int
    results: Results
    failed: tuple[ClframeError, ...] = ()

    @property
    def values(self) -> Values:
        """What was chosen."""
        return self.trials[self.chosen].values


def conduct(study: Study, out: str | Path, *, jobs: int = 1, progress: Progress | None = None) -> list[Entry]:
    """Carry out the study below the directory.

    Every run lies in a directory named by a hash of all that it is made of: OUT/trials/HASH and OUT/runs/HASH. So a study that
    was stopped, or whose file was changed, does what is missing and nothing else.

    Args:
        study: what to do.
        out: the directory.
        jobs: runs at the same time.
        progress: called with (name of the run, updates done, updates in all).

    Raises:
        ClframeError: something cannot be built, before anything is trained; or no trial of a method came to its end.
    """
    out = Path(out)
    cases = list(_cases(study))
    for streams, protocol, method, tuning, scored in cases:
        for place in (tuning, scored):
            if place is not None:
                words, options = applied(method, {} if tuning is None else _drawn(study, method)[0])
                _tell(
                    f"scenarios.{streams.name}, {protocol.name}", rehearse, place.scenario, words, **_options(study, options, place)
                )
    searched = [(tuning, method) for _, _, method, tuning, _ in cases if tuning is not None]
    trial_jobs = {job.out: job for tuning, method in searched for job in _trial_jobs(study, tuning, method, out)}
    outcomes = dict(zip(trial_jobs, attempt(list(trial_jobs.values()), jobs, progress), strict=True)) if trial_jobs else {}
    _refuse_unexpected(outcomes.values())
    chosen = [_choose(study, case, outcomes, out) for case in cases]
    run_jobs = [_run_jobs(study, case, trials[best], out) for case, (trials, best) in zip(cases, chosen, strict=True)]
    wanted = {job.out: job for some in run_jobs for job in some}
    done = dict(zip(wanted, attempt(list(wanted.values()), jobs, progress), strict=True))
    _refuse_unexpected(done.values())
    entries = []
    for (streams, protocol, method, _, _), (trials, best), some in zip(cases, chosen, run_jobs, strict=True):
        ends = [done[job.out] for job in some]
        results = Results([r for r in ends if isinstance(r, Result)])
        failed = tuple(e for e in ends if isinstance(e, ClframeError))
        entries.append(Entry(streams, protocol, method, trials, best, results, failed))
    return entries


Case = tuple[Streams, Protocol, str, Place | None, Place]


def _cases(study: Study) -> Iterator[Case]:
    for streams in study.scenarios:
        for protocol in study.protocols:
            tuning, scored = protocol.phases(streams, study.validation)
            for method in study.methods:
                yield streams, protocol, method, tuning, scored


def _drawn(study: Study, method: str) -> list[dict[str, Any]]:
    """The settings that are tried."""
    return draws(study.search, study.methods[method], study.trials, study.seed, study.known)


def _trial_jobs(study: Study, place: Place, method: str, out: Path) -> Iterator[Job]:
    for values in _drawn(study, method):
        yield from _jobs(study, place, method, values, study.tuning_seeds, out / "trials")


def _run_jobs(study: Study, case: Case, trial: Trial, out: Path) -> list[Job]:
    _, protocol, method, tuning, scored = case
    count = 0 if tuning is None else len(_drawn(study, method)) * len(study.tuning_seeds)
    told = {} if tuning is None else {"tuning": f"{protocol.name}: {protocol.looks_at}", "tuning_trials": count}
    return list(_jobs(study, scored, method, trial.values, study.evaluation_seeds, out / "runs", told))


def _jobs(
    study: Study, place: Place, method: str, values: Values, seeds: Sequence[int], out: Path, told: Values | None = None
) -> Iterator[Job]:
    words, chosen = applied(method, values)
    options = {**_options(study, chosen, place), **(told or {})}
    for seed in seeds:
        content = {k: v for k, v in options.items() if k != "data_dir"}
        name = hashlib.blake2b(
            json.dumps([place.scenario, words, seed, content], sort_keys=True, default=str).encode(), digest_size=8
        )
        yield Job(place.scenario, words, seed, out / name.hexdigest(), options)  # type: ignore[arg-type]


def _options(study: Study, chosen: Values, place: Place) -> dict[str, Any]:
    found = {**study.options, **chosen}
    if place.tested_on == "validation":
        found |= (
            {"tested_on": "validation", "evaluate": "boundaries"} if study.metric in END_OF_TASK else {"tested_on": "validation"}
        )
    return found


END_OF_TASK = ("acc", "bwt", "la", "average_incremental_accuracy")
"""Metrics that boundaries are enough for: trials are then not measured between them."""


def _choose(
    study: Study, case: Case, outcomes: Mapping[Path | None, Result | ClframeError], out: Path
) -> tuple[tuple[Trial, ...], int]:
    """The trials and the best of them; the first of equals."""
    streams, protocol, method, tuning, _ = case
    if tuning is None:
        return (Trial({}, ()),), 0
    trials = []
    for values in _drawn(study, method):
        ends = [outcomes[job.out] for job in _jobs(study, tuning, method, values, study.tuning_seeds, out / "trials")]
        scores = tuple(getattr(r.metrics, study.metric) if isinstance(r, Result) else None for r in ends)
        trials.append(Trial(values, scores))
    sign = 1.0 if study.maximise else -1.0
    known = [(i, t.score) for i, t in enumerate(trials) if t.score is not None]
    if not known:
        raise RunError(
            f"{method} on {streams.name}, {protocol.name}: at least one trial must come to its end with a value of "
            f"{study.metric!r}; none of {len(trials)} did. Narrow its space, such as the learning rates, or take another metric."
        )
    return tuple(trials), max(known, key=lambda k: (sign * k[1], -k[0]))[0]


def _refuse_unexpected(outcomes: Any) -> None:
    """A run that diverged is a result; anything else that went wrong is not."""
    for outcome in outcomes:
        if isinstance(outcome, ClframeError) and not (isinstance(outcome, RunError) and "must be finite" in str(outcome)):
            raise outcome


def _tell(where: str, function: Callable[..., None], *args: Any, **options: Any) -> None:
    """Call it; an error begins with where it was."""
    try:
        function(*args, **options)
    except ClframeError as error:
        raise type(error)(f"{where}: {error}") from error
