"""Choose options on the validation split: a grid, a few seeds that are never reported, the best mean of ACC at the end."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import clframe
from clframe.errors import RunError
from papers.study import Grid, Study

FILE = "tuning.json"


def tune(study: Study, *, data_dir: str | None, out: Path, jobs: int) -> dict[str, Any]:
    """Make every trial of the grid and write tuning.json. Settings are changed by a person; a test compares them with it.

    Trials have run directories, OUT/STUDY/tuning/OPTIONS/seed-N, so that a stopped grid goes on where it was.
    """
    assert study.grid is not None
    grid = study.grid
    choices = [dict(zip(grid.choices, values, strict=True)) for values in itertools.product(*grid.choices.values())]
    place = out / study.name / "tuning"
    work = [(grid, choice, seed, data_dir, place) for choice in choices for seed in grid.seeds]
    values: list[float | None] = []
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for (_, choice, seed, *_), value in zip(work, pool.map(_trial, work), strict=True):
            values.append(value)
            print(f"  {len(values)} of {len(work)}: {choice}, seed {seed}: {value}", file=sys.stderr, flush=True)
    found = table(grid, choices, values)
    (study.folder / FILE).write_text(json.dumps(found, indent=1) + "\n")
    return found


def table(grid: Grid, choices: list[dict[str, Any]], values: list[float | None]) -> dict[str, Any]:
    """What tuning.json holds: every trial, best first; a trial that diverged has no mean and comes last."""
    size = len(grid.seeds)
    trials = []
    for i, choice in enumerate(choices):
        own = values[i * size : (i + 1) * size]
        mean = None if None in own else round(sum(v for v in own if v is not None) / size, 2)
        trials.append({"options": choice, "acc": mean, "values": own})
    trials.sort(key=lambda t: -1.0 if t["acc"] is None else t["acc"], reverse=True)  # type: ignore[arg-type, return-value]
    return {
        "looked_at": "ACC at the end of the stream, in percent, on the validation split of the training data; no test sample",
        "scenario": grid.scenario,
        "strategy": grid.strategy,
        "options": dict(grid.options),
        "seeds": list(grid.seeds),
        "trials": trials,
    }


def best(found: Mapping[str, Any], **fixed: float) -> dict[str, Any]:
    """The options of the best trial, among those that have the values in `fixed`."""
    fits = (t["options"] for t in found["trials"] if all(t["options"][k] == v for k, v in fixed.items()))
    return next(fits)


def _trial(work: tuple[Grid, dict[str, Any], int, str | None, Path]) -> float | None:
    """ACC in percent of one trial; None where it diverged."""
    from clframe.scenarios.catalog import build

    grid, choice, seed, data_dir, place = work
    out = place / ",".join(f"{k}={v}" for k, v in choice.items()) / f"seed-{seed}"
    stream = build(grid.scenario, seed=seed, data_dir=data_dir).on_validation()
    strategy = grid.strategy.format(**{k: choice[k] for k in grid.in_strategy})
    options = {**grid.options, **{k: v for k, v in choice.items() if k not in grid.in_strategy}}
    try:
        result = clframe.run(stream, strategy, seed=seed, evaluate="boundaries", out=out, **options)
    except RunError:
        return None
    return None if result.metrics.acc is None else round(100 * result.metrics.acc, 2)
