"""Carry a study out: all trials, then the choice, then the runs that are reported. What is there already is not done again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from clframe.errors import ClframeError, DivergedError
from clframe.eval.protocol.cases import Case, Entry, cases_of, choose
from clframe.eval.protocol.check import check
from clframe.eval.protocol.planned import folder, run_jobs
from clframe.eval.protocol.searching import Pilots, Searched, searching
from clframe.eval.protocol.standing import Standing
from clframe.eval.protocol.study import Study
from clframe.eval.result import Result, Results
from clframe.executors import Executor, executor
from clframe.rundir import RunDirectory

Progress = Callable[[Standing], None]


def conduct(
    study: Study,
    out: str | Path,
    *,
    jobs: int = 1,
    where: str = "auto",
    progress: Progress | None = None,
    begin: Callable[[Sequence[Case]], None] | None = None,
) -> list[Entry]:
    """Carry out the study below the directory.

    Every run lies in a directory named by a hash of the words that it is made of: OUT/trials/HASH, OUT/schedules/HASH and
    OUT/runs/SCENARIO/PROTOCOL/HASH; over other data it refuses to go on. So a study that was stopped, or whose file was changed,
    does what is missing, and protocols that need the same trial share it. Of a run that diverged it is written down that it did.

    Args:
        study: what to do.
        out: the directory.
        jobs: runs at the same time.
        where: what does them, see `clframe.executors.executor`; the numbers are the same.
        progress: called with where the study stands.
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
    standing = Standing(study, cases, progress)
    out.mkdir(parents=True, exist_ok=True)
    with RunDirectory(out).alone(), executor(where, jobs) as carry_out:
        searched = search(study, cases, out, carry_out, standing)
        chosen = [choose(study, case, found.trials) for case, found in zip(cases, searched, strict=True)]
        planned = [run_jobs(study, c, f.trials, f.tuned, i, out) for c, f, i in zip(cases, searched, chosen, strict=True)]
        standing.stage("evaluation")
        put_aside(out, cases, {job.out for some in planned for job in some if job.out is not None})
        done = _done((job for some in planned for job in some), carry_out, standing)
    entries = []
    for case, found, picks, some in zip(cases, searched, chosen, planned, strict=True):
        ends = [done[job.out] for job in some if job.out is not None]
        results = Results([end for end in ends if isinstance(end, Result)])
        failed = (*found.failed, *(end for end in ends if isinstance(end, ClframeError)))
        entries.append(Entry(case, found.trials, picks, results, failed, found.flops, found.tuned))
    return entries


def put_aside(out: Path, cases: Sequence[Case], planned: set[Path]) -> None:
    """Move runs that the study no longer reports from OUT/runs to OUT/earlier, and those that it reports again back.

    So a report of OUT/runs/SCENARIO/PROTOCOL is that of the study as it is.
    """
    known = {run.relative_to(out / "runs") for run in (out / "runs").glob("*/*") if run.is_dir()}
    for place in sorted(known | {folder(case) for case in cases}):
        here, aside = out / "runs" / place, out / "earlier" / place
        for run in sorted(aside.iterdir()) if aside.is_dir() else ():
            if here / run.name in planned and not (here / run.name).exists():
                here.mkdir(parents=True, exist_ok=True)
                run.rename(here / run.name)
        for run in sorted(here.iterdir()) if here.is_dir() else ():
            if run.is_dir() and run not in planned:
                aside.mkdir(parents=True, exist_ok=True)
                if (aside / run.name).exists():
                    shutil.rmtree(aside / run.name)  # the same run, as its name is a hash of it
                run.rename(aside / run.name)


def search(study: Study, cases: Sequence[Case], out: Path, carry_out: Executor, standing: Standing) -> list[Searched]:
    """The tuning phase of every case: their rounds are done together."""
    pilots: dict[tuple[str, str], Pilots] = {}
    talks = []
    for case in cases:
        shared = pilots.setdefault((case.streams.name, case.protocol.name), Pilots({}))
        talks.append(searching(study, case, out, shared))
    found: dict[int, Searched] = {}
    asked: dict[int, list[Any]] = {}
    for i, talk in enumerate(talks):
        try:
            asked[i] = next(talk)
        except StopIteration as end:
            found[i] = end.value
    while asked:
        standing.owners(((cases[i], task) for i, tasks in asked.items() for task in tasks))
        done = _done((task for tasks in asked.values() for task in tasks), carry_out, standing)
        for i, tasks in list(asked.items()):
            try:
                asked[i] = talks[i].send([done[task.out] for task in tasks])
            except StopIteration as end:
                found[i] = end.value
                del asked[i]
    return [found[i] for i in range(len(cases))]


def _done(planned: Iterable[Any], carry_out: Executor, standing: Standing) -> dict[Path, Any]:
    """Every task by its directory, each done once. A run that diverged is an outcome; anything else that went wrong is raised."""
    distinct = list({task.out: task for task in planned}.values())
    if not distinct:
        return {}
    ends = carry_out(distinct, standing.moved, lambda i, end: standing.ended(distinct[i], end))
    for task, end in zip(distinct, ends, strict=True):
        if isinstance(end, ClframeError) and not isinstance(end, DivergedError):
            raise type(end)(f"{task.scenario}, {task.name}: {end}") from end
    return {task.out: end for task, end in zip(distinct, ends, strict=True)}
