"""Iterations of clframe's loop against hand-written loops: plain training, ER, EWC, LwF; and what logging gradients costs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch

from benchmarks import lean
from benchmarks.measure import Advance, Row, alternate, same_weights
from benchmarks.setting import LR, Setting, twin
from clframe.checkpoint import Checkpoint
from clframe.eval.evaluator import Evaluator
from clframe.eval.plan import Boundaries
from clframe.eval.records import Records
from clframe.models import Network
from clframe.scenarios import Stream
from clframe.seeding import generator
from clframe.strategies import EWC, Learner, LwF, Part, Replay

CHECKED = 60
"""Iterations after which both sides must have the same weights."""
BATCH_SIZES = (10, 64)


def rows(setting: Setting) -> Iterator[Row]:
    """Every comparison, at batch sizes 10 and 64."""
    for size in BATCH_SIZES:
        yield finetune(setting, size)
    for size in BATCH_SIZES:
        yield er(setting, size)
    for size in BATCH_SIZES:
        yield ewc(setting, size, valued=True)
        yield ewc(setting, size, valued=False)
    for size in BATCH_SIZES:
        yield lwf(setting, size)
    for size in BATCH_SIZES:
        yield decomposition(setting, size)


def learner_of(network: Network, *parts: Part, decompose: bool = False) -> Learner:
    """A Learner with the benchmark's optimizer."""
    return Learner(network, torch.optim.SGD(network.parameters(), lr=LR, foreach=True), *parts, decompose=decompose)


def loop(stream: Stream, learner: Learner, k: int = 0) -> Advance:
    """The body of `clframe.loop.walk` within experience k, in portions, without evaluation and without files."""
    steps, records = stream.experiences[k].steps(), Records("benchmark", 0)
    evaluate, checkpoint = Evaluator(stream, Boundaries()), Checkpoint(None, "", {})

    def advance(n: int) -> None:
        for step, batch in islice(steps, n):
            records.train(step, learner.observe(batch))
            if evaluate.due(step):
                records.eval(evaluate(learner, step))
            if checkpoint.due(step) and not step.last:
                checkpoint.save(step)

    return advance


def compared(
    setting: Setting,
    what: str,
    size: int,
    floor: float | None,
    ours: Advance,
    theirs: Advance,
    nets: tuple[Network, torch.nn.Module],
) -> Row:
    """Check that both sides compute the same, then time them."""
    ours(CHECKED)
    theirs(CHECKED)
    same_weights(nets[0].parameters(), nets[1].parameters(), what)
    pair = alternate(ours, theirs, setting.iterations(size), setting.blocks)
    return pair.at_most(f"iteration, {what}, batch {size}", floor, "hand-written")


def finetune(setting: Setting, size: int) -> Row:
    """A Learner without parts."""
    stream, network = setting.stream(size), setting.network()
    plain, learner = twin(network), learner_of(network)
    learner.begin(stream.experiences[0].train)
    theirs = lean.finetune(plain, setting.x, setting.y, lean.slices(stream))
    return compared(setting, "finetune", size, 1.10, loop(stream, learner), theirs, (network, plain))


def er(setting: Setting, size: int) -> Row:
    """Replay from a reservoir of 500."""
    stream, network = setting.stream(size), setting.network()
    plain, learner = twin(network), learner_of(network, Replay(size=500))
    learner.begin(stream.experiences[0].train)
    theirs = lean.replay(plain, setting.x, setting.y, lean.slices(stream), 500, generator(0, "part", "er"))
    return compared(setting, "ER with a reservoir of 500", size, 1.10, loop(stream, learner), theirs, (network, plain))


def second(setting: Setting, size: int, part: Part) -> tuple[Stream, Network, Learner]:
    """A learner at the start of the second of two experiences, so that its penalty counts."""
    stream, network = setting.stream(size, experiences=2), setting.network()
    learner = learner_of(network, part)
    first, next_ = (e.train for e in stream.experiences)
    learner.begin(first)
    loop(stream, learner)(200)
    learner.end(first)
    learner.begin(next_)
    return stream, network, learner


def ewc(setting: Setting, size: int, valued: bool) -> Row:
    """The quadratic penalty; both sides use the Fisher information that clframe took."""
    part = EWC(strength=100.0)
    stream, network, learner = second(setting, size, part)
    plain = twin(network)
    ids = lean.slices(stream, 1)
    theirs = lean.ewc(plain, setting.x, setting.y, ids, part.strength, part.information, part.anchor, valued)
    what, floor = ("EWC", 1.15) if valued else ("EWC, by hand without the penalty's value", None)
    return compared(setting, what, size, floor, loop(stream, learner, 1), theirs, (network, plain))


def lwf(setting: Setting, size: int) -> Row:
    """Distillation over the five old classes."""
    part = LwF()
    stream, network, learner = second(setting, size, part)
    plain = twin(network)
    old = stream.experiences[0].classes
    ids = lean.slices(stream, 1)
    theirs = lean.lwf(plain, setting.x, setting.y, ids, old, part.strength, part.temperature)
    return compared(setting, "LwF", size, 1.15, loop(stream, learner, 1), theirs, (network, plain))


def decomposition(setting: Setting, size: int) -> Row:
    """ER with the plasticity and stability gradients logged at every update, against ER without."""
    stream = setting.stream(size)
    both = []
    for decompose in (True, False):
        network = setting.network()
        learner = learner_of(network, Replay(size=500), decompose=decompose)
        learner.begin(stream.experiences[0].train)
        advance = loop(stream, learner)
        advance(CHECKED)
        both.append((advance, network))
    (logged, one), (plain, other) = both
    same_weights(one.parameters(), other.parameters(), "logging gradients", tolerance=0.0)
    pair = alternate(logged, plain, setting.iterations(size), setting.blocks)
    return pair.at_most(f"iteration, ER logging the gradient decomposition, batch {size}", None, "not logging")
