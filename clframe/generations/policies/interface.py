"""What a policy is asked, and what it answers: which rows of which shards the next model trains on, with weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, final

import numpy as np
import numpy.typing as npt

from clframe.errors import DataError, OptionError, bad_option

Rows: TypeAlias = npt.NDArray[np.int64]
Weights: TypeAlias = npt.NDArray[np.float64]


class Shard(Protocol):
    """What a policy knows of a shard; a `Record` of the pool is one."""

    @property
    def id(self) -> str:
        """Its name in the pool."""
        ...

    @property
    def kind(self) -> str:
        """real, synthetic or edited."""
        ...

    @property
    def generation(self) -> int:
        """0 for real data; n for what the n-th model made."""
        ...

    @property
    def rows(self) -> int:
        """How many rows it has."""
        ...


@final
@dataclass(frozen=True)
class Part:
    """Rows of one shard.

    Attributes:
        id: the shard.
        rows: row numbers within it, ascending (m,).
        weight: of each in the loss (m,).
    """

    id: str
    rows: Rows
    weight: Weights


@final
@dataclass(frozen=True)
class Training:
    """What the next model trains on: parts in the order of the shards, each shard at most once."""

    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return sum(len(part.rows) for part in self.parts)

    @property
    def ids(self) -> tuple[str, ...]:
        """The shards that it trains on, which are the parents of what it generates."""
        return tuple(part.id for part in self.parts)

    @property
    def weight(self) -> Weights:
        """All weights, part after part (m,)."""
        return np.concatenate([part.weight for part in self.parts])


@final
@dataclass(frozen=True)
class Scores:
    """What the last model says of every row of every shard, shard after shard.

    Attributes:
        embedding: (n, d).
        loss: (n,).
    """

    embedding: npt.NDArray[Any]
    loss: npt.NDArray[np.float64]


class Policy(Protocol):
    """A way to choose what the next generation trains on; its options are the arguments that it is made with."""

    @property
    def needs_scores(self) -> bool:
        """Whether it looks at embeddings and losses."""
        ...

    def __call__(self, shards: Sequence[Shard], seed: int, scores: Scores | None = None) -> Training:
        """Choose.

        Args:
            shards: what is there, in the order in which it was appended.
            seed: root of all random numbers.
            scores: what the last model says of every row; None before there is one.
        """
        ...


def is_real(shards: Sequence[Shard]) -> npt.NDArray[np.bool_]:
    """Whether each row, shard after shard, is real (n,)."""
    return np.repeat([shard.kind == "real" for shard in shards], [shard.rows for shard in shards])


def latest(shards: Sequence[Shard]) -> npt.NDArray[np.bool_]:
    """Whether each row is of the last generation of data that is not real (n,); nothing where all is real."""
    last = max((s.generation for s in shards if s.kind != "real"), default=-1)
    return np.repeat([s.kind != "real" and s.generation == last for s in shards], [s.rows for s in shards])


def need_real(policy: str, shards: Sequence[Shard]) -> None:
    """Refuse a pool without real data.

    Raises:
        DataError: by the name of the policy.

    Example:
        >>> need_real("accumulate", [])
        Traceback (most recent call last):
        clframe.errors.DataError: policy 'accumulate' must have real data; got 0 shards, none of them real. Append it first.
    """
    if not any(shard.kind == "real" and shard.rows for shard in shards):
        raise DataError(f"policy {policy!r} must have real data; got {len(shards)} shards, none of them real. Append it first.")


def first_size(shards: Sequence[Shard], size: int) -> int:
    """The number of rows to train on: `size`, or, where that is 0, the rows of the first generation, which are the real ones."""
    return size or sum(shard.rows for shard in shards if shard.kind == "real")


def check_size(size: int) -> None:
    """Refuse a size below 0."""
    if size < 0:
        raise bad_option("size", "a number of rows, or 0 for as many as the first generation has", size, "Leave it out.")


def check_share(name: str, share: float, example: str, *, of_all_real: bool = False) -> None:
    """Refuse a share outside [0, 1]; also 0, where that is all that is real in what is trained on."""
    if not 0 <= share <= 1:
        raise bad_option(name, "a share in [0, 1]", share, f"Give {example}.")
    if of_all_real and share == 0:
        rule = "above 0, as no real data is left in training otherwise, which is replace"
        raise bad_option(name, rule, share, f"Give {example}, or replace(allow_collapse=true).")


def training(shards: Sequence[Shard], rows: Rows, weight: Weights | None = None) -> Training:
    """Rows numbered shard after shard, as parts; weights are 1 where none are given.

    Example:
        >>> from types import SimpleNamespace as Row
        >>> found = training([Row(id="a", rows=3), Row(id="b", rows=2)], np.array([4, 1]))
        >>> [(part.id, part.rows.tolist()) for part in found.parts]
        [('a', [1]), ('b', [1])]
    """
    order = np.argsort(rows, kind="stable")
    rows = rows[order].astype(np.int64)
    weight = np.ones(len(rows)) if weight is None else weight[order].astype(np.float64)
    if not len(rows):
        raise OptionError("the next model must have rows to train on; the policy chose none. Give a larger size.")
    ends = np.cumsum([shard.rows for shard in shards])
    places = np.searchsorted(rows, np.concatenate([[0], ends]))
    parts = [
        Part(shard.id, rows[a:b] - (end - shard.rows), weight[a:b])
        for shard, end, a, b in zip(shards, ends, places[:-1], places[1:], strict=True)
        if b > a
    ]
    return Training(tuple(parts))
