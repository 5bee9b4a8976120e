"""How far the estimated mean loss is off, at equal numbers of losses looked at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clframe.selection import Losses, Pool
from clframe.selection.choice import Ask, Choice
from clframe.selection.clustering import Clustering, KMeans, cluster
from clframe.selection.methods import method
from clframe.selection.methods.sensitivity import correlation
from clframe.selection.pool import pool_of
from papers.measured import Steps
from papers.sensitivity.embeddings import pools, scored
from papers.sensitivity.images import images
from papers.sensitivity.network import Numbers

METHODS = {
    "uniform": "uniform",
    "stratified": "stratified",
    "greg": "greg(controls=proxy)",
    "sensitivity, ls": "sensitivity",
    "sensitivity, median": "sensitivity(lam=median)",
    "sensitivity, q90": "sensitivity(lam=q90)",
    "sensitivity, paper": "sensitivity(lam=paper)",
    "adaptive": "adaptive",
    "auto": "auto",
}
IN_PROPORTION = {"proxy": "scored(column=proxy,how=proportional)"}
"""Where every row has a proxy that costs nothing."""


def measure(
    tell: Steps,
    data_dir: str | None,
    *,
    data: str,
    scorer: Mapping[str, Any],
    components: int,
    sizes: Sequence[tuple[int, int]],
    draws: int,
) -> dict[str, Any]:
    """Every embedding of a data set: of each method the error of every draw, as a share of the mean loss.

    Args:
        data: name of the data set.
        scorer: how the network is trained whose losses these are; see `scored`.
        components: of PCA.
        sizes: pairs of cells k and rows m.
        draws: of each method.
    """
    source = images(data, data_dir)
    network = scored(source, **scorer)
    mean, sd = float(network.loss.mean()), float(network.loss.std())
    found: dict[str, Any] = {"accuracy": network.accuracy, "mean": mean, "sd": sd, "trials": []}
    every = list(pools(source, network, components))
    for place, (name, pool) in enumerate(every):
        for part, (k, m) in enumerate(sizes):
            cells = cluster(pool, KMeans(k=k), seed=0)
            guess = pool.columns["proxy"] if "proxy" in pool.columns else network.loss[cells.rows][cells.cell]
            facts = {"embedding": name, "k": k, "size": m, "correlation": correlation(guess, network.loss)}
            for one, words in {**METHODS, **(IN_PROPORTION if "proxy" in pool.columns else {})}.items():
                found["trials"].append({**facts, "method": one, **_trial(words, pool, cells, m, draws)})
            tell(place * len(sizes) + part + 1, len(every) * len(sizes))
    return found


def _trial(words: str, pool: Pool, cells: Clustering, size: int, draws: int) -> dict[str, Any]:
    """Errors (draws,), how many intervals held the truth, losses looked at, what `auto` chose."""
    loss = pool.numbers("loss")
    truth, errors, held, queries, taken = float(loss.mean()), [], 0, [], Counter[str]()
    for seed in range(draws):
        losses = Losses(loss, pool.n)
        choice = _chosen(words, pool, losses, cells, size, seed)
        estimate = choice.estimate
        assert estimate is not None
        errors.append(float(f"{estimate.mean / truth - 1:.6g}"))
        held += bool(estimate.low <= truth <= estimate.high)
        queries.append(losses.queries)
        taken.update([str(choice.facts["chosen"])] if "chosen" in choice.facts else [])
    asked = float(np.mean(queries))
    return {"queries": asked, "uniform": uniform_error(loss, asked), "held": held, "errors": errors, "taken": dict(taken)}


def _chosen(words: str, pool: Pool, losses: Losses, cells: Clustering, size: int, seed: int) -> Choice:
    """The choice; `greg` is given the losses of the centres as its proxy, and these are counted, unless the pool has a proxy."""
    if words.startswith("greg") and "proxy" not in pool.columns:
        guess = losses(cells.rows)[cells.cell]
        pool = pool_of(pool.vectors, name=pool.name, proxy=guess)
    return method(words)(Ask(pool, size, seed, losses, lambda: cells))


def uniform_error(loss: Numbers, size: float) -> float:
    """The root mean square error of the mean of `size` rows drawn uniformly without replacement, as a share of the mean; exact.

        sqrt((1 - m / n) S^2 / m) / mean,   S^2 with n - 1

    >>> uniform_error(np.array([1.0, 3.0]), 1)
    0.5
    """
    return math.sqrt((1 - size / len(loss)) * float(loss.var(ddof=1)) / size) / float(loss.mean())
