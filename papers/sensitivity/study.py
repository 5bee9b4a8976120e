"""Clustering-based sensitivity sampling: the error of the mean loss, the accuracy after training, and least squares."""

from __future__ import annotations

from typing import Any

from papers.measured import Measured
from papers.sensitivity import accuracy, least_squares, mean_loss
from papers.sensitivity.designs import FILES, MADE
from papers.sensitivity.drawing import figure
from papers.sensitivity.outcome import quantities
from papers.study import Study

DATA = ("mnist", "fashion-mnist", "cifar100")
TRAINING = {"passes": 10, "batch": 64, "lr": 0.001}
HIDDEN, SCORER = 128, 5000
"""Units of every network; rows that those are trained on whose losses are estimated."""
SCALES: dict[str, dict[str, int]] = {
    "default": {"draws": 200, "seeds": 20, "solutions": 200, "candidates": 5000, "greedy": 1000},
    "full": {"draws": 1000, "seeds": 100, "solutions": 1000, "candidates": 60_000, "greedy": 4000},
}


def groups(scale: str) -> list[Measured]:
    """One group for each of the three questions."""
    much = SCALES[scale]
    errors: dict[str, Any] = {
        "scorer": {"rows": SCORER, "hidden": HIDDEN, **TRAINING, "seed": 0},
        "components": 64,
        "sizes": [[100, 400], [400, 1600]],
        "draws": much["draws"],
    }
    trained: dict[str, Any] = {
        "sizes": [500, 1000, 4000],
        "scorer": SCORER,
        "hidden": HIDDEN,
        "training": TRAINING,
        "limits": {"cells": 400, "candidates": much["candidates"], "greedy": much["greedy"]},
    }
    solved: dict[str, Any] = {"sizes": [100, 300, 1000], "cells": 50, "draws": much["solutions"]}
    seeds = range(much["seeds"])
    return [
        Measured("mean", mean_loss.measure, tuple({"data": data} for data in DATA), errors),
        Measured("squares", least_squares.measure, tuple({"data": data} for data in (*MADE, *FILES)), solved),
        Measured("accuracy", accuracy.measure, tuple({"seed": s, "data": d} for s in seeds for d in DATA), trained),
    ]


def summary(scale: str) -> str:
    """What a scale is."""
    much = SCALES[scale]
    return (
        f"{much['draws']} draws of each method from whole training sets, losses of networks of {HIDDEN} units; {much['seeds']} "
        f"seeds of networks trained on 500, 1,000 and 4,000 rows, k-center and herding up to {much['greedy']:,} rows and from "
        f"{much['candidates']:,} candidates; {much['solutions']} draws for least squares."
    )


STUDY = Study(
    name="sensitivity",
    title="Sensitivity sampling by clusters: the mean loss, accuracy after training, and least squares",
    scales={scale: summary(scale) for scale in SCALES},
    groups=groups,
    quantities=quantities,
    figure=figure,
    pictured="ratio",
)
