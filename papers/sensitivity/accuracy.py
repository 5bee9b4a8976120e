"""Accuracy of networks trained from scratch on the rows that methods choose, at equal numbers of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from clframe.seeding import rng, seed_for
from clframe.selection import Coreset, Pool, pool_of, select
from clframe.selection.clustering import Clustering, KMeans, cluster
from clframe.selection.scores import margin
from papers.measured import Steps
from papers.sensitivity.images import Images, images
from papers.sensitivity.network import Networks, Numbers, Rows, outputs, train

Chosen = tuple[Rows, Numbers]
"""Rows, and weights of mean 1 or nearly so; they are scaled to it before training."""

UNWEIGHTED = ("margin", "k-center", "herding", "sensitivity, unweighted")
"""Trained on with equal weights, as in their papers."""
METHODS = {
    "uniform": "uniform",
    "margin": "scored(column=margin,largest=false)",
    "k-center": "k-center",
    "herding": "herding",
    "sensitivity": "sensitivity(draw=systematic)",
    "sensitivity, unweighted": "sensitivity(draw=systematic)",
    "stratified": "stratified",
    "auto": "auto",
}
GREEDY = ("k-center", "herding")
"""These read the pool once for each row that they choose."""
PROTOCOLS = ("second stage", "at once")


@final
@dataclass(frozen=True)
class Limits:
    """What keeps choices affordable.

    Attributes:
        cells: at most; otherwise a fifth of the rows to choose.
        candidates: rows, drawn uniformly, that the greedy methods choose from.
        greedy: the largest number of rows for which they are asked.
    """

    cells: int
    candidates: int
    greedy: int

    def methods(self, size: int) -> list[str]:
        """Those that are tried at this number of rows."""
        return [name for name in METHODS if name not in GREEDY or size <= self.greedy]


def measure(
    tell: Steps,
    data_dir: str | None,
    *,
    data: str,
    seed: int,
    sizes: Sequence[int],
    scorer: int,
    hidden: int,
    training: Mapping[str, Any],
    limits: Mapping[str, int],
) -> dict[str, float]:
    """Accuracy in percent by "protocol/rows/method", for one data set and seed.

    "second stage": a fifth of the rows is drawn uniformly, a network trained on it scores all others, the method chooses the rest
    of the rows, and a network is trained from scratch on all of them. "at once": a network that was trained on `scorer` rows scores
    all rows, and the method chooses among them.

    Args:
        data: name of the data set.
        seed: of everything.
        sizes: rows that the networks are trained on.
        scorer: rows of the network that scores, "at once".
        hidden: units.
        training: passes, batch and learning rate, of every network.
        limits: see `Limits`.
    """
    source, allowed, found = images(data, data_dir), Limits(**limits), {}
    make = _Trainer(source, hidden, dict(training), seed)
    whole = make.pool(rng(seed, "scorer").choice(len(source.y), scorer, replace=False), np.arange(len(source.y)))
    for place, size in enumerate(sizes):
        drawn = rng(seed, "second stage").permutation(len(source.y))
        first, rest = drawn[: size // 5], np.sort(drawn[size // 5 :])
        second = make.pool(first, rest)
        for part, (protocol, pool, before) in enumerate(zip(PROTOCOLS, (second, whole), (first, first[:0]), strict=True)):
            chosen = choices(pool, size - len(before), allowed.methods(size), allowed, seed)
            every = [_joined(before, one, size) for one in chosen.values()]
            for name, value in zip(chosen, make.accuracy(every), strict=True):
                found[f"{protocol}/{size}/{name}"] = value
            tell(len(PROTOCOLS) * place + part + 1, len(PROTOCOLS) * len(sizes))
    return found


@final
@dataclass(frozen=True)
class _Trainer:
    """Trains networks on rows of a data set, all from the same weights and in the same order."""

    data: Images
    hidden: int
    training: Mapping[str, Any]
    seed: int

    def networks(self, every: Sequence[Chosen]) -> Networks:
        """One for each choice."""
        made = Networks.fresh(len(every), self.data.x.shape[1], self.hidden, self.data.classes, self.seed)
        rows, weights = (np.stack(parts) for parts in zip(*every, strict=True))
        return train(made, self.data.x, self.data.y, rows, weights, **self.training, seed=self.seed)

    def accuracy(self, every: Sequence[Chosen]) -> list[float]:
        """On the test samples, in percent."""
        return self.networks(every).accuracy(self.data.x_test, self.data.y_test)

    def pool(self, trained_on: Rows, rows: Rows) -> Pool:
        """Some rows by the hidden units of a network trained on others, with its losses and margins; ids are rows of the data."""
        says = outputs(self.networks([(trained_on, np.ones(len(trained_on)))]), self.data.x)
        probabilities = np.exp(says.log_probabilities[rows].astype(np.float64))
        loss, label = says.loss(self.data.y)[rows], self.data.y[rows]
        return pool_of(says.hidden[rows], ids=rows, loss=loss, label=label, margin=margin(probabilities))


def choices(pool: Pool, size: int, methods: Sequence[str], limits: Limits, seed: int) -> dict[str, Chosen]:
    """What each method chooses: ids and weights."""
    cells = cluster(pool, KMeans(k=min(limits.cells, max(1, size // 5)), points=64), seed)
    few = _part(pool, np.sort(rng(seed, "candidates").choice(pool.n, min(limits.candidates, pool.n), replace=False)))
    found: dict[str, Chosen] = {}
    made: dict[tuple[str, bool], Coreset] = {}
    for name in methods:
        asked = (METHODS[name], name in GREEDY)
        if asked not in made:
            made[asked] = _select(few if name in GREEDY else pool, size, METHODS[name], seed, None if name in GREEDY else cells)
        coreset = made[asked]
        equal = name in UNWEIGHTED
        found[name] = (coreset.ids, np.ones(len(coreset)) if equal else coreset.training_weights())
    return found


def _select(pool: Pool, size: int, words: str, seed: int, cells: Clustering | None) -> Coreset:
    return select(pool, size, words, seed=seed_for(seed, "select") % 2**31, clustering=cells)


def _part(pool: Pool, rows: Rows) -> Pool:
    columns: dict[str, Any] = {name: values[rows] for name, values in pool.columns.items()}
    return pool_of(pool.vectors.take(rows), ids=pool.id_of(rows), **columns)


def _joined(before: Rows, chosen: Chosen, size: int) -> Chosen:
    """Rows drawn before, of weight 1, and those chosen, of mean weight 1; places that are left are filled with weight 0.

    >>> rows, weights = _joined(np.array([7]), (np.array([3, 4]), np.array([0.5, 1.5])), 4)
    >>> rows.tolist(), weights.tolist()
    ([7, 3, 4, 7], [1.0, 0.75, 2.25, 0.0])
    """
    rows, weights = chosen
    room = size - len(before)
    empty = room - len(rows)
    filler = np.full(empty, rows[0] if not len(before) else before[0])
    scaled = weights * room / weights.sum()
    return np.concatenate([before, rows, filler]), np.concatenate([np.ones(len(before)), scaled, np.zeros(empty)])
