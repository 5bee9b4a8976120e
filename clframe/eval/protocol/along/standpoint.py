"""Where a walk stands: a learner between two experiences, from which the next one may be trained any number of times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch

from clframe import pieces
from clframe.errors import DataError, DivergedError, OptionError
from clframe.eval.evaluator import Evaluator
from clframe.eval.plan import plan
from clframe.eval.protocol.along.choosers import Looks, Try
from clframe.eval.protocol.along.scheduled import carry_over, made
from clframe.eval.records import Records
from clframe.loop import walk
from clframe.models import cost
from clframe.scenarios import Stream
from clframe.seeding import rng, seed_for, set_global_state
from clframe.snapshot import Snapshot, copied
from clframe.strategies import Setup
from clframe.types import Ids, Step

Poll = Callable[[float], None]
"""Called after every update with the share of the training that is done; raises to stop."""


class Standpoint:
    """A learner between two experiences.

    Args:
        held: the stream with its validation split: what tries are trained on, and scored on.
        stream: the stream that the walk goes on along: the same, or one with the validation samples among the others.
        method: in words.
        seed: of the learner.
        options: of a run, all of them.
        looks: what a try is scored on.
        share: of remembered samples that are withheld, class by class, where the memory is looked at.

    Attributes:
        experience: the one to be trained next.
    """

    def __init__(
        self, held: Stream, stream: Stream, method: str, seed: int, options: Mapping[str, Any], looks: Looks, share: float
    ) -> None:
        self._held, self._stream, self._method, self._seed, self._options = held, stream, method, seed, options
        self._looks, self._share = looks, share
        self._at: Snapshot | None = None
        self.experience = 0
        refuse_other_samples(held, stream)

    def __len__(self) -> int:
        return len(self._stream)

    @property
    def fingerprint(self) -> str:
        """A hash of all samples in their order, on both streams."""
        return f"{self._held.fingerprint()}-{self._stream.fingerprint()}"

    def tried(self, proposed: Try, poll: Poll) -> Try:
        """Train the next experience without its validation samples, and score what came of it; the walk stays where it is."""
        k = self.experience
        stream = replace(self._stream[: k + 1], segments=[*self._stream.segments[:k], self._held.segments[k]])
        learner = self._learner("finetune" if proposed.plain else self._method, proposed.values)
        withheld = self._withheld(learner) if self._looks == "memory" else None
        scored, proposed = self._scored(withheld), replace(proposed, withheld=0 if withheld is None else len(withheld))
        before, each = _passes(learner), cost(learner.model, stream.data.train.input_shape).flops
        try:
            step = self._trained(learner, stream, poll)
        except DivergedError:
            return replace(proposed, score=None, flops=each * (_passes(learner) - before))
        evaluator = Evaluator(scored, plan("boundaries"), seed=self._seed, device=stream.device)
        rows, classes = evaluator.everything(learner, step.n, k)
        if self._looks == "memory":
            score = median_of_classes([(c.label, c.correct, c.total) for c in classes if not c.head])
        else:
            score = float(np.mean([r.correct / r.total for r in rows if not r.head]))
        return replace(proposed, score=score, flops=each * (_passes(learner) - before))

    def go_on(self, values: Mapping[str, Any], poll: Poll) -> None:
        """Train the next experience with what was chosen; the walk stands behind it."""
        stream = self._stream[: self.experience + 1]
        learner = self._learner(self._method, values)
        self._at = Snapshot.of(learner, self._trained(learner, stream, poll))
        self.experience += 1

    def rehearse(self, some: Sequence[Mapping[str, Any]]) -> None:
        """Build the learner with each of these options, begin, and train nothing.

        Raises:
            ClframeError: it cannot be built, is no composition of parts, or options change what its state looks like.
        """
        forms = []
        for values in some:
            learner = self._learner(self._method, values)
            if not hasattr(learner, "parts"):
                raise OptionError(
                    f"what is chosen along the stream must be options of a composition of parts; {self._method!r} is a whole "
                    "strategy of its own. Leave it out, or take a protocol that tunes whole streams."
                )
            learner.begin(self._stream.experiences[0].train)
            forms.append({part.name: _form(part) for part in learner.parts})
            if forms[-1] != forms[0]:
                given = ", ".join(f"{k}={v}" for k, v in values.items())
                raise OptionError(
                    f"options that are chosen along the stream must not change what is remembered; {self._method!r} with {given} "
                    "has another state. Fix such an option, as a memory's size is, or take a protocol that tunes whole streams."
                )

    def _learner(self, method: str, values: Mapping[str, Any]) -> Any:
        """A learner with these options, made as a run makes it, standing here."""
        o = self._options
        if self._at is None:
            torch.manual_seed(seed_for(self._seed, "global"))
        network = pieces.network(o["model"], o["head"], self._stream, self._seed).to(self._stream.device)
        optimizer = pieces.optimizer(o["optimizer"], o["lr"], o["momentum"], o["weight_decay"])
        setup = Setup(network, optimizer, self._seed, o["reset_optimizer"], epochs=o["epochs"], batch_size=o["batch_size"])
        learner = made(method, values, setup)
        if self._at is not None:
            carry_over(copied(self._at.state), learner)
        return learner

    def _trained(self, learner: Any, stream: Stream, poll: Poll) -> Step:
        """Walk the last experience of the stream from where the walk stands."""
        begin, end = stream.starts[-2], stream.starts[-1]
        from_here = _From(self._at, lambda n: poll((n - begin) / (end - begin)))
        return walk(stream, learner, _Nothing(), Records(self._method, self._seed), from_here)

    def _scored(self, withheld: Ids | None) -> Stream:
        """The samples that a try is scored on, as a stream that is tested on them."""
        k = self.experience
        held = self._held.on_validation()
        if self._looks == "seen":
            return held[: k + 1]
        if withheld is None or not len(withheld):
            return held[k : k + 1]
        first = self._stream.first_experience[withheld]
        parts = [(j, withheld[first == j]) for j in np.unique(first).tolist()]
        tasks = None if held.tasks is None else [*(held.tasks[j] for j, _ in parts), held.tasks[k]]
        tests = [*(ids for _, ids in parts), held.tests[k]]
        segments = [*(held.segments[j] for j, _ in parts), held.segments[k]]
        return replace(held, tests=tests, segments=segments, tasks=tasks, validation=())

    def _withheld(self, learner: Any) -> Ids | None:
        """Ids that are remembered and not to be drawn: a share of every class, the same for all tries of an experience."""
        memories = [part.memory for part in learner.parts if hasattr(getattr(part, "memory", None), "withheld")]
        if self._at is None or not memories:
            return None
        ids = np.unique(torch.cat([m.index[: m.filled] for m in memories]).numpy())
        labels, draw = self._stream.data.train.y[ids], rng(self._seed, "withheld", self.experience)
        some = [draw.permutation(ids[labels == c])[: round(self._share * int((labels == c).sum()))] for c in np.unique(labels)]
        found: Ids = np.concatenate(some)
        for memory in memories:
            memory.withheld = torch.from_numpy(found)
        return found

    def state_dict(self) -> dict[str, Any]:
        """The snapshot and the position."""
        assert self._at is not None and self._at.step is not None
        return {"state": self._at.state, "generators": self._at.generators, "step": list(self._at.step)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        step = Step(*state["step"])
        self._at, self.experience = Snapshot(state["state"], state["generators"], step), step.experience + 1


class _From:
    """What `walk` asks for where to begin: the snapshot."""

    def __init__(self, at: Snapshot | None, poll: Callable[[int], None]) -> None:
        self._at, self._poll = at, poll
        self.step = None if at is None else at.step

    def due(self, step: Step) -> bool:
        """Nothing is saved within a try."""
        self._poll(step.n)
        return False

    def save(self, step: Step) -> None:
        """Nothing."""

    def restore(self) -> None:
        """The learner stands there already; the generators are put back."""
        assert self._at is not None
        set_global_state(copied(self._at.generators))


class _Nothing:
    """What `walk` asks for measurements: none."""

    def due(self, step: Step) -> bool:
        """Never."""
        return False

    def __call__(self, strategy: object, step: Step) -> tuple[()]:
        """Nothing."""
        return ()

    def everything(self, strategy: object, n: int, trained: int) -> tuple[tuple[()], tuple[()]]:
        """Nothing."""
        return (), ()


def median_of_classes(counts: list[tuple[int, int, int]]) -> float:
    """Median over classes of the accuracy, from (label, correct, total); a class may come more than once.

    Example:
        >>> median_of_classes([(0, 1, 2), (0, 1, 2), (1, 1, 1), (2, 0, 4)])
        0.5
    """
    sums: dict[int, list[int]] = {}
    for label, correct, total in counts:
        held = sums.setdefault(label, [0, 0])
        held[0] += correct
        held[1] += total
    return median(correct / total for correct, total in sums.values())


def refuse_other_samples(held: Stream, stream: Stream) -> None:
    """Refuse a validation split that is not cut out of the experiences themselves.

    Raises:
        DataError: with the experience.
    """
    for k, (segment, validation) in enumerate(zip(held.segments, held.validation, strict=True)):
        if stream is not held and not np.array_equal(np.sort(np.concatenate([segment, validation])), np.sort(stream.segments[k])):
            raise DataError(
                f"the validation samples of experience {k} must be cut out of its training samples; {held.name!r} has others with "
                "'validation' than without. Make the split the last thing that the scenario does."
            )


def _form(part: Any) -> dict[str, Any]:
    """What the declared state of a part looks like: kinds, sizes and shapes."""
    found: dict[str, Any] = {}
    for name in part.state:
        value = getattr(part, name)
        found[name] = (type(value).__name__, getattr(value, "size", None) if not isinstance(value, torch.Tensor) else value.shape)
    return found


def _passes(learner: Any) -> int:
    """Forward passes, a backward pass counting twice."""
    used = learner.ledger()
    return int(used["forwards"] + 2 * used["backwards"])
