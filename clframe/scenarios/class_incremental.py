"""Class- and task-incremental streams: every experience brings classes of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from clframe.data import Dataset
from clframe.errors import bad_option
from clframe.scenarios.build import dataset, held_out, ids_by_class
from clframe.scenarios.stream import Stream
from clframe.seeding import rng
from clframe.types import Reveals


def class_incremental(
    data: Dataset | str = "digits",
    *,
    experiences: int = 5,
    classes_per_experience: Sequence[int] | None = None,
    class_order: Literal["random", "sorted"] | Sequence[int] = "random",
    validation: float = 0.0,
    seed: int = 0,
    name: str = "class-incremental",
) -> Stream:
    """Disjoint groups of classes, one group an experience; the test asks for all classes at once.

    Args:
        data: a data set or the name of one.
        experiences: number of groups; classes that do not divide evenly go one by one to the first groups.
        classes_per_experience: sizes of the groups, such as [50, 10, 10, 10, 10, 10], instead of equal ones.
        class_order: "random" (by `seed`), "sorted", or the class ids in order.
        validation: share of each experience's training samples held out, stratified by class.
        seed: root of the class order, the validation split and the order of samples.
        name: name in reports.

    Raises:
        OptionError: more experiences than classes, sizes that do not add up, an order that is no permutation.

    Example:
        >>> stream = class_incremental("digits", experiences=3, class_order="sorted")
        >>> [e.classes for e in stream.experiences]
        [(0, 1, 2, 3), (4, 5, 6), (7, 8, 9)]

    Reference: van de Ven, Tuytelaars, Tolias, "Three types of incremental learning", 2022.
    """
    data = dataset(data)
    groups = class_groups(data.num_classes, experiences, classes_per_experience, class_order, seed)
    train, test = ids_by_class(data.train), ids_by_class(data.test)
    segments = [np.sort(np.concatenate([train[c] for c in group])) for group in groups]
    tests = [np.sort(np.concatenate([test[c] for c in group])) for group in groups]
    segments, held = held_out(segments, data.train.y, validation, seed)
    return Stream(name, data, segments, tests, Reveals(), tasks=range(len(groups)), validation=held, seed=seed)


def task_incremental(
    data: Dataset | str = "digits",
    *,
    experiences: int = 5,
    classes_per_experience: Sequence[int] | None = None,
    class_order: Literal["random", "sorted"] | Sequence[int] = "random",
    validation: float = 0.0,
    seed: int = 0,
    name: str = "task-incremental",
) -> Stream:
    """As `class_incremental`, with the task label given in training and test: the learner knows which group to tell apart.

    Args:
        data, experiences, classes_per_experience, class_order, validation, seed, name: as in `class_incremental`.

    Example:
        >>> task_incremental("digits").reveals.task_test
        True
    """
    import dataclasses

    stream = class_incremental(
        data,
        experiences=experiences,
        classes_per_experience=classes_per_experience,
        class_order=class_order,
        validation=validation,
        seed=seed,
        name=name,
    )
    return dataclasses.replace(stream, reveals=Reveals(task_train=True, task_test=True))


def class_groups(
    num_classes: int,
    experiences: int,
    sizes: Sequence[int] | None,
    class_order: str | Sequence[int],
    seed: int,
) -> list[list[int]]:
    """Classes in order, cut into groups."""
    if isinstance(class_order, str):
        if class_order not in ("random", "sorted"):
            raise bad_option("class_order", "'random', 'sorted' or a list of class ids", class_order, "Give class_order='random'.")
        order = rng(seed, "class-order").permutation(num_classes).tolist() if class_order == "random" else list(range(num_classes))
    else:
        order = [int(c) for c in class_order]
        if sorted(order) != list(range(num_classes)):
            rule = f"each of the classes 0..{num_classes - 1} once"
            raise bad_option("class_order", rule, order, "Name every class exactly once, or give class_order='random'.")
    if sizes is None:
        if not 1 <= experiences <= num_classes:
            rule = f"from 1 to the number of classes, {num_classes}"
            raise bad_option("experiences", rule, experiences, "Every experience needs at least one class.")
        sizes = [num_classes // experiences + (k < num_classes % experiences) for k in range(experiences)]
    elif sum(sizes) != num_classes or min(sizes, default=0) < 1:
        rule = f"positive sizes that add up to the number of classes, {num_classes}"
        raise bad_option("classes_per_experience", rule, list(sizes), f"They add up to {sum(sizes)}.")
    ends = np.cumsum(sizes).tolist()
    return [order[end - size : end] for end, size in zip(ends, sizes, strict=True)]
