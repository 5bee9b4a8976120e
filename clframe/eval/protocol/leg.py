"""A trial as far as a decision on whether it goes on: a run that is stopped at a boundary, and goes on from its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from clframe import pieces
from clframe.checkpoint import Interrupted
from clframe.checkpoint import load as load_checkpoint
from clframe.environment import resolve_device
from clframe.eval.protocol.planned import Planned
from clframe.eval.result import Result
from clframe.executors import Tell
from clframe.experiment import built, with_defaults
from clframe.ledger import samples_of
from clframe.models import Network, cost
from clframe.rundir import RunDirectory
from clframe.scenarios import Stream
from clframe.types import Strategy


@dataclass(frozen=True)
class Judged:
    """A trial at the end of some experiences.

    Attributes:
        score: mean accuracy over the experiences so far.
        flops: floating-point operations of training until then.
    """

    score: float
    flops: float


@dataclass(frozen=True)
class Leg(Planned):
    """A run as far as the end of some experiences, from where it stands.

    Attributes:
        until: experiences.
    """

    until: int = 1

    def __call__(self, tell: Tell | None) -> Judged:  # type: ignore[override]
        """Run that far, or read what was measured there."""
        limit = self._pieces()[0].starts[self.until]
        assert self.out is not None
        directory, own = RunDirectory(self.out), False

        def stop(n: int, total: int) -> bool:
            nonlocal own
            asked = bool(tell(n, limit)) if tell is not None else False
            own = own or (n >= limit and not asked)
            return asked or n >= limit

        if not self._reached(directory, limit):
            try:
                super().__call__(stop)
            except Interrupted:
                if not own:
                    raise
        return Judged(_score(directory.load(), limit, self.until), self._flops(directory))

    def _reached(self, directory: RunDirectory, limit: int) -> bool:
        if directory.finished:
            return True
        return directory.checkpoint.exists() and load_checkpoint(directory.checkpoint)["step"][0] >= limit

    def _pieces(self) -> tuple[Stream, Network, Strategy]:
        o = with_defaults({**self.options, "scenario": self.scenario, "strategy": self.strategy, "seed": self.seed})
        with pieces.isolated_run(self.seed, o["threads"]):
            return built(o, resolve_device(o["device"]))[:3]

    def _flops(self, directory: RunDirectory) -> float:
        """What the strategy counts in the state that was saved; where it counts nothing, a forward and a backward pass a sample."""
        stream, network, learner = self._pieces()
        used = dict.fromkeys(("forwards", "backwards"), samples_of(stream[: self.until]))
        if hasattr(learner, "ledger"):
            learner.load_state_dict(load_checkpoint(directory.checkpoint)["strategy"])
            used = learner.ledger()
        return float((used["forwards"] + 2 * used["backwards"]) * cost(network, stream.data.train.input_shape).flops)


def _score(result: Result, limit: int, until: int) -> float:
    rows = result.rows
    there = rows[(rows.n == limit) & (rows.subset == "full") & (rows.evaluated < until)]
    return float((there.correct / there.total).mean())
