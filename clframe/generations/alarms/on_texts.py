"""Alarms on texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from clframe.generations.alarms import exchange, ngrams
from clframe.generations.alarms.data import Data
from clframe.generations.alarms.measured import Measured
from clframe.generations.alarms.thresholds import Thresholds
from clframe.seeding import rng


def of_texts(data: Data, limits: Thresholds) -> Iterator[Measured]:
    """Distinct n-grams and their entropy, of as many generated as real texts."""
    many = min(len(data.real_texts), len(data.made_texts), limits.rows)
    if many < 2:
        return
    random = rng(limits.seed, "alarms", "texts")
    texts = [of[i] for of in (data.real_texts, data.made_texts) for i in random.choice(len(of), many, replace=False)]
    for n in (1, 2, 3):
        told = f"different {'words' if n == 1 else f'sequences of {n} words'} for each, over that of real texts"
        yield from _compared(f"distinct_{n}", _ratio, texts, n, limits, told)
    told = "entropy of pairs of words less that of real texts: lower where phrases repeat"
    yield from _compared("gram_entropy", _less, texts, 2, limits, told)


def _ratio(real: exchange.Rows, made: exchange.Rows) -> float:
    below = ngrams.distinct(real)
    return ngrams.distinct(made) / below if below else float("nan")


def _less(real: exchange.Rows, made: exchange.Rows) -> float:
    return ngrams.gram_entropy(made) - ngrams.gram_entropy(real)


def _compared(
    name: str, of: Callable[[exchange.Rows, exchange.Rows], float], texts: list[str], n: int, limits: Thresholds, told: str
) -> Iterator[Measured]:
    parts, k = ngrams.grams(texts, n)
    half = len(texts) // 2
    flat, lengths = np.concatenate(parts), np.array([len(p) for p in parts])

    def statistic(real: exchange.Rows, made: exchange.Rows) -> float:
        generated = np.zeros(len(texts), dtype=np.bool_)
        generated[made] = True
        each = np.repeat(generated, lengths)
        return of(np.bincount(flat[~each], minlength=k), np.bincount(flat[each], minlength=k))

    value = statistic(np.arange(half), np.arange(half, len(texts)))
    if np.isfinite(value):
        chance = exchange.of_rows(statistic, half, half, limits.exchanges, rng(limits.seed, "alarms", name))
        yield Measured(name, value, chance, "low", told)
