"""What kind of stream it is: what makes a setting that was found on one stream worth trying on another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from clframe.scenarios.stream import Stream
from clframe.types import Ids


def kind_of(stream: Stream) -> str:
    """The kind of a stream, read off its samples and what it reveals, whatever words it was built from.

    | kind | the experiences |
    |---|---|
    | one experience | there is only one |
    | class-incremental | train on classes of their own |
    | task-incremental | the same, and the test tells the task |
    | blurry | are tested on classes of their own, but train on some of the others |
    | domain-incremental | are tested on the same classes and have tasks or domains |
    | data-incremental | are tested on the same classes and have none |
    | recurring | share some classes, but not all |

    After it stand, where they hold, "task revealed" (the test tells the task of a stream that is not task-incremental) and
    "task-free" (boundaries are hidden). Numbers of experiences, classes and samples, and how evenly classes are filled, are no
    part of it; neither is whether each sample comes once, which the run's `epochs` says.

    Args:
        stream: any stream.

    Example:
        >>> from clframe.scenarios.catalog import build
        >>> [kind_of(build(words)) for words in ("split-digits", "task-split-digits", "rotated-digits", "iid-digits")]
        ['class-incremental', 'task-incremental', 'domain-incremental', 'data-incremental']
        >>> [kind_of(build(words)) for words in ("blurry-digits", "recurring-digits", "split-digits[:1]")]
        ['blurry, task-free', 'recurring', 'one experience']
    """
    base = _classes(stream)
    told = stream.reveals.task_test
    if told and base == "class-incremental":
        base, told = "task-incremental", False
    words = {"task revealed": told, "task-free": not stream.reveals.boundaries}
    return ", ".join([base, *(word for word, holds in words.items() if holds)])


def _classes(stream: Stream) -> str:
    """How the classes are shared among the experiences."""
    if len(stream) == 1:
        return "one experience"
    if _disjoint(list(_sets(stream.data.train.y, stream.segments))):
        return "class-incremental"
    tested = list(_sets(stream.data.test.y, stream.tests))
    if _disjoint(tested):
        return "blurry"
    if all(classes == tested[0] for classes in tested):
        return "data-incremental" if stream.tasks is None else "domain-incremental"
    return "recurring"


def _sets(y: npt.NDArray[np.int64], segments: Sequence[Ids]) -> Iterator[frozenset[int]]:
    """The classes of each array of ids; experiences that share one array share the work."""
    known: dict[int, frozenset[int]] = {}
    for ids in segments:
        if id(ids) not in known:
            known[id(ids)] = frozenset(np.unique(y[ids]).tolist())
        yield known[id(ids)]


def _disjoint(sets: Sequence[frozenset[int]]) -> bool:
    return sum(map(len, sets)) == len(frozenset[int]().union(*sets))
