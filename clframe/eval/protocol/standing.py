"""Where a study stands: how much of it is done, what is going on, and the best so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from clframe.eval.protocol.along import Tuned
from clframe.eval.protocol.cases import Case, cost
from clframe.eval.protocol.study import Study
from clframe.eval.result import Result


class Standing:
    """Counts while a study is carried out; the unit is one training of one experience.

    Args:
        study, cases: what is carried out.
        tell: called with this object whenever something has changed.

    Attributes:
        total: units that there are at most: trials that two protocols share, or that are pruned, are counted twice or too long.
        runs: tasks that have come to their end.
        now: what is being done, "tuning" or "evaluation".
        best: (scenario, protocol, method) -> the best score so far in the tuning phase.
        going: name of every task that is being done -> the share of it that is.
    """

    def __init__(self, study: Study, cases: Sequence[Case], tell: Callable[[Standing], None] | None) -> None:
        self._study, self._tell = study, tell
        self.total = sum(cost(study, case) for case in cases)
        self.runs, self.now = 0, "tuning"
        self.best: dict[tuple[str, str, str], float] = {}
        self.going: dict[str, float] = {}
        self._ended, self._skipped, self._begun = 0.0, 0.0, time.monotonic()
        self._weights: dict[str, float] = {}
        self._owners: dict[Any, list[Case]] = {}

    @property
    def done(self) -> float:
        """Units that are done."""
        return self._ended + sum(share * self._weights.get(name, 1) for name, share in self.going.items())

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far, what was there already left out; None before there is a pace."""
        made, spent = self.done - self._skipped, time.monotonic() - self._begun
        return None if made <= 0 or spent < 1 else max(0.0, self.total - self.done) * spent / made

    def stage(self, name: str) -> None:
        """Something else begins."""
        self.now, self._owners = name, {}

    def owners(self, tasks: Iterable[tuple[Case, Any]]) -> None:
        """Whose tasks the next ones are; two protocols may share one."""
        self._owners = {}
        for case, task in tasks:
            self._owners.setdefault(task.out, []).append(case)
            self._weights[task.name] = task.weight

    def moved(self, name: str, n: int, total: int) -> None:
        """A task has made a step."""
        self.going[name] = n / max(total, 1)
        self._changed()

    def ended(self, task: Any, outcome: object) -> None:
        """A task has come to its end."""
        if task.name not in self.going:
            self._skipped += task.weight  # it lay there, or was too short to tell of
        self.going.pop(task.name, None)
        self.runs += 1
        owners = self._owners.get(task.out, [])
        self._ended += task.weight * max(1, len(owners))
        self._skipped += task.weight * max(0, len(owners) - 1)
        score = self._score(outcome)
        if score is not None:
            better = max if self._study.maximise else min
            for case in owners:
                key = (case.streams.name, case.protocol.name, case.method)
                self.best[key] = better(self.best.get(key, score), score)
        self._changed()

    def _score(self, outcome: object) -> float | None:
        if isinstance(outcome, Tuned):
            return outcome.score
        found: float | None = getattr(outcome.metrics, self._study.metric) if isinstance(outcome, Result) else None
        return found

    def _changed(self) -> None:
        if self._tell is not None:
            self._tell(self)
