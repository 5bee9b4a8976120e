"""How options are chosen along a stream: what is tried next at an experience, and which of the tries is taken.

A chooser is a pure function of what was tried, so that a walk that was killed goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from clframe.errors import OptionError, bad_option
from clframe.eval.protocol.along.importance import importance
from clframe.eval.protocol.along.scheduled import ALONG
from clframe.eval.protocol.search import Search
from clframe.eval.protocol.space import Dimension, Space

Looks = Literal["current", "seen", "memory"]


@dataclass(frozen=True)
class Try:
    """One training of the experience in progress, from where the learner stands.

    Attributes:
        values: the options.
        plain: whether the network was fine-tuned without the method.
        score: accuracy on what the choice looks at; None for one that diverged.
        flops: floating-point operations of the training.
        withheld: remembered samples that were withheld to score on.
    """

    values: Mapping[str, Any]
    plain: bool = False
    score: float | None = None
    flops: float = 0.0
    withheld: int = 0


@dataclass(frozen=True)
class Round:
    """What was tried at one experience, and the position of what was taken."""

    tries: tuple[Try, ...]
    chosen: int

    @property
    def taken(self) -> Try:
        """The try that was taken."""
        return self.tries[self.chosen]


class Chooser(Protocol):
    """Chooses at every experience.

    Attributes:
        looks: what a try is scored on: validation samples of the "current" experience or of all "seen" ones, or those of the
            current one and withheld samples of the "memory".
        retrains: whether what was taken is trained again with the validation samples.
    """

    @property
    def looks(self) -> Looks: ...

    @property
    def retrains(self) -> bool: ...

    def propose(self, search: Search, past: Sequence[Round], tried: Sequence[Try]) -> Try | None:
        """What to try next; None when there has been enough."""
        ...

    def pick(self, tried: Sequence[Try]) -> int | None:
        """Position of the try that is taken; None where all diverged."""
        ...

    def most(self, search: Search, experience: int) -> int:
        """How many tries there may be at an experience."""
        ...

    def check(self, space: Space) -> None:
        """Refuse a space that cannot be chosen from in this way.

        Raises:
            OptionError: with the option.
        """
        ...


@dataclass(frozen=True)
class Best:
    """At every experience the whole search, and the best of it."""

    looks: Looks = "current"
    retrains: bool = True

    def propose(self, search: Search, past: Sequence[Round], tried: Sequence[Try]) -> Try | None:
        """The next setting of the search."""
        values = search.propose([(t.values, t.score) for t in tried])
        return None if values is None else Try(values)

    def pick(self, tried: Sequence[Try]) -> int | None:
        """The best, the first of equals."""
        return best(tried)

    def most(self, search: Search, experience: int) -> int:
        """As many as the search has."""
        return search.count

    def check(self, space: Space) -> None:
        """Anything that may change along a stream."""
        check_along(space)


@dataclass(frozen=True)
class StabilityDecay:
    """First the most plastic that there is, then as much stability as does not cost too much of it.

    Attributes: see `clframe.eval.protocol.along.protocols.stability_decay`.
    """

    drop: float = 0.2
    decay: float = 0.5
    attempts: int = 10
    carry_over: bool = True
    looks: Looks = "current"
    retrains: bool = True

    def propose(self, search: Search, past: Sequence[Round], tried: Sequence[Try]) -> Try | None:
        """Fine-tuning with every learning rate; then the method, with less and less stability."""
        plain, stable = _split(search)
        if not stable:
            return Best().propose(search, past, tried)
        first = [t for t in tried if t.plain]
        values = plain.propose([(t.values, t.score) for t in first])
        if values is not None:
            return Try(values, plain=True)
        later, top = tried[len(first) :], best(first)
        if top is None:
            return None
        goal = (1 - self.drop) * (first[top].score or 0.0)
        enough = bool(later) and (later[-1].score or 0.0) >= goal
        if enough or len(later) >= self.most(search, 0) - plain.count:
            return None
        return Try({**first[top].values, **self._stability(stable, past, len(later))})

    def _stability(self, stable: Space, past: Sequence[Round], attempt: int) -> dict[str, Any]:
        """Each option alone gives way, one after the other, then all of them; and again from there."""
        start = {name: max(dimension.extremes) for name, dimension in stable.items()}
        if self.carry_over and past:
            start = {name: past[-1].taken.values[name] for name in stable}
        names = list(stable)
        turns = len(names) + 1 if len(names) > 1 else 1
        rounds, turn = divmod(attempt, turns)
        weakened = {name: self._weaker(value, rounds) for name, value in start.items()}
        if turn:
            name = names[turn - 1]
            weakened[name] = self._weaker(weakened[name], 1)
        return weakened

    def _weaker(self, value: float, times: int) -> float:
        found = value * self.decay**times
        return max(1, round(found)) if isinstance(value, int) else float(f"{found:.6g}")

    def pick(self, tried: Sequence[Try]) -> int | None:
        """The last of the method's own tries that did not diverge; the best where there is nothing that could give way."""
        if not any(t.plain for t in tried):
            return best(tried)
        return next((i for i in reversed(range(len(tried))) if not tried[i].plain and tried[i].score is not None), None)

    def most(self, search: Search, experience: int) -> int:
        """Every learning rate, and the attempts, where something can give way."""
        plain, stable = _split(search)
        return plain.count + (self.attempts if stable else 0)

    def check(self, space: Space) -> None:
        """Stability must be numbers."""
        check_along(space)
        for name, dimension in space.items():
            if name not in ALONG and not all(_number(value) for value in dimension.extremes):
                raise bad_option(
                    name, "numbers in stability-decay, the larger the more stable", dimension.extremes, "Leave it out of the space."
                )


