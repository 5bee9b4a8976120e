"""Run a study: every group through `clframe.compare`, then obtained.json and the figure. A stopped study goes on where it was."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import clframe
from clframe.eval.statistics import summarise
from papers.study import BySeed, Group, Runs, Study

Tell = Callable[[str, int, int], None]
ENVIRONMENT = ("clframe", "torch", "python", "processor", "device", "threads")
"""What obtained.json says about the machine."""


def run(study: Study, scale: str, *, data_dir: str | None, out: Path, jobs: int, device: str) -> dict[str, Any]:
    """Make the runs that are not there yet, and write obtained.json and the figure of this scale.

    Args:
        study: the study.
        scale: "default" or "full".
        data_dir: folder of data sets.
        out: directory of the run directories; OUT/STUDY/SCALE/GROUP/...
        jobs: runs at the same time.
        device: as in `clframe.run`.

    Raises:
        ClframeError: a run cannot be made; what is finished stays.
    """
    runs: dict[str, clframe.Results] = {}
    for group in study.groups(scale):
        count = len(group.scenarios) * len(group.strategies) * group.seeds
        print(f"{study.name}, {scale} scale, {group.name}: {count} runs, {min(jobs, count)} at a time", file=sys.stderr)
        with progress() as tell:
            runs[group.name] = clframe.compare(
                list(group.scenarios),
                list(group.strategies),
                seeds=group.seeds,
                jobs=jobs,
                out=out / study.name / scale / group.name,
                progress=tell,
                **{"data_dir": data_dir, "device": device, **group.options},
            )
    found = obtained(study, scale, runs)
    study.obtained(scale).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    study.figure(runs).savefig(study.picture(scale), dpi=110, metadata={"Software": None})
    return found


def obtained(study: Study, scale: str, runs: Runs) -> dict[str, Any]:
    """What obtained.json holds: settings, machine, and every quantity with its seeds, mean and interval."""
    every = [result for results in runs.values() for result in results]
    return {
        "study": study.name,
        "scale": scale,
        "what": study.scales[scale],
        "settings": {g.name: _settings(g) for g in study.groups(scale)},
        "environment": {key: every[0].environment[key] for key in ENVIRONMENT},
        "cpu_minutes": round(sum(r.budget.cpu_seconds for r in every) / 60, 1),
        "quantities": {key: summary(values) for key, values in study.quantities(runs).items()},
    }


def summary(values: BySeed) -> dict[str, Any]:
    """Values by seed, their mean and the 95 % interval of the mean (t).

    >>> summary({0: 1.0, 1: 3.0})["mean"]
    2.0
    """
    found = summarise(values.values())
    numbers = {"n": found.n, "mean": found.mean, "low": found.low, "high": found.high, "sd": found.std}
    return {**{k: _short(v) for k, v in numbers.items()}, "values": {str(s): _short(v) for s, v in sorted(values.items())}}


def _short(value: float | int | None) -> float | int | None:
    """Six significant digits: enough to compute with, few enough to read."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _settings(group: Group) -> dict[str, Any]:
    return {
        "scenarios": list(group.scenarios),
        "strategies": list(group.strategies),
        "seeds": list(range(group.seeds)),
        "options": dict(group.options),
    }


@contextmanager
def progress(every: float = 30.0) -> Iterator[Tell]:
    """Bars on a terminal; otherwise a line on stderr for each run that ends, and one in between every `every` seconds."""
    from clframe.cli.parsing import progress as bars

    with bars() as tell:
        if tell is not None:
            yield tell
            return
        begun, ended, last = time.monotonic(), set[str](), [time.monotonic()]

        def line(name: str, done: int, total: int) -> None:
            now = time.monotonic()
            if name in ended:
                return
            if done == total or now - last[0] > every:
                last[0] = now
                print(f"  {now - begun:6.0f} s  {name}: {done} of {total} updates", file=sys.stderr, flush=True)
            if done == total:
                ended.add(name)

        yield line


def default_jobs() -> int:
    """As many runs at a time as there are cores."""
    return os.cpu_count() or 1
