"""Compare strategies over scenarios and seeds: many runs, side by side on the machine's cores."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from clframe.errors import ClframeError, RunError, bad_option
from clframe.eval.result import Result, Results
from clframe.experiment import run
from clframe.pieces import written
from clframe.scenarios import Stream
from clframe.strategies.build import Written

if TYPE_CHECKING:
    from torch import nn


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
    grad_decomposition: bool
    device: str
    threads: int
    tuning: str
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
        ClframeError: what cannot be run; a run that fails does not stop the others.

    Example:
        >>> results = compare("split-digits", ["finetune", "er"], seeds=2)
        >>> len(results)
        4
    """
    scenarios = [scenario] if isinstance(scenario, str | Stream) else list(scenario)
    numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not numbers or not strategies or not scenarios:
        raise bad_option("seeds, strategies and scenario", "at least one each", (numbers, strategies, scenarios), "Give seeds=3.")
    if jobs < 1:
        raise bad_option("jobs", "a positive integer", jobs, "Give jobs=1.")
    planned = list(_jobs(scenarios, strategies, numbers, None if out is None else Path(out)))
    started = _in_turn(planned, options, progress) if jobs == 1 else _at_once(planned, options, progress, jobs)
    found = [outcome for outcome in started if isinstance(outcome, Result)]
    failed = [(job, outcome) for job, outcome in zip(planned, started, strict=True) if isinstance(outcome, ClframeError)]
    if failed:
        job, error = failed[0]
        rest = f" ({len(found)} of {len(planned)} runs are finished)" if len(planned) > 1 else ""
        raise type(error)(f"{job.name}: {error}{rest}") from error
    return Results(found)


def _jobs(
    scenarios: Sequence[str | Stream], strategies: Sequence[Written], seeds: Sequence[int], out: Path | None
) -> Iterator[Job]:
    for scenario in scenarios:
        base = out if out is None or len(scenarios) == 1 else out / _slug(written(scenario))
        for strategy in strategies:
            for seed in seeds:
                yield Job(scenario, strategy, seed, None if base is None else base / _slug(written(strategy)) / f"seed-{seed}")


def _slug(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "+-_.=," else "-" for c in name).strip("-")
    return kept or "run"


def _in_turn(
    jobs: Sequence[Job], options: Options, progress: Callable[[str, int, int], None] | None
) -> list[Result | ClframeError]:
    outcomes: list[Result | ClframeError] = []
    for job in jobs:
        tell = None if progress is None else _named(job.name, progress)
        try:
            outcomes.append(run(job.scenario, job.strategy, seed=job.seed, out=job.out, progress=tell, **options))
        except ClframeError as error:
            outcomes.append(error)
            if not isinstance(error, RunError):
                outcomes += [error] * (len(jobs) - len(outcomes))
                break
    return outcomes


def _named(name: str, progress: Callable[[str, int, int], None]) -> Callable[[int, int], None]:
    return lambda n, total: progress(name, n, total)


_board: Any = None


def _attach(board: Any) -> None:
    global _board
    _board = board


def _one(position: int, job: Job, options: Options) -> Result:
    def tell(n: int, total: int) -> None:
        _board[2 * position], _board[2 * position + 1] = n, total

    return run(job.scenario, job.strategy, seed=job.seed, out=job.out, progress=tell, **options)


def _at_once(
    planned: Sequence[Job], options: Options, progress: Callable[[str, int, int], None] | None, jobs: int
) -> list[Result | ClframeError]:
    """A pool of processes, one thread set each; a shared board says how far each run is."""
    context = multiprocessing.get_context("spawn")
    board = context.Array("q", 2 * len(planned), lock=False)
    workers = min(jobs, len(planned), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_attach, initargs=(board,)) as pool:
        futures: list[Future[Result]] = [pool.submit(_one, i, job, options) for i, job in enumerate(planned)]
        try:
            pending = set(futures)
            while pending:
                _, pending = wait(pending, timeout=0.2)
                for i, job in enumerate(planned):
                    if progress is not None and board[2 * i + 1]:
                        progress(job.name, board[2 * i], board[2 * i + 1])
        except KeyboardInterrupt:
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
