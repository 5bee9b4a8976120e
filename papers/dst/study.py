"""Continual learning with dynamic sparse training: initialisation, growth and density on split CIFAR-100, and its advice."""

from __future__ import annotations

from typing import Any

from papers.dst.cells import DENSITIES, GROWTHS, INITS, WITH_DEFECTS, Cell
from papers.dst.outcome import figure, quantities
from papers.study import Group, Study

WHAT: dict[str, dict[str, Any]] = {
    "default": {"train": 100, "test": 50, "width": 16, "blocks": 1, "batch_size": 32, "epochs": {10: 6, 20: 6}},
    "full": {"train": 500, "test": 100, "width": 64, "blocks": 2, "batch_size": 128, "epochs": {10: 100, 20: 25}},
}
PERIOD = {"default": {10: 12, 20: 6}, "full": {10: 200, 20: 50}}
"""Updates between exchanges: 16 exchanges a task at the default scale, 20 and 10 at the full one."""
SEEDS = 3


def dst(scale: str, tasks: int, cell: Cell) -> str:
    """The strategy in words; where no free weight may be left for a task, it goes on with those of others, as in the paper."""
    fills = ",full=share" if cell.density == 0.2 and (tasks == 20 or cell == Cell("uniform", "gradient", 0.2)) else ""
    return f"dst({cell.words},period={PERIOD[scale][tasks]}{fills})"


def released(scale: str, tasks: int, cell: Cell, defects: tuple[str, ...]) -> str:
    """The same with defects of the released code."""
    on = "".join(f",{d}=true" for d in defects)
    return f"papers.dst.released:Released({cell.words},period={PERIOD[scale][tasks]}{on})"


def thinned_grid(scale: str, tasks: int) -> list[Cell]:
    """All of it with ten tasks; with twenty, at the default scale, the corners that the advice is about."""
    growths = GROWTHS if tasks == 10 or scale == "full" else ("unfired", "gradient")
    densities = DENSITIES if tasks == 10 or scale == "full" else (0.2, 0.05)
    return [Cell(init, growth, density) for init in INITS for growth in growths for density in densities]


def options(scale: str, tasks: int) -> dict[str, Any]:
    """Options of every run."""
    what = WHAT[scale]
    model = f"papers.dst.network:residual(width={what['width']},blocks={what['blocks']})"
    made = {"model": model, "optimizer": "adam", "lr": 0.001, "batch_size": what["batch_size"], "epochs": what["epochs"][tasks]}
    return made | {"evaluate": "boundaries", "subset": 0, "threads": 1}


def groups(scale: str) -> list[Group]:
    """Ten and twenty tasks, the released code's defects, and two methods to compare with."""
    made = []
    for tasks in (10, 20):
        stream = (
            f"papers.dst.streams:thinned(data=cifar100,train={WHAT[scale]['train']},test={WHAT[scale]['test']},experiences={tasks})"
        )
        grid = tuple(dst(scale, tasks, cell) for cell in thinned_grid(scale, tasks))
        made.append(Group(f"tasks{tasks}", (stream,), grid, options(scale, tasks), seeds=SEEDS))
        if tasks == 10:
            others = ("finetune", "packnet(prune=0.75)")
            made.append(Group("others10", (stream,), others, options(scale, tasks), seeds=SEEDS))
            wrong = tuple(released(scale, tasks, cell, kind) for cell, kinds in WITH_DEFECTS.items() for kind in kinds)
            made.append(Group("defects10", (stream,), wrong, options(scale, tasks), seeds=SEEDS))
    return made


def summary(scale: str) -> str:
    """What a scale is."""
    what = WHAT[scale]
    grid = "the whole grid" if scale == "full" else "the whole grid with ten tasks, the corners of it with twenty"
    return (
        f"A residual network of {2 * what['blocks'] * 4 + 2} layers and width {what['width']}, {what['train']} training and "
        f"{what['test']} test images a class, {what['epochs'][10]} and {what['epochs'][20]} epochs with 10 and 20 tasks, {SEEDS} "
        f"seeds, {grid}."
    )


STUDY = Study(
    name="dst",
    title="Dynamic sparse training for continual learning: initialisation, growth and density",
    scales={scale: summary(scale) for scale in WHAT},
    groups=groups,
    quantities=quantities,
    figure=figure,
    pictured="accuracy",
)
