"""The report: tables, figures and the HTML file, on simulated runs with a stability gap."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clframe.errors import OptionError
from clframe.eval.budget import Budget
from clframe.eval.report import budgets, html, plots, style, tables, words
from clframe.eval.report.series import thin, track, window
from clframe.eval.result import Result, Results

# how far a previous experience falls at a boundary, and how much of the fall is still there at the next one
KINDS = {"finetune": (1.0, 1.0), "er(size=500)": (0.8, 0.15), "lwf": (0.5, 0.5), "ewc(strength=100.0)": (0.6, 0.7)}


def simulate(
    strategy: str = "er(size=500)",
    seed: int = 0,
    experiences: int = 5,
    updates: int = 40,
    every: int = 1,
    scenario: str = "split-digits",
    finished: bool = True,
    stretch: int = 0,
) -> Result:
    """A run whose previous experiences fall within a few updates of each boundary and then come back, or do not."""
    draw = np.random.default_rng([seed, *strategy.encode()])
    depth, lasting = KINDS.get(strategy, (0.4 + 0.5 * draw.random(), draw.random()))
    ends = np.cumsum([updates + (stretch * seed * (k % 2)) for k in range(experiences)])
    level, rows, classes = np.full(experiences, 0.1), [], []
    total = 70

    def measure(n: int, trained: int, values: np.ndarray, which: range) -> None:
        for i in which:
            correct = int(np.clip(round(values[i] * total + draw.normal(0, 0.8)), 0, total))
            rows.append((strategy, seed, n, trained, i, correct, total, "full", 0.001, b""))
            if len(which) == experiences and n in (0, *ends):
                half = correct // 2
                classes.extend([(n, i, 2 * i, half, 35), (n, i, 2 * i + 1, correct - half, 35)])

    measure(0, -1, level, range(experiences))
    stopped = experiences if finished else experiences - 2
    for k in range(experiences):
        start = 0 if k == 0 else int(ends[k - 1])
        base = level.copy()
        for n in range(start + 1, int(ends[k]) + 1):
            s = n - start
            fall = depth * (1 - np.exp(-s / 3)) * (lasting + (1 - lasting) * np.exp(-s / 12))
            level[:k] = np.maximum(base[:k] * (1 - fall), 0)
            level[k] = 0.97 - (0.97 - base[k]) * np.exp(-s / 6)
            if n == ends[k]:
                measure(n, k, level, range(experiences))
            elif n % every == 0:
                measure(n, k, level, range(k + 1))
            if k == stopped and s >= updates // 2:
                break
        if k == stopped:
            break
    columns = ["run", "seed", "n", "trained", "evaluated", "correct", "total", "subset", "seconds", "bits"]
    cost = 1 + list(KINDS).index(strategy) if strategy in KINDS else 1
    return Result(
        strategy=strategy,
        scenario=scenario,
        seed=seed,
        spec={"scenario": scenario, "strategy": strategy, "seed": seed, "lr": 0.1, "model": {"name": "mlp", "hidden": [64, 64]}},
        rows=pd.DataFrame(rows, columns=columns),
        terms=pd.DataFrame({"n": [1], "term": ["loss"], "value": [0.1]}),
        classes=pd.DataFrame(classes, columns=["n", "evaluated", "label", "correct", "total"]),
        budget=Budget(
            parameters=5_000, parameter_bytes=20_000 * cost, updates=int(ends[-1]), passes=1.0, train_flops=10**9 * cost,
            eval_flops=3 * 10**9, train_seconds=0.5 * cost, eval_seconds=0.2, cpu_seconds=0.7 * cost, peak_bytes=4 * 10**8,
        ),
        environment={"python": "3.12", "torch": "2"},
        finished=finished,
    )


def several(names: list[str] | None = None, seeds: int = 3, **options: int) -> Results:
    return Results([simulate(s, seed, **options) for s in names or list(KINDS) for seed in range(seeds)])