@dataclass(frozen=True)
class Adaptive:
    """All options at the first experiences; then only those that mattered there.

    Attributes: see `clframe.eval.protocol.along.protocols.adaptive`.
    """

    m: int = 3
    top: int = 2
    trials: int = 5
    looks: Looks = "current"
    retrains: bool = True

    def propose(self, search: Search, past: Sequence[Round], tried: Sequence[Try]) -> Try | None:
        """The whole search; later what was taken last, then settings that differ from it in what matters."""
        if len(past) < self.m:
            return Best().propose(search, past, tried)
        held = dict(past[-1].taken.values)
        if not tried:
            return Try(held)
        some = self._of_importance(search, past)
        values = some.propose([({n: t.values[n] for n in some.space}, t.score) for t in tried[1:]])
        return None if values is None else Try({**held, **values})

    def _of_importance(self, search: Search, past: Sequence[Round]) -> Search:
        tried = [[(t.values, t.score) for t in round.tries] for round in past[: self.m]]
        found = importance(search.space, tried, search.seed)
        names = sorted(found, key=lambda name: (-found[name], name))[: self.top]
        space = {name: dimension for name, dimension in search.space.items() if name in names}
        how = "random" if search.how == "grid" else search.how
        return replace(search, how=how, space=space, trials=self.trials - 1, seed=search.seed + len(past))

    def pick(self, tried: Sequence[Try]) -> int | None:
        """The best, the first of equals."""
        return best(tried)

    def most(self, search: Search, experience: int) -> int:
        """The whole search, later `trials`."""
        return search.count if experience < self.m else (self.trials if search.space else 1)

    def check(self, space: Space) -> None:
        """Anything that may change along a stream."""
        check_along(space)


def best(tried: Sequence[Try]) -> int | None:
    """Position of the best score, the first of equals.

    Example:
        >>> best([Try({}, score=None), Try({}, score=0.5), Try({}, score=0.5)])
        1
    """
    known = [(t.score, -i) for i, t in enumerate(tried) if t.score is not None]
    return -max(known)[1] if known else None


def check_along(space: Space) -> None:
    """Refuse options that are fixed when a run begins.

    Raises:
        OptionError: such an option.
    """
    for name in space:
        if "." not in name and name not in ALONG:
            raise OptionError(
                f"what is chosen along the stream must be able to change between experiences; got {name!r}. Choose "
                f"{', '.join(ALONG)} and options of parts, or take a protocol that tunes whole streams."
            )


def _split(search: Search) -> tuple[Search, Space]:
    """The search over the optimizer's options, and the dimensions of stability."""
    plain: dict[str, Dimension] = {name: d for name, d in search.space.items() if name in ALONG}
    stable = {name: d for name, d in search.space.items() if name not in ALONG}
    return replace(search, space=plain, trials=search.trials), stable


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
