"""A trial as far as a decision on whether it goes on: a run that is stopped at a boundary, and goes on from its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clframe import pieces
from clframe.checkpoint import Interrupted
from clframe.checkpoint import load as load_checkpoint
from clframe.environment import resolve_device
from clframe.eval.protocol.planned import Planned
from clframe.eval.result import Result
from clframe.executors import Tell
from clframe.models import cost
from clframe.rundir import RunDirectory
from clframe.scenarios import Stream


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
        stream = self._stream()
        limit = stream.starts[self.until]
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
        return Judged(_score(directory.load(), limit, self.until), self._flops(directory, stream))

    def _reached(self, directory: RunDirectory, limit: int) -> bool:
        if directory.finished:
            return True
        return directory.checkpoint.exists() and load_checkpoint(directory.checkpoint)["step"][0] >= limit

    def _stream(self) -> Stream:
        o: Any = self.options
        found = pieces.stream(self.scenario, self.strategy, self.seed, o.get("data_dir"))
        device = resolve_device(o.get("device", "auto"))
        return found.walked(batch_size=o.get("batch_size", 10), epochs=o.get("epochs", 1), device=device, seed=self.seed)

    def _flops(self, directory: RunDirectory, stream: Stream) -> float:
        """From the counts of the state that was saved."""
        o: Any = self.options
        state: dict[str, Any] = load_checkpoint(directory.checkpoint)["strategy"]
        counted = [state, *state.get("parts", {}).values()]
        passes = sum(c.get("forwards", 0) + 2 * c.get("backwards", 0) for c in counted)
        network = pieces.network(o.get("model", "auto"), o.get("head", "auto"), stream, self.seed)
        return float(passes * cost(network, stream.data.train.input_shape).flops)


def _score(result: Result, limit: int, until: int) -> float:
    rows = result.rows
    there = rows[(rows.n == limit) & (rows.subset == "full") & (rows.evaluated < until)]
    return float((there.correct / there.total).mean())
