"""Streams in which classes come back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clframe.data import Dataset
from clframe.errors import bad_option
from clframe.scenarios.build import dataset, ids_by_class
from clframe.scenarios.shares import count, cut, equal_sizes, held_rows
from clframe.scenarios.stream import Stream
from clframe.seeding import rng
from clframe.types import Ids, Reveals


def recurring(
    data: Dataset | str = "digits",
    *,
    experiences: int = 10,
    classes_per_experience: int | Sequence[int] = 2,
    schedule: Sequence[Sequence[int]] | None = None,
    repeat: bool = False,
    validation: float = 0.0,
    seed: int = 0,
    name: str = "recurring",
) -> Stream:
    """Every experience brings some classes, and classes come back, with new samples or with the same ones.

    Classes are dealt from a shuffled pack that is shuffled anew when it is used up, so that no class comes a third time before
    every class has come once. An experience is tested on its classes.

    Args:
        data: a data set or the name of one.
        experiences: number of experiences.
        classes_per_experience: how many classes each brings, one number or one an experience.
        schedule: the classes of each experience instead, such as [[0, 1], [2, 3], [0, 2]].
        repeat: bring all samples of a class each time; otherwise they are dealt over its visits, each sample once.
        validation: share of all training samples held out, stratified by class; never trained on anywhere.
        seed: root of the schedule, the deal, the validation split and the order of samples.
        name: name in reports.

    Raises:
        OptionError: too few places for all classes, a class that does not exist, more visits of a class than it has samples.

    Example:
        >>> stream = recurring("digits", schedule=[[0, 1], [2], [0, 2]])
        >>> [e.classes for e in stream.experiences]
        [(0, 1), (2,), (0, 2)]

    Reference: Hemati et al., "Class-incremental learning with repetition", 2023.

    Differences:
        1. The published generator draws each class of an experience with a probability; here the numbers of visits are equal.
    """
    data = dataset(data)
    if schedule is None:
        schedule = _drawn(data.num_classes, experiences, classes_per_experience, seed)
    _check(schedule, data.num_classes)
    test = ids_by_class(data.test)
    tests = [np.sort(np.concatenate([test[c] for c in group])) for group in schedule]
    segments = _deal(schedule, ids_by_class(data.train), repeat, seed)
    segments, held = held_rows(segments, data.train.y, validation, seed)
    return Stream(name, data, segments, tests, Reveals(), validation=held, seed=seed)


def _drawn(num_classes: int, experiences: int, per_experience: int | Sequence[int], seed: int) -> list[list[int]]:
    """Classes of each experience, from a pack that is shuffled anew when it is used up."""
    each = [per_experience] * count("experiences", experiences) if isinstance(per_experience, int) else per_experience
    sizes = list(each)
    if min(sizes, default=0) < 1 or max(sizes, default=0) > num_classes or sum(sizes) < num_classes:
        rule = f"from 1 to {num_classes} classes an experience and at least {num_classes} in all"
        raise bad_option(
            "classes_per_experience", rule, per_experience, f"They add up to {sum(sizes)}; every class must come once."
        )
    pack: list[int] = []
    packs = 0
    schedule: list[list[int]] = []
    for size in sizes:
        group: list[int] = []
        while len(group) < size:
            card = next((c for c in pack if c not in group), None)
            if card is None:
                pack += rng(seed, "schedule", packs).permutation(num_classes).tolist()
                packs += 1
            else:
                pack.remove(card)
                group.append(card)
        schedule.append(group)
    return schedule


def _check(schedule: Sequence[Sequence[int]], num_classes: int) -> None:
    for k, group in enumerate(schedule):
        if not group or len(set(group)) < len(group) or min(group) < 0 or max(group) >= num_classes:
            rule = f"some of the classes 0..{num_classes - 1}, each once"
            raise bad_option(f"schedule[{k}]", rule, list(group), "Name the classes of the experience.")


def _deal(schedule: Sequence[Sequence[int]], by_class: list[Ids], repeat: bool, seed: int) -> list[Ids]:
    """Ids of each experience (ascending): all of a class at each visit, or an equal share."""
    visits = np.bincount(np.concatenate([np.asarray(group) for group in schedule]), minlength=len(by_class))
    shares: list[list[Ids]] = []
    for c, ids in enumerate(by_class):
        if repeat:
            shares.append([ids] * int(visits[c]))
            continue
        if visits[c] > len(ids):
            rule = f"at most {len(ids)} visits of class {c}, one a sample"
            raise bad_option("schedule", rule, int(visits[c]), "Ask for fewer experiences, or give repeat=True.")
        shares.append(cut(rng(seed, "deal", c).permutation(ids), equal_sizes(len(ids), int(visits[c]))) if visits[c] else [])
    return [np.sort(np.concatenate([shares[c].pop(0) for c in group])) for group in schedule]
