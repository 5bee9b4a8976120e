"""A walk along a stream that trains every experience many times from where it stands, chooses, and goes on from the choice."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Any

from clframe import checkpoint, pieces
from clframe.checkpoint import Interrupted
from clframe.environment import resolve_device
from clframe.errors import DivergedError, RunError
from clframe.eval.protocol.along.choosers import Chooser, Round, Try
from clframe.eval.protocol.along.standpoint import Standpoint
from clframe.eval.protocol.search import Search
from clframe.executors import Tell
from clframe.experiment import with_defaults
from clframe.pieces import isolated_run
from clframe.rundir import RunDirectory, identity

FILE, STATE = "schedule.json", "state.pt"


@dataclass(frozen=True)
class Tuned:
    """What a walk came to.

    Attributes:
        rounds: what was tried and taken at every experience.
    """

    rounds: tuple[Round, ...]

    @property
    def settings(self) -> tuple[Mapping[str, Any], ...]:
        """The options of every experience."""
        return tuple(r.taken.values for r in self.rounds)

    @property
    def score(self) -> float:
        """Mean over experiences of the score of what was taken."""
        return sum(r.taken.score or 0.0 for r in self.rounds) / len(self.rounds)

    @property
    def flops(self) -> float:
        """Floating-point operations of training in all tries."""
        return sum(t.flops for r in self.rounds for t in r.tries)


@dataclass(frozen=True)
class TuningWalk:
    """A task for an executor: choose the options of every experience of one stream, with one seed.

    OUT/schedule.json says after every try what was tried, OUT/state.pt holds the state between two experiences: killed at any
    point, the walk goes on from there. Training again what was taken is repeated by the run that is reported; it is not counted
    in the operations.

    Attributes:
        scenario: the stream with its validation split, in words.
        whole: the same without, for choosers that train again with the validation samples.
        method: in words.
        search, chooser: what may be chosen, and how.
        share: of remembered samples that are withheld where the memory is looked at.
        seed: of the stream and the learner.
        out: directory.
        options: of a run.
        weight: experiences that it trains, at most; for progress.
    """

    scenario: str
    whole: str
    method: str
    search: Search
    chooser: Chooser
    share: float
    seed: int
    out: Path
    options: Mapping[str, Any]
    weight: int = 1

    @property
    def name(self) -> str:
        """For progress and messages."""
        return f"{self.chooser.looks} tuning of {self.method}, seed {self.seed}"

    @property
    def cores(self) -> int:
        """Processor threads that it needs."""
        return int(self.options.get("threads", 1))

    def __call__(self, tell: Tell | None) -> Tuned:
        """Walk.

        Raises:
            RunError: every try of an experience diverged.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        with RunDirectory(self.out).alone(), isolated_run(self.seed, self.options.get("threads", 1)):
            stand = self.standpoint()
            diary = Diary(self.out, stand.fingerprint)
            if diary.finished:
                return Tuned(tuple(diary.rounds))
            if (self.out / STATE).exists():
                stand.load_state_dict(checkpoint.load(self.out / STATE, self.identity))
            experiences = range(len(stand))
            clock = _Clock(tell, sum(self.chooser.most(self.search, k) + 1 for k in experiences))
            for k in experiences:
                if k == len(diary.rounds):
                    self._choose(stand, diary, clock)
                if k == stand.experience and k < experiences[-1]:
                    stand.go_on(diary.rounds[k].taken.values, clock.poll)
                    self._save(stand)
                clock.done = sum(self.chooser.most(self.search, j) + 1 for j in range(k + 1))
            diary.save(finished=True)
            (self.out / STATE).unlink(missing_ok=True)
            return Tuned(tuple(diary.rounds))

    def _choose(self, stand: Standpoint, diary: Diary, clock: _Clock) -> None:
        """Try settings at the next experience until there has been enough, and take one."""
        clock.done += len(diary.going)
        while (proposed := self.chooser.propose(self.search, diary.rounds, diary.going)) is not None:
            diary.going.append(stand.tried(proposed, clock.poll))
            diary.save()
            clock.done += 1
        position = self.chooser.pick(diary.going)
        if position is None:
            raise DivergedError(
                f"the loss must be finite for at least one setting; of {len(diary.going)} none was at experience "
                f"{stand.experience} of {self.scenario!r} with {self.method!r}, seed {self.seed}. Give a smaller lr in the space."
            )
        diary.take(position)
        diary.save()

    def _save(self, stand: Standpoint) -> None:
        checkpoint.write(self.out / STATE, {"format": checkpoint.FORMAT, "identity": self.identity, **stand.state_dict()})

    def standpoint(self) -> Standpoint:
        """The beginning of the stream, with nothing learned."""
        o = with_defaults(self.options)
        walked = {"batch_size": o["batch_size"], "epochs": o["epochs"], "device": resolve_device(o["device"]), "seed": self.seed}
        held = pieces.stream(self.scenario, "finetune", self.seed, o["data_dir"]).walked(**walked)
        whole = pieces.stream(self.whole, "finetune", self.seed, o["data_dir"]).walked(**walked)
        return Standpoint(held, whole if self.chooser.retrains else held, self.method, self.seed, o, self.chooser.looks, self.share)

    @property
    def identity(self) -> str:
        """A hash of all that the walk is made of."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("out", "options", "weight")}
        options = {k: v for k, v in self.options.items() if k != "data_dir"}
        return identity({**{k: repr(v) for k, v in plain.items()}, "options": repr(sorted(options.items()))})


class Diary:
    """What was tried and taken, in OUT/schedule.json.

    Attributes:
        rounds: of the experiences that are settled.
        going: tries of the experience in progress.
        finished: whether the walk came to its end.

    Raises:
        RunError: what is there was chosen on other data.
    """

    def __init__(self, out: Path, data: str) -> None:
        self._directory, self._data = RunDirectory(out), data
        held: dict[str, Any] = {"tries": [], "chosen": [], "finished": False, "data": data}
        if (out / FILE).exists():
            held = self._directory.read_json(FILE)
        if held.get("data") != data:
            raise RunError(f"{str(out)!r} must hold this walk; what is in it was chosen on other data. Give another --out.")
        tries = [tuple(Try(**t) for t in some) for some in held["tries"]]
        self.rounds = [Round(some, i) for some, i in zip(tries, held["chosen"], strict=False)]
        self.going = list(tries[-1]) if len(tries) > len(self.rounds) else []
        self.finished: bool = held["finished"]

    def take(self, position: int) -> None:
        """The experience in progress is settled."""
        self.rounds.append(Round(tuple(self.going), position))
        self.going = []

    def save(self, finished: bool = False) -> None:
        """Write it, atomically."""
        tries = [*(r.tries for r in self.rounds), *([self.going] if self.going else [])]
        told = [[dataclasses.asdict(t) for t in some] for some in tries]
        content = {"finished": finished, "data": self._data, "chosen": [r.chosen for r in self.rounds], "tries": told}
        self._directory.write_json(FILE, content)


class _Clock:
    """How far the walk is, in thousandths of a training of one experience; and whether it is to stop."""

    def __init__(self, tell: Tell | None, total: int) -> None:
        self.tell, self.total, self.done = tell, total, 0

    def poll(self, share: float) -> None:
        """Between two updates of a training that is done to this share.

        Raises:
            Interrupted: asked to stop; what was tried is saved.
        """
        if self.tell is not None and self.tell(int(1000 * (self.done + share)), 1000 * self.total):
            raise Interrupted(SIGTERM)
