"""Split-MNIST, class-incremental, one pass: the stability gap of ER and what the gradients do at a switch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from papers import figures
from papers.measures import (
    difference,
    each,
    first_update_ratio,
    metric,
    stability_growth,
    task1_before,
    task1_deepest,
    task1_fall,
    task1_recovered,
)
from papers.study import BySeed, Grid, Group, Runs, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ONCE = "online-split-mnist(class_order=sorted)"
TEN = "split-mnist(class_order=sorted)"
MEMORY = 2000
SGD: dict[str, Any] = {"model": "mlp", "optimizer": "sgd", "momentum": 0.9, "reset_optimizer": True}
RELEASED = {"batch_size": 256, "lr": 0.01, "new_share": 0.3}
"""The setting of the ten-epoch Split-MNIST in the released code."""
CHOSEN = {"batch_size": 10, "lr": 0.01, "new_share": 0.3}
"""The best of the grid in tuning.json."""
CHOSEN_256 = {"batch_size": 256, "lr": 0.1, "new_share": 0.1}
"""The best of the grid with the batch size of the released code."""
OTHERS = ("finetune", "lwf", "ewc")
DENSE = "dense(first=100,every=5)"
"""When runs of thousands of updates are measured at the default scale."""


def er(new_share: float | str) -> str:
    """ER as the paper's code sets it up."""
    return f"er(size={MEMORY},memory=class-balanced,new_share={new_share},fill=experience)"


def _options(chosen: Mapping[str, Any], scale: str, many: bool = False, **more: object) -> dict[str, Any]:
    less = {"subset": 1000, "evaluate": DENSE if many else "every"}
    measured = less if scale == "default" else {"subset": 0, "evaluate": "every"}
    return {**SGD, "batch_size": chosen["batch_size"], "lr": chosen["lr"], **measured, **more}


def groups(scale: str) -> list[Group]:
    """One pass as chosen, with batches of 256 tuned, as released and with a larger learning rate; ten epochs as released."""
    tuned = {"tuning": "batch_size, lr and new_share on the validation split, seeds 100 and 101", "tuning_trials": 60}
    split = {"grad_decomposition": True}
    return [
        Group("online", (ONCE,), (er(CHOSEN["new_share"]),), _options(CHOSEN, scale, many=True, **tuned)),
        Group("batch-256", (ONCE,), (er(CHOSEN_256["new_share"]),), _options(CHOSEN_256, scale, **tuned)),
        Group("released", (ONCE,), (er(RELEASED["new_share"]), *OTHERS), _options(RELEASED, scale, **split)),
        Group("ten-epochs", (TEN,), (er(RELEASED["new_share"]),), _options(RELEASED, scale, many=True, epochs=10)),
    ]


def quantities(runs: Runs) -> dict[str, BySeed]:
    """Headline metrics of every group, the first switch, and the gradients at the switches."""
    released = er(RELEASED["new_share"])
    replay = {name: runs[name].of(released) if name == "released" else runs[name] for name in runs}
    found: dict[str, BySeed] = {}
    for name, results in replay.items():
        for short, of in (("acc", "acc"), ("forg", "forgetting_first_last"), ("min_acc", "min_acc"), ("wf10", "wf_10")):
            found[f"{name}/{short}"] = metric(results, of)
        found[f"{name}/task1_deepest"] = each(results, lambda r: task1_deepest(r.curves))
    online = replay["online"]
    found["online/task1_before"] = each(online, lambda r: task1_before(r.curves))
    found["online/task1_fall"] = each(online, lambda r: task1_fall(r.curves))
    found["online/task1_recovered"] = each(online, lambda r: task1_recovered(r.curves))
    found["once_minus_ten/wf10"] = difference(found["released/wf10"], found["ten-epochs/wf10"])
    found["ten_minus_once/min_acc"] = difference(found["ten-epochs/min_acc"], found["released/min_acc"])
    for strategy in (released, *OTHERS):
        name = strategy.partition("(")[0]
        results = runs["released"].of(strategy)
        found[f"gradients/{name}/first"] = each(results, first_update_ratio)
        if name != "finetune":
            found[f"gradients/{name}/growth"] = each(results, stability_growth)
        if name != "er":
            found[f"released-{name}/min_acc"] = metric(results, "min_acc")
    return found


def figure(runs: Runs) -> Figure:
    """Task 1 along the stream, at its first switch, and the two gradients there."""
    fig, (whole, near, norms) = figures.panels(
        (4.4, 3.0, 3.0), "Online Split-MNIST, ER: task 1, and the gradients at the first switch"
    )
    blue, orange, *_ = figures.COLOURS
    figures.stream(whole, runs["online"], blue, "batches of 10 (chosen)")
    released = runs["released"].of(er(RELEASED["new_share"]))
    figures.switch(near, runs["online"], 0, 100, blue, "batches of 10")
    figures.switch(near, released, 0, 40, orange, "batches of 256")
    near.set_xlim(-5, 100)
    for ax in (whole, near):
        figures.percent_axis(ax)
        figures.legend(ax)
    near.set_ylabel("")
    figures.gradients(norms, released, 0, 30, "gradient norm (batches of 256)")
    return fig


STUDY = Study(
    name="stability_gap_split_mnist",
    title="Stability gap: online Split-MNIST",
    scales={
        "default": "The paper's data, network, subset of 1,000 test samples a task and number of seeds. Runs with batches of 10 "
        "and those of ten epochs are measured after each of the first 100 updates of a task and every fifth, the others after all.",
        "full": "The same runs, measured after every update on all test samples.",
    },
    groups=groups,
    quantities=quantities,
    figure=figure,
    grid=Grid(
        scenario="online-split-mnist(class_order=sorted,validation=0.1)",
        strategy=er("{new_share}"),
        options=SGD,
        choices={"batch_size": (10, 256), "lr": (0.1, 0.01, 0.001), "new_share": (0.9, 0.7, 0.5, 0.3, 0.1)},
        in_strategy=("new_share",),
    ),
    chosen=(({}, CHOSEN), ({"batch_size": 256}, CHOSEN_256)),
)
