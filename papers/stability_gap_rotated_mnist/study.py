"""Rotated-MNIST: the less alike the tasks, the deeper the gap, and end-of-task metrics hardly show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clframe.eval.result import Results
from papers import figures
from papers.measures import difference, each, metric, task1_deepest, task1_forgetting
from papers.study import BySeed, Group, Runs, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = (10, 30, 60, 80)
TASKS = 4
METRICS = {"acc": "acc", "forg": "forgetting_first_last", "min_acc": "min_acc", "wf10": "wf_10"}
SGD: dict[str, Any] = {"model": "mlp", "optimizer": "sgd", "momentum": 0.9, "reset_optimizer": True, "batch_size": 256}
RELEASED = {"lr": 0.01, "new_share": 0.3}
"""From the released configuration of Split-MNIST."""
SCALED: dict[str, dict[str, Any]] = {
    "default": {"epochs": 1, "evaluate": "dense(first=50,every=5)"},
    "full": {"epochs": 10, "evaluate": "every"},
}


def er(new_share: float | str) -> str:
    """ER as the paper's code sets it up."""
    return f"er(size=2000,memory=class-balanced,new_share={new_share},fill=experience)"


def scenario(step: int) -> str:
    """MNIST in TASKS domains, each turned by `step` degrees more than the one before."""
    return f"rotated-mnist(step={step},experiences={TASKS})"


def groups(scale: str) -> list[Group]:
    """ER on the four streams, with the released setting."""
    streams, options = tuple(map(scenario, STEPS)), {**SGD, **SCALED[scale]}
    return [Group("rotated", streams, (er(RELEASED["new_share"]),), {**options, "lr": RELEASED["lr"]})]


def quantities(runs: Runs) -> dict[str, BySeed]:
    """Metrics at each step, and how they change from one to another: after all tasks, and after three."""
    results = runs["rotated"]
    found = {**_trend(results), **_trend(results, "three/", tasks=3)}
    for step in STEPS:
        of = results.of(scenario=scenario(step))
        found[f"{step}/task1_forgetting"] = each(of, lambda r: task1_forgetting(r.curves))
        found[f"{step}/task1_deepest"] = each(of, lambda r: task1_deepest(r.curves))
    return found


def _trend(results: Results, prefix: str = "", tasks: int | None = None) -> dict[str, BySeed]:
    """The metrics at each step and the differences that the paper speaks of."""
    at: dict[str, BySeed] = {}
    for step in STEPS:
        for short, name in METRICS.items():
            at[f"{step}/{short}"] = metric(results.of(scenario=scenario(step)), name, tasks)
    for short in ("acc", "min_acc"):
        at[f"10_minus_80/{short}"] = difference(at[f"10/{short}"], at[f"80/{short}"])
    for short in ("forg", "wf10"):
        at[f"80_minus_60/{short}"] = difference(at[f"80/{short}"], at[f"60/{short}"])
    at["hidden/min_acc_over_acc"] = difference(at["10_minus_80/min_acc"], at["10_minus_80/acc"])
    at["hidden/wf10_over_forg"] = difference(at["80_minus_60/wf10"], at["80_minus_60/forg"])
    return {prefix + key: values for key, values in at.items()}


def figure(runs: Runs) -> Figure:
    """Task 1 along the streams, and at the first switch."""
    fig, (whole, near) = figures.panels((5.6, 4.0), "Rotated-MNIST, ER: task 1 where every task is turned by so many degrees more")
    for step, colour in zip(STEPS, figures.COLOURS, strict=True):
        results = runs["rotated"].of(scenario=scenario(step))
        figures.stream(whole, results, colour, f"{step}°")
        figures.switch(near, results, 0, 40, colour, f"{step}°")
    for ax in (whole, near):
        figures.percent_axis(ax)
        ax.set_ylim(40, 100)
        ax.set_yticks([40, 60, 80, 100])
    near.set_ylabel("")
    figures.legend(near)
    return fig


STUDY = Study(
    name="stability_gap_rotated_mnist",
    title="Stability gap: Rotated-MNIST, the similarity of tasks",
    scales={
        "default": "All of MNIST in each of 4 tasks, one epoch a task (the released Split-MNIST configuration: 10), 5 seeds, "
        "measured after each of the first 50 updates of a task and every fifth.",
        "full": "All of MNIST in each of 4 tasks, 10 epochs a task, 5 seeds, measured after every update.",
    },
    groups=groups,
    quantities=quantities,
    figure=figure,
)
