"""Class-incremental streams whose boundaries are blurred: a share of each experience's samples comes elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from clframe.data import Dataset
from clframe.errors import bad_option
from clframe.scenarios.build import dataset
from clframe.scenarios.class_incremental import class_incremental
from clframe.scenarios.stream import Stream
from clframe.seeding import rng
from clframe.types import Ids, Reveals


def blurry(
    data: Dataset | str = "digits",
    *,
    mixing: float = 0.1,
    experiences: int = 5,
    classes_per_experience: Sequence[int] | None = None,
    class_order: Literal["random", "sorted"] | Sequence[int] = "random",
    reveal_boundaries: bool = False,
    validation: float = 0.0,
    seed: int = 0,
    name: str = "blurry",
) -> Stream:
    """As `class_incremental`, but round(m n_k) of the n_k samples of experience k change places with samples of the others.

    Every sample still comes once, experiences keep their sizes, and exactly that many samples of each are foreign. Test and
    validation sets stay those of the unmixed experiences.

    Args:
        data: a data set or the name of one.
        mixing: m in [0, 1]: 0 is class-incremental; with 1 no sample comes in its own experience.
        experiences, classes_per_experience, class_order, validation: as in `class_incremental`.
        reveal_boundaries: tell the learner when an experience ends and which classes it holds.
        seed: root of the class order, the exchange, the validation split and the order of samples.
        name: name in reports.

    Raises:
        OptionError: a mixing outside [0, 1], or one that these sizes cannot bear.

    Example:
        >>> stream = blurry("digits", mixing=0.5, class_order="sorted")
        >>> y = stream.data.train.y[stream.segments[0]]
        >>> len(y), int((y > 1).sum())
        (288, 144)

    Reference: Bang et al., "Rainbow memory: continual learning with a memory of diverse samples", 2021 (Blurry-M, M = 100 m).

    Differences:
        1. Rainbow Memory spreads the share evenly over the other experiences; here it is spread at random.
    """
    if not 0.0 <= mixing <= 1.0:
        raise bad_option("mixing", "a share in [0, 1]", mixing, "Give mixing=0.1 for a tenth of each experience.")
    base = class_incremental(
        dataset(data),
        experiences=experiences,
        classes_per_experience=classes_per_experience,
        class_order=class_order,
        validation=validation,
        seed=seed,
    )
    reveals = Reveals(boundaries=reveal_boundaries, classes=reveal_boundaries)
    segments = exchanged(base.segments, mixing, seed)
    return Stream(name, base.data, segments, base.tests, reveals, base.tasks, base.validation, seed=seed)


def exchanged(segments: Sequence[Ids], mixing: float, seed: int) -> list[Ids]:
    """Segments of the same sizes, in each of which round(m n_k) ids come from other segments.

    Args:
        segments: disjoint ids.
        mixing: m.
        seed: root of the draw.

    Raises:
        OptionError: one segment has more to give than all others can take.

    Example:
        >>> [sorted(ids.tolist()) for ids in exchanged([np.array([0, 1]), np.array([2, 3])], 1.0, seed=0)]
        [[2, 3], [0, 1]]
    """
    draw = rng(seed, "mixing")
    counts = [round(mixing * len(ids)) for ids in segments]
    if 2 * max(counts) > sum(counts):
        rule = "such that no experience gives more than all others together"
        raise bad_option("mixing", rule, mixing, "Give less, or experiences of more similar sizes.")
    shuffled = [draw.permutation(ids) for ids in segments]
    given = np.concatenate([ids[:n] for ids, n in zip(shuffled, counts, strict=True)])
    home = np.repeat(np.arange(len(counts)), counts)
    taken = draw.permutation(len(given))
    for k in range(len(counts)):
        own = np.flatnonzero((home == k) & (home[taken] == k))
        others = draw.choice(np.flatnonzero((home != k) & (home[taken] != k)), len(own), replace=False)
        taken[own], taken[others] = taken[others], taken[own]
    pieces = np.split(given[taken], np.cumsum(counts)[:-1])
    return [np.sort(np.concatenate([ids[n:], new])) for ids, n, new in zip(shuffled, counts, pieces, strict=True)]
