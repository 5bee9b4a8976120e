"""Run a study: every group, then obtained.json and the figure. A stopped study goes on where it was."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clframe.eval.statistics import summarise
from papers.study import BySeed, Interval, Place, Runs, Study, Tell

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
    place = Place(data_dir, out / study.name / scale, jobs, device)
    runs: dict[str, Any] = {}
    for group in study.groups(scale):
        print(f"{study.name}, {scale} scale, {group.name}: {len(group)} runs, {min(jobs, len(group))} at a time", file=sys.stderr)
        with progress() as tell:
            runs[group.name] = group.run(place, tell)
    found = obtained(study, scale, runs)
    study.obtained(scale).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    study.figure(runs).savefig(study.picture(scale), dpi=110, metadata={"Software": None})
    if study.samples is not None:
        study.samples(runs, study.beside(scale))
    return found


def obtained(study: Study, scale: str, runs: Runs) -> dict[str, Any]:
    """What obtained.json holds: settings, machine, and every quantity with its seeds, mean and interval."""
    groups = study.groups(scale)
    every = [cost for group in groups for cost in group.costs(runs[group.name])]
    return {
        "study": study.name,
        "scale": scale,
        "what": study.scales[scale],
        "settings": {group.name: group.settings() for group in groups},
        "environment": {key: every[0][0][key] for key in ENVIRONMENT},
        "cpu_minutes": round(sum(seconds for _, seconds in every) / 60, 1),
        "quantities": {key: summary(values) for key, values in study.quantities(runs).items()},
    }


def summary(values: BySeed | Interval) -> dict[str, Any]:
    """Values by seed, their mean and the 95 % interval of the mean (`summarise`); or what an interval holds.

    >>> summary({0: 1.0, 1: 3.0})["mean"], summary(Interval(200, 0.7, 0.6, 0.8))["high"]
    (2.0, 0.8)
    """
    if isinstance(values, Interval):
        numbers = {"n": values.n, "mean": values.mean, "low": values.low, "high": values.high, "sd": None}
        return {**{k: _short(v) for k, v in numbers.items()}, "values": {}}
    found = summarise(values.values())
    numbers = {"n": found.n, "mean": found.mean, "low": found.low, "high": found.high, "sd": found.std}
    return {**{k: _short(v) for k, v in numbers.items()}, "values": {str(s): _short(v) for s, v in sorted(values.items())}}


def _short(value: float | int | None) -> float | int | None:
    """Six significant digits: enough to compute with, few enough to read."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


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
                print(f"  {now - begun:6.0f} s  {name}: {done} of {total}", file=sys.stderr, flush=True)
            if done == total:
                ended.add(name)

        yield line


def default_jobs() -> int:
    """As many runs at a time as there are cores."""
    return os.cpu_count() or 1
