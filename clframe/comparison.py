"""Compare strategies over scenarios and seeds: many runs, side by side on the machine's cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

from clframe.checkpoint import Interrupted, disk_error
from clframe.errors import ClframeError, RunError, bad_option
from clframe.eval.result import Result, Results
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
    tested_on: str
    grad_decomposition: bool
    device: str
    threads: int
    tuning: str
    tuning_trials: int
    data_dir: str | None
    checkpoint_seconds: float
    checkpoint_every: int | None


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


def compare(
    scenario: str | Stream | Sequence[str | Stream] = "split-digits",
    strategies: Sequence[Written] = ("finetune", "lwf", "ewc", "er"),
    *,
    seeds: int | Sequence[int] = 3,
    jobs: int = 1,
    out: str | Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
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
    planned = list(_jobs(scenarios, strategies, numbers, None if out is None else Path(out), options))
    if jobs < 1:
        raise bad_option("jobs", "a positive integer", jobs, "Give jobs=1.")
    for job in planned:
        if job.seed == numbers[0] and not (job.out is not None and RunDirectory(job.out).finished):
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


def resume(paths: Sequence[Path], *, jobs: int = 1, progress: Callable[[str, int, int], None] | None = None) -> Results:
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
    planned: Sequence[Job], jobs: int = 1, progress: Callable[[str, int, int], None] | None = None
) -> list[Result | ClframeError]:
    """Run the jobs, `jobs` at a time; of each its result, or the error that ended it."""
    if jobs < 1:
        raise bad_option("jobs", "a positive integer", jobs, "Give jobs=1.")
    return _in_turn(planned, progress) if jobs == 1 or len(planned) == 1 else _at_once(planned, progress, jobs)


def execute(planned: Sequence[Job], jobs: int = 1, progress: Callable[[str, int, int], None] | None = None) -> Results:
    """Run the jobs, `jobs` at a time. A run that fails does not stop the others; its error is raised after them."""
    outcomes = attempt(planned, jobs, progress)
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


def _in_turn(jobs: Sequence[Job], progress: Callable[[str, int, int], None] | None) -> list[Result | ClframeError]:
    outcomes: list[Result | ClframeError] = []
    for job in jobs:
        tell = None if progress is None else _named(job.name, progress)
        try:
            outcomes.append(run(job.scenario, job.strategy, seed=job.seed, out=job.out, progress=tell, **job.options))
        except ClframeError as error:
            outcomes.append(error)
    return outcomes


def _named(name: str, progress: Callable[[str, int, int], None]) -> Callable[[int, int], None]:
    return lambda n, total: progress(name, n, total)


_board: Any = None


def _attach(board: Any) -> None:
    """In a worker: Ctrl-C is for the run in progress (which saves), not for a worker that waits."""
    global _board
    _board = board
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _one(position: int, job: Job, parent: int) -> Result:
    def tell(n: int, total: int) -> bool:
        _board[2 * position], _board[2 * position + 1] = n, total
        if os.getppid() != parent:
            os._exit(1)  # nobody is left to hand the result to; the checkpoint stands
        return bool(_board[-1])

    if _board[-1]:
        raise Interrupted
    return run(job.scenario, job.strategy, seed=job.seed, out=job.out, progress=tell, **job.options)


def _at_once(planned: Sequence[Job], progress: Callable[[str, int, int], None] | None, jobs: int) -> list[Result | ClframeError]:
    """A pool of processes, one thread set each. A shared board says how far each run is, and in its last cell whether to stop."""
    context = multiprocessing.get_context("spawn")
    board = context.Array("q", 2 * len(planned) + 1, lock=False)
    with ProcessPoolExecutor(min(jobs, len(planned)), mp_context=context, initializer=_attach, initargs=(board,)) as pool:
        futures: list[Future[Result]] = [pool.submit(_one, i, job, os.getpid()) for i, job in enumerate(planned)]
        pending: set[Future[Result]] = set(futures)
        try:
            while pending:
                _, pending = wait(pending, timeout=0.2)
                for i, job in enumerate(planned):
                    if progress is not None and board[2 * i + 1]:
                        progress(job.name, board[2 * i], board[2 * i + 1])
        except KeyboardInterrupt:
            board[-1] = 1  # each run saves after the update in progress, and stops
            pool.shutdown(cancel_futures=True)
            raise
    return [_outcome(future) for future in futures]


def _outcome(future: Future[Result]) -> Result | ClframeError:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, ClframeError):
        return error
    raise error
