"""Streams written out: the classes or the ids of every experience."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clframe.data import Dataset
from clframe.errors import OptionError, bad_option, unknown_name
from clframe.scenarios.build import dataset, held_out, ids_by_class
from clframe.scenarios.shares import held_rows
from clframe.scenarios.stream import Stream
from clframe.types import Ids, Reveals, Source

KEYS = ("classes", "train", "test", "task")


def explicit(
    data: Dataset | str = "digits",
    *,
    experiences: Sequence[Mapping[str, Any]],
    reveal_task: bool = False,
    validation: float = 0.0,
    seed: int = 0,
    name: str = "explicit",
) -> Stream:
    """Every experience as you write it: {"classes": [0, 1]}, or lists of ids {"train": [...], "test": [...]}.

    Args:
        data: a data set or the name of one.
        experiences: one mapping an experience. `classes`: classes by number or name, all their samples unless `train` or `test`
            lists ids; `train`, `test`: ids; `task`: a task label, by default the position.
        reveal_task: tell the learner the task in training and in the test.
        validation: share of the training samples held out, stratified by class, of each experience, or of the whole stream
            where samples come in several.
        seed: root of the validation split and of the order of samples.
        name: name in reports.

    Raises:
        OptionError: an unknown key, a class or id that does not exist, an experience without classes and ids, or a sample that
            comes in two tasks although the task is revealed.

    Example:
        >>> stream = explicit("digits", experiences=[{"classes": [3, 7]}, {"train": [0, 1, 2], "test": [0]}])
        >>> [len(e.stream.segments[e.index]) for e in stream.experiences]
        [289, 3]
    """
    data = dataset(data)
    if not isinstance(experiences, Sequence) or isinstance(experiences, str) or not experiences:
        raise bad_option("experiences", "a list with one mapping an experience", experiences, "Give [{'classes': [0, 1]}, ...].")
    by_class = {"train": ids_by_class(data.train), "test": ids_by_class(data.test)}
    segments, tests, tasks = [], [], []
    for k, entry in enumerate(experiences):
        _check_keys(k, entry)
        segments.append(_ids(f"experiences[{k}]", entry, "train", data.train, by_class["train"]))
        tests.append(_ids(f"experiences[{k}]", entry, "test", data.test, by_class["test"]))
        tasks.append(_integer(f"experiences[{k}].task", entry.get("task", k)))
    if reveal_task:
        check_tasks(segments, tasks, len(data.train))
    once = len(np.unique(np.concatenate(segments))) == sum(map(len, segments))
    segments, held = (held_out if once else held_rows)(segments, data.train.y, validation, seed)
    reveals = Reveals(task_train=reveal_task, task_test=reveal_task)
    return Stream(name, data, segments, tests, reveals, tasks=tuple(tasks), validation=held, seed=seed)


def check_tasks(segments: Sequence[Ids], tasks: Sequence[int], total: int) -> None:
    """A sample whose task is revealed must belong to one task.

    Raises:
        OptionError: a sample that comes in two.
    """
    task_of = np.full(total, -1, dtype=np.int64)
    for k, (ids, task) in enumerate(zip(segments, tasks, strict=True)):
        clash = (task_of[ids] >= 0) & (task_of[ids] != task)
        if clash.any():
            raise OptionError(
                f"a training sample must belong to one task where the task is revealed; got id {int(ids[clash][0])} in task "
                f"{int(task_of[ids[clash][0]])} and, in experience {k}, in task {task}. Hide the task, or give both the same."
            )
        task_of[ids] = task


def _check_keys(k: int, entry: object) -> None:
    if not isinstance(entry, Mapping):
        raise bad_option(f"experiences[{k}]", "a mapping", entry, f"Its keys are {', '.join(KEYS)}.")
    for key in entry:
        if key not in KEYS:
            raise unknown_name(f"experiences[{k}]", str(key), KEYS)


def _ids(where: str, entry: Mapping[str, Any], part: str, source: Source, by_class: list[Ids]) -> Ids:
    """The ids of one part, ascending: as listed, or all of the classes."""
    listed = entry.get(part)
    if listed is not None:
        rule = f"a list of ids in 0..{len(source) - 1}, each once"
        if not isinstance(listed, Sequence | np.ndarray) or isinstance(listed, str) or len(listed) == 0:
            raise bad_option(f"{where}.{part}", rule, listed, "Name at least one id.")
        for i in listed:
            if not 0 <= _integer(f"{where}.{part}", i) < len(source):
                raise bad_option(f"{where}.{part}", rule, i, "Correct the id.")
        ids = np.unique(np.asarray(listed, dtype=np.int64))
        if len(ids) < len(listed):
            raise bad_option(f"{where}.{part}", rule, f"{len(listed) - len(ids)} repeated ids", "Name each once.")
        return ids
    classes = entry.get("classes")
    if not isinstance(classes, Sequence) or isinstance(classes, str) or not classes:
        raise bad_option(where, f"classes or ids: `classes` or `{part}`", dict(entry), "Give classes: [0, 1], or train and test.")
    return np.sort(np.concatenate([by_class[_class(f"{where}.classes", c, source)] for c in dict.fromkeys(classes)]))


def _class(where: str, value: object, source: Source) -> int:
    """A class by number or name."""
    if isinstance(value, str):
        if value not in source.class_names:
            raise unknown_name(where, value, source.class_names)
        return source.class_names.index(value)
    c = _integer(where, value)
    if not 0 <= c < len(source.class_names):
        raise bad_option(where, f"classes in 0..{len(source.class_names) - 1}", c, "Correct the class.")
    return c


def _integer(where: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise bad_option(where, "an integer", value, "Correct the value.")
    return int(value)
