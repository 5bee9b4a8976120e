"""The tuning phase of one case, as a conversation: it gives the tasks of a round and is told what came of them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clframe.errors import ClframeError
from clframe.eval.protocol.along import Tuned
from clframe.eval.protocol.cases import Case, Trial, length, search_of, tuning_seeds
from clframe.eval.protocol.leg import Judged, Leg
from clframe.eval.protocol.planned import trial_jobs, walks
from clframe.eval.protocol.pruning import Halving, survivors
from clframe.eval.protocol.study import Study
from clframe.eval.result import Result

Found = Sequence[Any]
"""Of every task of a round its outcome, or the error that ended it."""


@dataclass(frozen=True)
class Searched:
    """What came of the tuning phase of a case.

    Attributes:
        trials: what was tried on whole streams.
        tuned: what was chosen along the stream, by evaluation seed; nothing where a walk failed.
        failed: what ended the others.
        flops: floating-point operations of training in all tries.
    """

    trials: tuple[Trial, ...] = ()
    tuned: tuple[Tuned, ...] = ()
    failed: tuple[ClframeError, ...] = ()
    flops: float = 0.0


Conversation = Generator[list[Any], Found, Searched]


@dataclass
class Pilots:
    """Training operations of the first trial of every method, in one scenario under one protocol: for budgets of equal compute."""

    flops: dict[str, float]

    def trials(self, method: str, trials: int) -> int:
        """How many trials of the method cost what `trials` of the cheapest one do.

        Example:
            >>> Pilots({"finetune": 1.0, "er": 2.0}).trials("er", 20)
            10
        """
        known = [f for f in self.flops.values() if f > 0]
        own = self.flops.get(method, 0.0)
        return max(1, min(trials, int(trials * min(known) / own))) if own > 0 else trials


def searching(study: Study, case: Case, out: Path, pilots: Pilots) -> Conversation:
    """The tuning phase of a case."""
    if case.tuning is None:
        return Searched((Trial({}),))
    if case.protocol.chooser is not None:
        return (yield from _along(study, case, out))
    rule = study.pruning
    if rule is not None and length(study, case.tuning) > rule.first:
        return (yield from _halving(study, case, out, rule))
    return (yield from _whole(study, case, out, pilots))


def _along(study: Study, case: Case, out: Path) -> Conversation:
    ends = yield list(walks(study, case, out))
    tuned = tuple(end for end in ends if isinstance(end, Tuned))
    failed = tuple(end for end in ends if isinstance(end, ClframeError))
    return Searched((), tuned if not failed else (), failed, sum(t.flops for t in tuned))


def _whole(study: Study, case: Case, out: Path, pilots: Pilots) -> Conversation:
    """All trials at once where they are drawn beforehand, else one by one; the first alone where budgets are equal in compute."""
    search, trials, spent = search_of(study, case), [], 0.0
    following, limit = search.drawn, search.count
    if study.equal == "compute":
        following = following[:1]
    while following:
        jobs = [trial_jobs(study, case, values, out) for values in following]
        ends = iter((yield [job for some in jobs for job in some]))
        for values, some in zip(following, jobs, strict=True):
            own = [next(ends) for _ in some]
            trials.append(Trial(values, tuple(getattr(e.metrics, study.metric) if isinstance(e, Result) else None for e in own)))
            spent += sum(e.budget.train_flops for e in own if isinstance(e, Result))
        if study.equal == "compute" and len(trials) == 1:
            pilots.flops[case.method] = spent
            yield []  # until the others have made their first, too
            limit = pilots.trials(case.method, limit)
            following = search.drawn[1:limit]
        elif len(trials) < limit and study.search == "tpe":
            proposed = search.propose([(t.values, t.score) for t in trials])
            following = [] if proposed is None else [proposed]
        else:
            following = []
    return Searched(tuple(trials), flops=spent)


def _halving(study: Study, case: Case, out: Path, rule: Halving) -> Conversation:
    """Rung by rung; where every seed chooses for itself, every seed has survivors of its own."""
    assert case.tuning is not None
    settings, seeds = search_of(study, case).drawn, range(len(tuning_seeds(study, case)))
    jobs = [trial_jobs(study, case, values, out) for values in settings]
    left = {s: list(range(len(settings))) for s in seeds}
    ended: dict[tuple[int, int], int] = {}
    spent: dict[tuple[int, int], float] = {}
    before, whole = 0, length(study, case.tuning)
    for rung in rule.rungs(whole):
        pairs = [(i, s) for s in seeds for i in left[s]]
        ends = yield [Leg(**{**vars(jobs[i][s]), "weight": rung - before, "until": rung}) for i, s in pairs]
        before = rung
        found = dict(zip(pairs, ends, strict=True))
        spent |= {pair: end.flops for pair, end in found.items() if isinstance(end, Judged)}
        scores = {pair: end.score if isinstance(end, Judged) else None for pair, end in found.items()}
        if case.protocol.seeds == "each":
            going = {s: [left[s][p] for p in survivors([scores[i, s] for i in left[s]], rule)] for s in seeds}
        else:
            kept = survivors([_mean([scores[i, s] for s in seeds]) for i in left[0]], rule)
            going = {s: [left[0][p] for p in kept] for s in seeds}
        ended |= {(i, s): rung for s in seeds for i in left[s] if i not in going[s]}
        left = going
    pairs = [(i, s) for s in seeds for i in left[s]]
    ends = yield [replace(jobs[i][s], weight=whole - before) for i, s in pairs]
    final = dict(zip(pairs, ends, strict=True))
    spent |= {pair: end.budget.train_flops for pair, end in final.items() if isinstance(end, Result)}
    trials = []
    for i, values in enumerate(settings):
        own = [final.get((i, s)) for s in seeds]
        scores_of = tuple(getattr(e.metrics, study.metric) if isinstance(e, Result) else None for e in own)
        rungs = [ended[i, s] for s in seeds if (i, s) in ended]
        trials.append(Trial(values, scores_of, max(rungs) if len(rungs) == len(seeds) else None))
    return Searched(tuple(trials), flops=sum(spent.values()))


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [s for s in scores if s is not None]
    return sum(known) / len(known) if len(known) == len(scores) else None
