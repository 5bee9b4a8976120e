"""Task-free streams: every task or class comes and goes on a Gaussian schedule, and nothing says when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from clframe.data import Dataset
from clframe.errors import bad_option
from clframe.scenarios.build import dataset
from clframe.scenarios.class_incremental import class_groups, class_incremental
from clframe.scenarios.order import AsGiven
from clframe.scenarios.shares import cut, equal_sizes
from clframe.scenarios.stream import Stream
from clframe.seeding import rng
from clframe.types import Reveals


def gaussian(
    data: Dataset | str = "digits",
    *,
    experiences: int = 5,
    classes_per_experience: Sequence[int] | None = None,
    class_order: Literal["random", "sorted"] | Sequence[int] = "random",
    centres: Literal["task", "class"] = "task",
    width: float = 0.5,
    validation: float = 0.0,
    seed: int = 0,
    name: str = "gaussian",
) -> Stream:
    """Sample i comes at the time t_i = c_i + w z_i, z_i standard normal; the stream is all samples once, sorted by time.

    Neither boundaries nor classes nor tasks are revealed, and there is one pass. The stream is cut into as many equal
    stretches as there are tasks, only so that evaluation has its places; stretch k has the test (and validation) set of task k.

    Args:
        data: a data set or the name of one.
        experiences, classes_per_experience, class_order, validation: as in `class_incremental`: the tasks, and with them K.
        centres: c_i in units of one task: k + 1/2 for a sample of task k ("task"), or (p + 1/2) K / C for a sample of the
            p-th of C classes ("class").
        width: w, in units of one task.
        seed: root of the class order, the times and the validation split.
        name: name in reports.

    Raises:
        OptionError: a width that is not positive, an unknown kind of centres.

    Example:
        >>> stream = gaussian("digits", width=0.2, class_order="sorted")
        >>> bool(stream.data.train.y[stream.segments[0]].mean() < stream.data.train.y[stream.segments[4]].mean())
        True
        >>> stream.reveals.names(), stream.online
        (frozenset(), True)

    Reference: Shanahan, Kaplanis, Mitrovic, "Encoders and ensembles for task-free continual learning", 2021.

    Differences:
        1. Published schedules draw the class of each step and then one of its samples; here every sample comes exactly once.
    """
    if not 0 < width < np.inf:
        raise bad_option("width", "a positive number of task lengths", width, "Give width=0.5; class-incremental has no overlap.")
    if centres not in ("task", "class"):
        raise bad_option("centres", "'task' or 'class'", centres, "Give centres='task'.")
    data = dataset(data)
    base = class_incremental(
        data,
        experiences=experiences,
        classes_per_experience=classes_per_experience,
        class_order=class_order,
        validation=validation,
        seed=seed,
    )
    groups = class_groups(data.num_classes, experiences, classes_per_experience, class_order, seed)
    centre = np.empty(data.num_classes)
    for k, group in enumerate(groups):
        centre[group] = k + 0.5
    if centres == "class":
        order = [c for group in groups for c in group]
        centre[order] = (np.arange(len(order)) + 0.5) * len(groups) / len(order)
    times = centre[data.train.y] + width * rng(seed, "times").standard_normal(len(data.train))
    kept = np.concatenate(base.segments)
    segments = cut(kept[np.argsort(times[kept], kind="stable")], equal_sizes(len(kept), len(groups)))
    return Stream(
        name,
        data,
        segments,
        base.tests,
        Reveals(boundaries=False, classes=False),
        base.tasks,
        base.validation,
        order=AsGiven(),
        seed=seed,
        online=True,
    )
