"""What more processors bring: the same comparison in this process, in a pool of two, and through Ray, by the clock."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from importlib.util import find_spec

from benchmarks.measure import Row, quartiles, seconds
from benchmarks.setting import Setting
from clframe.comparison import Options, attempt, plan
from clframe.errors import ClframeError

JOBS = 2
RUNS = 12
OPTIONS: Options = {"model": "mlp", "threads": 1, "epochs": 40, "evaluate": "every(k=4)"}
"""Some nine seconds a run: long enough that what starting two processes takes is a small share."""
FLOOR = 1.7


def rows(setting: Setting) -> Iterator[Row]:
    """All sides take turns, in every round another one first; a round gives one ratio."""
    planned = plan("split-digits", ["er"], RUNS, None, OPTIONS)
    places = ["in-process", "processes", *(["ray"] if find_spec("ray") else [])]
    times: dict[str, list[float]] = {place: [] for place in places}
    planned[0](None)  # what is imported when it is first needed
    known: list[float] | None = None
    for k in range(7 if setting.full else 3):
        for place in places[k % len(places) :] + places[: k % len(places)]:
            start = time.perf_counter()
            outcomes = attempt(planned, JOBS, where=place)
            times[place].append(time.perf_counter() - start)
            found = [outcome.metrics.acc for outcome in outcomes if not isinstance(outcome, ClframeError)]
            if len(found) < RUNS or (known is not None and found != known):
                raise RuntimeError(f"{place}: must give the same accuracies as the other executors; got {found}, not {known}.")
            known = found
    here = times["in-process"]
    for place in places[1:]:
        low, middle, high = quartiles(h / t for h, t in zip(here, times[place], strict=True))
        what = f"{RUNS} runs of er on two processors, {place}, by the clock; all rounds {span(times[place])} s"
        against = f"in process {seconds(statistics.median(here))}; all rounds {span(here)} s"
        ok = middle >= FLOOR if place == "processes" else None
        floor = f">= {FLOOR:g}x faster" if place == "processes" else "faster"
        yield Row(what, seconds(statistics.median(times[place])), against, middle, (low, high), floor, ok)


def span(times: list[float]) -> str:
    """The shortest and the longest."""
    return f"{min(times):.0f}-{max(times):.0f}"
