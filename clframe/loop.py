"""The loop: one walk of a strategy along a stream, under evaluation, with checkpoints. Read it aloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from clframe.errors import CompositionError
from clframe.types import Scenario, Step, Strategy

if TYPE_CHECKING:
    from torch import Tensor


class Evaluates(Protocol):
    """Measures; decides by itself whether it is due."""

    def due(self, step: Step) -> bool: ...
    def __call__(self, strategy: Strategy, step: Step) -> Any: ...
    def everything(self, strategy: Strategy, n: int, trained: int) -> tuple[Any, Any]: ...


class Records(Protocol):
    """Keeps what was measured."""

    def train(self, step: Step, terms: Mapping[str, Tensor]) -> None: ...
    def eval(self, rows: Any, classes: Any = ...) -> None: ...


class Checkpoints(Protocol):
    """Saves and restores; decides by itself whether it is due. `step` is where the saved state stands, None at the start."""

    step: Step | None

    def due(self, step: Step) -> bool: ...
    def save(self, step: Step) -> None: ...
    def restore(self) -> None: ...


def walk(scenario: Scenario, strategy: Strategy, evaluate: Evaluates, records: Records, checkpoint: Checkpoints) -> Step:
    """Walk the stream from where the checkpoint stands to its end; returns the last step.

    The state is saved only between two updates, and at a boundary only after everything that belongs to the boundary. A strategy
    is told of boundaries only where the scenario reveals them; otherwise it hears one beginning and one end. On resume within an
    experience, `begin` binds the strategy to it and the saved state is put back over whatever `begin` did.

    Raises:
        CompositionError: the strategy requires what the scenario hides.
    """
    refuse_hidden(scenario, strategy)
    known, resumed = scenario.reveals.boundaries, checkpoint.step
    step = resumed
    first = 0 if resumed is None else resumed.experience + resumed.last
    at_boundary = resumed is not None and ((known and resumed.last) or first == len(scenario.experiences))
    if at_boundary:
        checkpoint.restore()

    for experience in scenario.experiences[first:]:
        opening = experience.index == first
        if known or opening:
            strategy.begin(experience.train)
        if opening and resumed is not None and not at_boundary:
            checkpoint.restore()
        elif experience.index == 0:
            records.eval(*evaluate.everything(strategy, n=0, trained=-1))

        for step, batch in experience.steps(after=resumed):
            records.train(step, strategy.observe(batch))
            if evaluate.due(step):
                records.eval(evaluate(strategy, step))
            if checkpoint.due(step) and not step.last:
                checkpoint.save(step)

        if known or experience.index == len(scenario.experiences) - 1:
            strategy.end(experience.train)
        assert step is not None, "an experience has at least one update"
        records.eval(*evaluate.everything(strategy, step.n, experience.index))
        if checkpoint.due(step):
            checkpoint.save(step)
    assert step is not None, "a stream has at least one experience"
    return step


def refuse_hidden(scenario: Scenario, strategy: Strategy) -> None:
    """Refuse a strategy that requires what the scenario does not reveal, before anything is trained."""
    hidden = sorted(strategy.requires - scenario.reveals.names())
    if hidden:
        raise CompositionError(
            f"a strategy may require only what the scenario reveals; this one needs {' and '.join(map(repr, hidden))}, "
            f"which {scenario.name!r} hides. Choose a scenario that reveals it, or a method that does without."
        )
