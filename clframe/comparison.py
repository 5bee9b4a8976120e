"""Compare strategies over scenarios and seeds: many runs, side by side on the machine's cores."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack, cast

from clframe.checkpoint import disk_error
from clframe.errors import ClframeError, RunError, bad_option
from clframe.eval.result import Result, Results
from clframe.executors import Progress, Tell, executor
from clframe.experiment import rehearse, run
from clframe.pieces import written
from clframe.rundir import RunDirectory, find
from clframe.scenarios import Stream
from clframe.strategies.build import Written

if TYPE_CHECKING:
    from torch import nn


PLANNED = "planned.json"


class Options(TypedDict, total=False):
    """Options of `clframe.run`, the same for all runs of a comparison."""

    model: str | nn.Module
    head: str
    optimizer: str
    lr: float
    momentum: float
    weight_decay: float
    reset_optimizer: bool
    batch_size: int
    epochs: int
    evaluate: str
    subset: int
    bits: bool
    representation: str | None
    certify: str | None
    attack: bool
    tested_on: str
    grad_decomposition: bool
    device: str
    threads: int
    tuning: str
    tuning_trials: int
    data_dir: str | None
    checkpoint_seconds: float
    checkpoint_every: int | None
    report: bool
    log: str | None


@dataclass(frozen=True)
class Job:
    """One run of a comparison."""

    scenario: str | Stream
    strategy: Written
    seed: int
    out: Path | None
    options: Options

    @property
    def name(self) -> str:
        """For progress and messages."""
        return f"{written(self.strategy)}, seed {self.seed}"

    @property
    def cores(self) -> int:
        """Processors that it keeps busy."""
        return self.options.get("threads", 1)

    def __call__(self, tell: Tell | None) -> Result:
        """Run it."""
        return run(self.scenario, self.strategy, seed=self.seed, out=self.out, progress=tell, **self.options)


def compare(
    scenario: str | Stream | Sequence[str | Stream] = "split-digits",
    strategies: Sequence[Written] = ("finetune", "lwf", "ewc", "er"),
    *,
    seeds: int | Sequence[int] = 3,
    jobs: int = 1,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> Results:
    """Run every strategy on every scenario with every seed, the same stream and subset for all strategies of a seed.

    Args:
        scenario: one scenario or several, as in `clframe.run`.
        strategies: the strategies, each as in `clframe.run`.
        seeds: how many (0, 1, ...), or which.
        jobs: runs at the same time, each in a process of its own; a script that asks for more than 1 needs the usual
            `if __name__ == "__main__":` around its call.
        out: directory; each run goes into OUT/STRATEGY/seed-N (or OUT/SCENARIO/STRATEGY/seed-N for several scenarios). Runs that
            are finished there are not repeated.
        progress: called with (name of the run, updates done, updates in all).
        options: any option of `clframe.run`, the same for all.

    Raises:
        ClframeError: what cannot be run, before anything is trained or written; a run that fails later does not stop the others.

    Example:
        >>> results = compare("split-digits", ["finetune", "er"], seeds=2)
        >>> len(results)
        4
    """
    planned = plan(scenario, strategies, seeds, None if out is None else Path(out), options)
    return perform(planned, jobs=jobs, out=out, progress=progress)


def plan(
    scenario: str | Stream | Sequence[str | Stream],
    strategies: Sequence[Written],
    seeds: int | Sequence[int],
    out: Path | None,
    options: Options,
) -> list[Job]:
    """The runs of a comparison, as `compare` has them: before they are performed, each may be given options of its own.

    Raises:
        OptionError: nothing to run, or something twice.
    """
    scenarios = [scenario] if isinstance(scenario, str | Stream) else list(scenario)
    numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    for name, given in (("scenario", scenarios), ("strategies", strategies), ("seeds", numbers)):
        if not given:
            raise bad_option(name, "at least one", given, f"Name one; without {name} there are defaults.")
    for name, pieces in (("scenario", scenarios), ("strategies", strategies), ("seeds", numbers)):
        words = [str(p) if isinstance(p, int) else written(p) for p in pieces]
        twice = next((w for w in words if words.count(w) > 1), None)
        if twice is not None:
            raise bad_option(name, "different from each other", twice, "It is there twice: leave one out, or give it another name.")
    return list(_jobs(scenarios, strategies, numbers, out, options))


def perform(planned: Sequence[Job], *, jobs: int = 1, out: str | Path | None = None, progress: Progress | None = None) -> Results:
    """Build one run of each kind, write down what was asked for, and run: as `compare` does.

    Raises:
        ClframeError: as `compare`.
    """
    if jobs < 1:
        raise bad_option("jobs", "a positive integer", jobs, "Give jobs=1.")
    for job in planned:
        if job.seed == planned[0].seed and not (job.out is not None and RunDirectory(job.out).finished):
            try:
                rehearse(job.scenario, job.strategy, seed=job.seed, **job.options)
            except ClframeError as error:
                raise type(error)(f"{written(job.strategy)}: {error}") from error
    if out is not None:
        _remember(Path(out), planned)
    return execute(planned, jobs, progress)


def _remember(out: Path, planned: Sequence[Job]) -> None:
    """Write down what was asked for, so that `resume` also starts the runs that had not begun; what was asked first stays."""
    directory, asked = RunDirectory(out), {}
    if (out / PLANNED).exists():
        asked = directory.read_json(PLANNED)
    for job in planned:
        if isinstance(job.scenario, str) and isinstance(job.strategy, str) and job.out is not None:
            options = {**job.options, "data_dir": job.options.get("data_dir") or os.environ.get("CLFRAME_DATA")}
            words = {"scenario": job.scenario, "strategy": job.strategy, "seed": job.seed, "options": options}
            asked.setdefault(str(job.out.relative_to(out)), words)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(out, error) from error
    directory.write_json(PLANNED, asked)


def _not_begun(path: Path) -> list[Job]:
    """Runs that were asked for below `path` and have no directory yet."""
    if not (path / PLANNED).exists():
        return []
    asked = RunDirectory(path).read_json(PLANNED)
    missing = {place: words for place, words in asked.items() if not (path / place / "spec.json").exists()}
    return [Job(w["scenario"], w["strategy"], w["seed"], path / place, w["options"]) for place, w in missing.items()]


def resume(paths: Sequence[Path], *, jobs: int = 1, progress: Progress | None = None) -> Results:
    """Continue every unfinished run at or below the paths, exactly where it stopped; finished ones are read.

    Runs that `compare` was asked for there and that had not begun are started.

    Raises:
        RunError: no run there, or one that was started from Python with objects.
    """
    planned: list[Job] = []
    directories: list[RunDirectory] = []
    for path in paths:
        waiting = _not_begun(path)
        planned += waiting
        if not waiting or any(path.rglob("spec.json")):
            directories += find([path])
    for directory in directories:
        spec = directory.spec()
        if not spec["from_words"] and not directory.finished:
            raise RunError(
                f"{str(directory.path)!r} must have been written in words to be resumed by a command; it was started from Python "
                "with objects. Call clframe.run with the same objects and out= again: it goes on from the checkpoint."
            )
        options = {**spec["options"], "data_dir": spec["data_dir"]}
        scenario, strategy, seed = options.pop("scenario"), options.pop("strategy"), options.pop("seed")
        planned.append(Job(scenario, strategy, seed, directory.path, cast(Options, options)))
    return execute(planned, jobs, progress)


def attempt(
    planned: Sequence[Job], jobs: int = 1, progress: Progress | None = None, where: str = "auto"
) -> list[Result | ClframeError]:
    """Run the jobs, `jobs` at a time; of each its result, or the error that ended it."""
    with executor(where, min(jobs, max(len(planned), 1))) as carry_out:
        return carry_out(planned, progress)


def execute(planned: Sequence[Job], jobs: int = 1, progress: Progress | None = None, where: str = "auto") -> Results:
    """Run the jobs, `jobs` at a time. A run that fails does not stop the others; its error is raised after them."""
    outcomes = attempt(planned, jobs, progress, where)
    found = [outcome for outcome in outcomes if isinstance(outcome, Result)]
    failed = [(job, outcome) for job, outcome in zip(planned, outcomes, strict=True) if isinstance(outcome, ClframeError)]
    if failed:
        job, error = failed[0]
        rest = f" ({len(found)} of {len(planned)} runs are finished.)" if len(planned) > 1 else ""
        raise type(error)(f"{job.name}: {error}{rest}") from error
    return Results(found)


def _jobs(
    scenarios: Sequence[str | Stream], strategies: Sequence[Written], seeds: Sequence[int], out: Path | None, options: Options
) -> Iterator[Job]:
    for scenario in scenarios:
        base = out if out is None or len(scenarios) == 1 else out / _slug(written(scenario))
        for strategy in strategies:
            for seed in seeds:
                place = None if base is None else base / _slug(written(strategy)) / f"seed-{seed}"
                yield Job(scenario, strategy, seed, place, options)


def _slug(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "+-_.=," else "-" for c in name).strip("-")
    return kept or "run"
