"""What a method is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, final

import numpy as np

from clframe.errors import OptionError, bad_option
from clframe.selection.clustering import Clustering
from clframe.selection.draws import Draw
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.estimate import Estimate
from clframe.selection.losses import Losses
from clframe.selection.pool import Pool


@final
@dataclass(frozen=True)
class Ask:
    """A choice of `size` rows of a pool.

    Attributes:
        pool: what is chosen from.
        size: how many.
        seed: root of all random numbers.
        losses: what the loss of a row is; None where nobody knows.
        clustered: makes the cells; called when a method needs them, once.
    """

    pool: Pool
    size: int
    seed: int
    losses: Losses | None = None
    clustered: Callable[[], Clustering] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.size <= self.pool.n:
            rule = f"between 1 and the {self.pool.n:,} rows of the pool"
            raise bad_option("size", rule, self.size, "Give 1 or more." if self.size < 1 else "Give a smaller size.")

    @cached_property
    def clustering(self) -> Clustering:
        """The cells of the pool."""
        assert self.clustered is not None
        return self.clustered()

    def needed_losses(self, method: str) -> Losses:
        """The losses.

        Raises:
            OptionError: there are none.
        """
        if self.losses is None:
            raise OptionError(f"method {method!r} needs losses; got none. Give loss=..., or choose uniform or stratified.")
        return self.losses

    @property
    def proxy(self) -> Numbers | None:
        """A guess of every row's loss that costs nothing, the column "proxy"; None where there is none."""
        return self.pool.numbers("proxy", least=0.0) if "proxy" in self.pool.columns else None


@final
@dataclass(frozen=True)
class Choice:
    """Chosen rows.

    Attributes:
        rows: in ascending order, none twice (m,).
        weight: how much each stands for (m,); for random choices sum_i w_i f_i estimates sum_i f_i over the pool.
        expected: how often each was expected to be drawn (m,); NaN where the choice is not random.
        count: how often each was drawn (m,).
        stratum: what part of the pool each was drawn from (m,); 0 where that is the whole.
        score: what the probability of each was made from (m,).
        estimate: the mean loss over the pool, where losses are known and the choice is random.
        facts: what the method found on the way, for the manifest.
    """

    rows: Rows
    weight: Numbers
    expected: Numbers
    count: Rows
    stratum: Rows
    score: Numbers
    estimate: Estimate | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def drawn(cls, draw: Draw, score: Numbers, estimate: Estimate | None = None, **facts: Any) -> Choice:
        """The choice that a draw is."""
        none = np.zeros(len(draw.rows), dtype=np.int64)
        return cls(draw.rows, draw.weight, draw.expected, draw.count, none, score, estimate, facts)

    @classmethod
    def fixed(cls, rows: Rows, weight: Numbers, score: Numbers, **facts: Any) -> Choice:
        """A choice that is not random: nothing can be said of the mean loss from it."""
        order = np.argsort(rows)
        rows, weight, score = rows[order].astype(np.int64), weight[order].astype(np.float64), score[order].astype(np.float64)
        ones, nan = np.ones(len(rows), dtype=np.int64), np.full(len(rows), np.nan)
        return cls(rows, weight, nan, ones, 0 * ones, score, None, facts)


class Method(Protocol):
    """A way to choose; its options are the arguments that it is made with."""

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        ...
