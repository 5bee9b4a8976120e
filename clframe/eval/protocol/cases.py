"""What a study is made of: cases, the trials that were made for them, and the choice between these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from clframe import pieces
from clframe.errors import ClframeError
from clframe.eval.protocol.along import Tuned
from clframe.eval.protocol.protocols import Place, Protocol, Streams
from clframe.eval.protocol.search import Search
from clframe.eval.protocol.study import Study
from clframe.eval.result import Results

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One method under one protocol on one scenario: where it is tuned (None: nowhere), and where it is scored."""

    streams: Streams
    protocol: Protocol
    method: str
    tuning: Place | None
    scored: Place


@dataclass(frozen=True)
class Trial:
    """One setting, gone through with every tuning seed.

    Attributes:
        values: of the options that may be chosen.
        scores: of the metric on validation samples, by tuning seed; None for a run that diverged or was pruned, or where the
            metric is not defined.
        pruned_after: experiences after which it was given up, with every seed; None for one that came to its end.
    """

    values: Values
    scores: tuple[float | None, ...] = ()
    pruned_after: int | None = None

    @property
    def score(self) -> float | None:
        """The mean over seeds; None where one of them has none."""
        known = [s for s in self.scores if s is not None]
        return sum(known) / len(known) if known and len(known) == len(self.scores) else None


@dataclass(frozen=True)
class Entry:
    """What came of a case.

    Attributes:
        case: the method, the protocol and the scenario.
        trials: what was tried; one without scores where nothing was chosen.
        chosen: position of the best trial, for every evaluation seed; nothing where no trial has a score.
        results: the runs that are reported, with the chosen values.
        failed: what ended the others.
        tuning_flops: floating-point operations of training in all trials.
        tuned: what was chosen along the stream, by evaluation seed, where the protocol does so; then there are no trials.
    """

    case: Case
    trials: tuple[Trial, ...]
    chosen: tuple[int, ...]
    results: Results
    failed: tuple[ClframeError, ...] = ()
    tuning_flops: float = 0.0
    tuned: tuple[Tuned, ...] = ()

    @property
    def scores(self) -> list[float | None]:
        """Of what was chosen, in the tuning phase, by seed; nothing where nothing was chosen."""
        if self.tuned:
            return [t.score for t in self.tuned]
        if self.case.tuning is None or not self.chosen:
            return []
        if self.case.protocol.seeds == "each":
            return [self.trials[i].scores[s] for s, i in enumerate(self.chosen)]
        return list(self.trials[self.chosen[0]].scores)

    @property
    def values(self) -> tuple[Values, ...]:
        """What was chosen, by evaluation seed; along a stream every option has its values in the order of the experiences."""
        if self.tuned:
            return tuple({name: tuple(v[name] for v in t.settings) for name in t.settings[0]} for t in self.tuned)
        return tuple(self.trials[i].values for i in self.chosen)

    @property
    def score(self) -> float | None:
        """The score of what was chosen, in the tuning phase: the mean over seeds; None where nothing was chosen."""
        known = [s for s in self.scores if s is not None]
        return sum(known) / len(known) if known else None


def cases_of(study: Study) -> Iterator[Case]:
    """Every method under every protocol on every scenario."""
    for streams in study.scenarios:
        for protocol in study.protocols:
            tuning, scored = protocol.phases(streams, study.validation)
            for method in study.methods:
                yield Case(streams, protocol, method, tuning, scored)


def search_of(study: Study, case: Case) -> Search:
    """How the case is searched; without anything to choose where nothing is tuned."""
    space = {} if case.tuning is None else dict(study.methods[case.method])
    return Search(study.search, space, study.trials, study.seed, tuple(study.known), study.maximise)


def tuning_seeds(study: Study, case: Case) -> tuple[int, ...]:
    """The seeds that every trial is gone through with."""
    return study.tuning_seeds if case.protocol.seeds == "other" else study.evaluation_seeds


def length(study: Study, place: Place) -> int:
    """Experiences of a stream."""
    return _length(place.scenario, study.evaluation_seeds[0], study.options.get("data_dir"))


@lru_cache(maxsize=64)
def _length(scenario: str, seed: int, data_dir: str | None) -> int:
    return len(pieces.stream(scenario, "finetune", seed, data_dir))


def cost(study: Study, case: Case) -> int:
    """Experiences trained for one method, trials and reported runs of all seeds together, at most.

    K trials of whole streams of T experiences with S seeds are K x T x S; a walk that chooses along the stream has K_k trials at
    experience k, and trains all but the last once more.
    """
    trained = len(study.evaluation_seeds) * length(study, case.scored)
    if case.tuning is None:
        return trained
    if case.protocol.chooser is not None:
        return trained + most(study, case) * len(study.evaluation_seeds)
    return trained + search_of(study, case).count * len(tuning_seeds(study, case)) * length(study, case.tuning)


def most(study: Study, case: Case) -> int:
    """Experiences that one walk along the stream trains, at most."""
    assert case.tuning is not None and case.protocol.chooser is not None
    search, chooser = search_of(study, case), case.protocol.chooser
    return sum(chooser.most(search, k) + 1 for k in range(length(study, case.tuning))) - 1


def choose(study: Study, case: Case, trials: Sequence[Trial]) -> tuple[int, ...]:
    """For every evaluation seed the position of the trial with the best score, the first of equals; nothing where none has one."""
    count = len(study.evaluation_seeds)
    if case.tuning is None:
        return (0,) * count
    if not trials:
        return ()  # what was chosen along the stream stands in the walks
    each = case.protocol.seeds == "each"
    columns = [[t.scores[s] for t in trials] for s in range(count)] if each else [[t.score for t in trials]] * count
    found = [_best(scores, study.maximise) for scores in columns]
    return tuple(i for i in found if i is not None) if None not in found else ()


def _best(scores: Sequence[float | None], maximise: bool) -> int | None:
    sign = 1.0 if maximise else -1.0
    known = [(sign * score, -i) for i, score in enumerate(scores) if score is not None]
    return -max(known)[1] if known else None
