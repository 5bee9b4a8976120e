"""When to evaluate. A boundary is always evaluated; a plan decides about the updates between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from clframe.errors import bad_option
from clframe.registry import Registry, call, parse
from clframe.types import Step


class Plan(Protocol):
    """A pure function of the step."""

    def due(self, step: Step) -> bool:
        """Whether to evaluate after this update, which is not the last of its experience."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """After every `k`-th update, counted from the start of the stream, so that the phase never restarts.

    Example:
        >>> Every(5).due(Step(n=10, experience=1, epoch=0, iteration=3, since=4, last=False))
        True
    """

    k: int = 1

    def __post_init__(self) -> None:
        if self.k < 1:
            raise bad_option("k", "a positive integer", self.k, "Give every(1) for every update.")

    def due(self, step: Step) -> bool:
        """n mod k = 0."""
        return step.n % self.k == 0


@dataclass(frozen=True, slots=True)
class Dense:
    """After each of the first `first` updates of an experience, then every `every`-th: most of the gap at a fraction."""

    first: int = 50
    every: int = 5

    def __post_init__(self) -> None:
        if self.first < 0 or self.every < 1:
            raise bad_option("dense", "first >= 0 and every >= 1", (self.first, self.every), "Give dense(first=50, every=5).")

    def due(self, step: Step) -> bool:
        """since <= first, or since mod every = 0."""
        return step.since <= self.first or step.since % self.every == 0


@dataclass(frozen=True, slots=True)
class LogSpaced:
    """After each of the first `first` updates of an experience, then at steps that grow by `growth` (0.1 = 10 %)."""

    first: int = 20
    growth: float = 0.1

    def __post_init__(self) -> None:
        if self.first < 1 or not self.growth > 0:
            raise bad_option("log", "first >= 1 and growth > 0", (self.first, self.growth), "Give log(first=20, growth=0.1).")

    def due(self, step: Step) -> bool:
        """Due where floor(log_{1+growth}(since / first)) moves on."""
        import math

        if step.since <= self.first:
            return True
        base = math.log1p(self.growth)
        return math.floor(math.log(step.since / self.first) / base) > math.floor(math.log((step.since - 1) / self.first) / base)


@dataclass(frozen=True, slots=True)
class Boundaries:
    """Only at boundaries: the tables of other papers, and nothing of the stability gap."""

    def due(self, step: Step) -> bool:
        """Never between boundaries."""
        return False


PLANS = Registry(
    "evaluation plan",
    {
        "every": "clframe.eval.plan:Every",
        "dense": "clframe.eval.plan:Dense",
        "log": "clframe.eval.plan:LogSpaced",
        "boundaries": "clframe.eval.plan:Boundaries",
    },
)


def plan(written: str) -> Plan:
    """A plan from its written form: "every", "every(k=5)", "dense(first=50, every=5)", "log", "boundaries".

    Example:
        >>> plan("every(k=5)")
        Every(k=5)
    """
    name, options = parse(written)
    made: Plan = call("evaluation plan", name, PLANS.load(name), options)
    return made
