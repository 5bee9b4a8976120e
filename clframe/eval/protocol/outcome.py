"""What a study says: scores and ranks of both phases, how well they agree, what the choice cost, and what to be wary of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau, rankdata, spearmanr

from clframe.eval.protocol.along.choosers import StabilityDecay
from clframe.eval.protocol.along.scheduled import ALONG
from clframe.eval.protocol.cases import Entry, cost
from clframe.eval.protocol.space import Space
from clframe.eval.protocol.study import Study
from clframe.eval.protocol.wary import edges, warnings
from clframe.eval.statistics import Summary, summarise
from clframe.seeding import rng

RESAMPLES = 2000
ORACLE = "end-of-training"


@dataclass(frozen=True)
class Line:
    """One method under one protocol.

    Attributes:
        method: in words.
        tuning: score of what was chosen, in the tuning phase; None where nothing was chosen.
        tuning_rank, rank: among the methods, 1 is best; None where there is no score.
        score: over evaluation seeds; scores: of each.
        values: what was chosen, by evaluation seed.
        edges: options whose chosen value lies at the edge of what could be chosen.
        spread: standard deviation of the trials' scores: how much depends on the choice.
        trials: settings tried.
        best_of: expected best score of r of them, r = 1, 2, ...
        regret: score of the oracle's choice on the same seeds, minus this; None without the oracle in the study.
        transfer: Spearman correlation of the trials' scores here and under the oracle; None without it.
        train_flops: of all trials and runs.
        diverged: evaluation runs whose loss was not finite.
    """

    method: str
    tuning: float | None
    tuning_rank: float | None
    score: Summary
    scores: tuple[float | None, ...]
    rank: float | None
    values: tuple[Mapping[str, Any], ...]
    edges: tuple[str, ...]
    spread: float | None
    trials: int
    best_of: tuple[float, ...]
    regret: Summary | None
    transfer: float | None
    train_flops: float
    diverged: int


@dataclass(frozen=True)
class Group:
    """All methods under one protocol on one scenario; only these are compared with each other.

    Attributes:
        scenario, protocol, looks_at, deployable, reuses: what this is.
        cost: of tuning and scoring all methods with all seeds, in units of training one experience once.
        lines: the methods.
        tau: Kendall's tau-b between the ranks of the two phases, with the 95 % bootstrap interval over seeds.
        warnings: what to be wary of.
    """

    scenario: str
    protocol: str
    looks_at: str
    deployable: bool
    reuses: bool
    cost: float
    lines: tuple[Line, ...]
    tau: tuple[float, float | None, float | None] | None
    warnings: tuple[str, ...]


def groups(study: Study, entries: Sequence[Entry]) -> list[Group]:
    """One group for every protocol on every scenario."""
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        found.setdefault((entry.case.streams.name, entry.case.protocol.name), []).append(entry)
    return [_group(study, some, found.get((scenario, ORACLE))) for (scenario, _), some in found.items()]


def _group(study: Study, entries: Sequence[Entry], oracle: Sequence[Entry] | None) -> Group:
    case = entries[0].case
    sign = -1.0 if study.maximise else 1.0
    before = _ranks([None if e.score is None else sign * e.score for e in entries])
    scores = [summarise(values(study, e)) for e in entries]
    whole = [bool(s.n) and not s.missing and not e.failed for e, s in zip(entries, scores, strict=True)]
    after = _ranks([sign * s.mean if ok and s.mean is not None else None for ok, s in zip(whole, scores, strict=True)])
    by_method = {e.case.method: e for e in oracle or ()}
    lines = tuple(
        _line(study, e, by_method.get(e.case.method), score, first, second)
        for e, score, first, second in zip(entries, scores, before, after, strict=True)
    )
    return Group(
        case.streams.name,
        case.protocol.name,
        case.protocol.looks_at,
        case.protocol.deployable,
        case.protocol.reuses,
        sum(cost(study, e.case) for e in entries),
        lines,
        None if case.tuning is None else agreement(study, entries),
        tuple(warnings(study, entries, lines)),
    )


def _line(study: Study, entry: Entry, oracle: Entry | None, score: Summary, first: float | None, second: float | None) -> Line:
    space, known = study.methods[entry.case.method], [t.score for t in entry.trials if t.score is not None]
    regret = transfer = None
    if oracle is not None and oracle is not entry:
        sign = 1.0 if study.maximise else -1.0
        if entry.case.scored == oracle.case.scored and len(entry.results) == len(oracle.results) == len(study.evaluation_seeds):
            pairs = zip(values(study, oracle), values(study, entry), strict=True)
            regret = summarise([None if a is None or b is None else sign * (a - b) for a, b in pairs])
        transfer = _transfer(entry, oracle)
    return Line(
        method=entry.case.method,
        tuning=entry.score,
        tuning_rank=first,
        score=score,
        scores=tuple(values(study, entry)),
        rank=second,
        values=entry.values,
        edges=tuple(edges(_judged(entry, space), entry.values)) if entry.case.tuning is not None else (),
        spread=float(np.std(known, ddof=1)) if len(known) > 1 else None,
        trials=0
        if entry.case.tuning is None
        else len(entry.trials) or max((sum(len(r.tries) for r in t.rounds) for t in entry.tuned), default=0),
        best_of=tuple(best_of(known, study.maximise)),
        regret=regret,
        transfer=transfer,
        train_flops=entry.tuning_flops + sum(r.budget.train_flops for r in entry.results),
        diverged=len(entry.failed),
    )


def _judged(entry: Entry, space: Space) -> Space:
    """Options for which the edge says something: stability that gives way begins at its highest value on purpose."""
    decays = isinstance(entry.case.protocol.chooser, StabilityDecay)
    return {name: d for name, d in space.items() if not decays or name in ALONG}


def values(study: Study, entry: Entry) -> list[float | None]:
    """The metric of every reported run."""
    return [getattr(result.metrics, study.metric) for result in entry.results]


def best_of(scores: Sequence[float], maximise: bool = True) -> list[float]:
    """The expected best of r scores, drawn without replacement from these, for r = 1, ..., n.

        E[best of r] = sum_i s_(i) C(i - 1, r - 1) / C(n, r),   s_(1) <= ... <= s_(n)

    Example:
        >>> [round(score, 3) for score in best_of([0.1, 0.2, 0.6])]
        [0.3, 0.467, 0.6]
    """
    ordered, n = sorted(scores, reverse=not maximise), len(scores)
    found = []
    for r in range(1, n + 1):
        weights = [math.comb(i, r - 1) / math.comb(n, r) for i in range(n)]
        found.append(sum(s * w for s, w in zip(ordered, weights, strict=True)))
    return found


def agreement(study: Study, entries: Sequence[Entry]) -> tuple[float, float | None, float | None] | None:
    """Kendall's tau-b between the methods' scores in both phases, and its 95 % percentile interval over resampled seeds.

    The seeds of both phases are resampled, the same for all methods, and together where both phases have the same ones. None
    with fewer than two methods that have both scores, or where all are equal in one phase; the interval is None with fewer than
    three seeds in each phase.
    """
    before, after = [], []
    for entry in entries:
        if entry.failed or entry.score is None:
            continue  # it has no rank in one of the phases
        before.append(entry.scores)
        after.append(values(study, entry))
    if len(before) < 2 or any(v is None for row in (*before, *after) for v in row):
        return None
    x, y = np.array(before, dtype=np.float64), np.array(after, dtype=np.float64)
    value = _tau(x.mean(1), y.mean(1))
    if value is None:
        return None
    if min(x.shape[1], y.shape[1]) < 3:
        return value, None, None
    draw, found, paired = rng(study.seed, "tau"), [], entries[0].case.protocol.seeds != "other"
    for _ in range(RESAMPLES):
        i, j = (draw.integers(0, a.shape[1], a.shape[1]) for a in (x, y))
        j = i if paired else j
        found.append(_tau(x[:, i].mean(1), y[:, j].mean(1)))
    kept = [t for t in found if t is not None]
    low, high = np.percentile(kept, [2.5, 97.5]) if kept else (math.nan, math.nan)
    return value, float(low), float(high)


def _transfer(entry: Entry, oracle: Entry) -> float | None:
    """Spearman correlation over the settings that both tried."""
    if entry.case.tuning is None or not entry.trials or [t.values for t in entry.trials] != [t.values for t in oracle.trials]:
        return None
    pairs = [(a.score, b.score) for a, b in zip(entry.trials, oracle.trials, strict=True)]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    if len(known) < 3 or any(len(set(column)) < 2 for column in zip(*known, strict=True)):
        return None
    x, y = np.array(known).T
    return float(spearmanr(x, y).statistic)


def _ranks(scores: Sequence[float | None]) -> list[float | None]:
    """1 for the smallest; equals share their mean rank; None stays None."""
    known = [s for s in scores if s is not None]
    ranks = iter(rankdata(np.round(known, 12)).tolist() if known else [])
    return [None if s is None else next(ranks) for s in scores]


def _tau(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float | None:
    value = float(kendalltau(x.round(12), y.round(12)).statistic)
    return value if math.isfinite(value) else None
