"""Class-incremental streams with few samples of most classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from clframe.data import Dataset
from clframe.errors import bad_option
from clframe.scenarios.build import dataset, held_out, ids_by_class
from clframe.scenarios.class_incremental import class_groups
from clframe.scenarios.stream import Stream
from clframe.seeding import rng
from clframe.types import Reveals


def long_tailed(
    data: Dataset | str = "digits",
    *,
    imbalance: float = 100.0,
    tail: Literal["ordered", "shuffled"] = "shuffled",
    experiences: int = 5,
    classes_per_experience: Sequence[int] | None = None,
    class_order: Literal["random", "sorted"] | Sequence[int] = "random",
    validation: float = 0.0,
    seed: int = 0,
    name: str = "long-tailed",
) -> Stream:
    """As `class_incremental`, with n_r = N rho^(-r / (C - 1)) training samples of the class of rank r; the test stays as it is.

    Args:
        data: a data set or the name of one.
        imbalance: rho, the largest class over the smallest, 1 or more. N is the size of the largest class of the data; n_r is
            rounded, at least 1, and at most what the class has.
        tail: "ordered": rank = position in the class order, so that the stream begins with the large classes; "shuffled": ranks
            are drawn.
        experiences, classes_per_experience, class_order, validation: as in `class_incremental`.
        seed: root of the class order, the ranks, the samples chosen, the validation split and the order of samples.
        name: name in reports.

    Raises:
        OptionError: an imbalance below 1, an unknown kind of tail.

    Example:
        >>> stream = long_tailed("digits", imbalance=10, tail="ordered")
        >>> [len(ids) for ids in stream.segments]
        [259, 156, 93, 55, 34]

    Reference: Liu et al., "Long-tailed class incremental learning", 2022 (ordered and shuffled).
    """
    if not 1 <= imbalance < np.inf:
        raise bad_option("imbalance", "a number, 1 or more", imbalance, "Give imbalance=100.")
    if tail not in ("ordered", "shuffled"):
        raise bad_option("tail", "'ordered' or 'shuffled'", tail, "Give tail='shuffled'.")
    data = dataset(data)
    groups = class_groups(data.num_classes, experiences, classes_per_experience, class_order, seed)
    order = np.array([c for group in groups for c in group])
    classes = order if tail == "ordered" else rng(seed, "ranks").permutation(order)
    train, test = ids_by_class(data.train), ids_by_class(data.test)
    most = max(len(ids) for ids in train)
    few = {}
    for rank, c in enumerate(classes.tolist()):
        size = round(most * imbalance ** (-rank / max(1, len(classes) - 1)))
        few[c] = rng(seed, "tail", c).permutation(train[c])[: max(1, size)]
    segments = [np.sort(np.concatenate([few[c] for c in group])) for group in groups]
    tests = [np.sort(np.concatenate([test[c] for c in group])) for group in groups]
    segments, held = held_out(segments, data.train.y, validation, seed)
    return Stream(name, data, segments, tests, Reveals(), tasks=range(len(groups)), validation=held, seed=seed)
