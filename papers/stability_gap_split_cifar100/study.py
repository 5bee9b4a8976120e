"""Split-CIFAR-100 where the paper has Split-CIFAR10: the collapse of the first task right after a switch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from papers import figures
from papers.measures import each, metric, task1_before, task1_fall, task1_lowest, task1_recovered
from papers.study import BySeed, Group, Runs, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OPTIONS: dict[str, Any] = {"model": "slim-resnet18", "optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "reset_optimizer": True}
ER = "er(size=1000,memory=class-balanced,new_share=0.7,fill=experience)"
SCALED: dict[str, dict[str, Any]] = {
    "default": {"batch_size": 64, "epochs": 4, "subset": 200, "evaluate": "dense(first=50,every=10)"},
    "full": {"batch_size": 128, "epochs": 10, "subset": 0, "evaluate": "every"},
}
TASKS, SEEDS = {"default": 2, "full": 10}, {"default": 3, "full": 5}
SOON = 50
"""Updates after the switch within which task 1 should collapse: measured one by one at both scales."""


def scenario(scale: str) -> str:
    """Ten classes a task, in the order of their numbers: the first tasks of ten, or all."""
    tasks = [{"classes": list(range(10 * k, 10 * k + 10))} for k in range(TASKS[scale])]
    return f"explicit(data=cifar100,experiences={tasks})".replace(" ", "")


def groups(scale: str) -> list[Group]:
    """One group: ER with the released setting of Split-CIFAR10."""
    return [Group("er", (scenario(scale),), (ER,), {**OPTIONS, **SCALED[scale]}, seeds=SEEDS[scale])]


def quantities(runs: Runs) -> dict[str, BySeed]:
    """The first switch, and the headline metrics."""
    results = runs["er"]
    found = {
        "switch/before": each(results, lambda r: task1_before(r.curves)),
        "switch/lowest_10": each(results, lambda r: task1_lowest(r.curves)),
        "switch/lowest_50": each(results, lambda r: task1_lowest(r.curves, horizon=SOON)),
        "switch/fall_50": each(results, lambda r: task1_fall(r.curves, horizon=SOON)),
        "switch/recovered": each(results, lambda r: task1_recovered(r.curves)),
    }
    for short, of in (("acc", "acc"), ("forg", "forgetting_first_last"), ("min_acc", "min_acc"), ("wc_acc", "wc_acc")):
        found[short] = metric(results, of)
    return found


def figure(runs: Runs) -> Figure:
    """Task 1 along the stream, and at its first switch."""
    fig, (whole, near) = figures.panels((5.2, 4.2), "Split-CIFAR-100, ER: task 1 (ten classes)")
    blue = figures.COLOURS[0]
    figures.stream(whole, runs["er"], blue, "after every update")
    figures.switch(near, runs["er"], 0, SOON, blue, "first switch")
    for ax in (whole, near):
        figures.percent_axis(ax)
    near.set_ylabel("")
    figures.legend(whole, "upper right")
    return fig


STUDY = Study(
    name="stability_gap_split_cifar100",
    title="Stability gap: Split-CIFAR-100 in place of Split-CIFAR10",
    scales={
        "default": "The first 2 of 10 tasks of ten classes, 316 updates of 64 a task (the paper's Split-CIFAR10: 5 tasks, 400 "
        "updates of 256), 3 seeds, curves on 200 test samples a task after each of the first 50 updates of a task and every tenth.",
        "full": "All 10 tasks, 400 updates of 128 a task, 5 seeds, curves on all test samples after every update.",
    },
    groups=groups,
    quantities=quantities,
    figure=figure,
)
