"""Iterations of clframe's loop against hand-written loops, continued: SI, MAS, RWalk, A-GEM, DER++."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from benchmarks import lean, lean_parts
from benchmarks.bench_iteration import BATCH_SIZES, CHECKED, compared, learner_of, loop, second
from benchmarks.measure import Row, same_weights
from benchmarks.setting import Setting, twin
from clframe.seeding import generator
from clframe.strategies import AGEM, MAS, SI, RWalk
from clframe.strategies.der import DER

FLOOR = 1.15


def rows(setting: Setting) -> Iterator[Row]:
    """Every part, at batch sizes 10 and 64."""
    for method in (si, mas, rwalk, agem, der_plus_plus):
        for size in BATCH_SIZES:
            yield method(setting, size)


def si(setting: Setting, size: int) -> Row:
    """Synaptic intelligence in its second experience: the penalty, and the path, which must be the same, too."""
    part = SI()
    stream, network, learner = second(setting, size, part)
    plain, path = twin(network), copied(part.path)
    ids = lean.slices(stream, 1)
    theirs = lean_parts.si(plain, setting.x, setting.y, ids, part.strength, copied(part.importance), copied(part.anchor), path)
    ours = loop(stream, learner, 1)
    ours(CHECKED)
    theirs(CHECKED)
    same_weights(part.path, path, "SI's path")
    return compared(setting, "SI", size, FLOOR, ours, theirs, (network, plain))


def mas(setting: Setting, size: int) -> Row:
    """MAS in its second experience: by hand it is the loop of EWC."""
    part = MAS()
    stream, network, learner = second(setting, size, part)
    plain = twin(network)
    ids = lean.slices(stream, 1)
    theirs = lean.ewc(plain, setting.x, setting.y, ids, 2 * part.strength, part.importance, part.anchor, valued=True)
    return compared(setting, "MAS", size, FLOOR, loop(stream, learner, 1), theirs, (network, plain))


def rwalk(setting: Setting, size: int) -> Row:
    """Riemannian walk in its second experience: penalty, Fisher information and scores, which must be the same, too."""
    part = RWalk()
    stream, network, learner = second(setting, size, part)
    plain, fisher, score = twin(network), copied(part.fisher), copied(part.score)
    options = (part.strength, part.alpha, part.interval, part.epsilon)
    held = (copied(part.importance), copied(part.anchor), fisher, score)
    theirs = lean_parts.rwalk(plain, setting.x, setting.y, lean.slices(stream, 1), options, *held)
    ours = loop(stream, learner, 1)
    ours(CHECKED)
    theirs(CHECKED)
    same_weights(part.fisher, fisher, "RWalk's Fisher information")
    same_weights(part.score, score, "RWalk's scores")
    return compared(setting, "RWalk", size, FLOOR, ours, theirs, (network, plain))


def agem(setting: Setting, size: int) -> Row:
    """A-GEM in its second experience, as many remembered samples an update as new ones."""
    part = AGEM(size=500)
    stream, network, learner = second(setting, size, part)
    plain, draws = twin(network), torch.Generator()
    draws.set_state(part.generator.get_state())
    memory = torch.cat(part.episodes.kept)
    theirs = lean_parts.agem(plain, setting.x, setting.y, lean.slices(stream, 1), memory, size, draws)
    return compared(setting, "A-GEM with a memory of 500", size, FLOOR, loop(stream, learner, 1), theirs, (network, plain))


def der_plus_plus(setting: Setting, size: int) -> Row:
    """DER++ with a reservoir of 500 that is full when the clock starts."""
    part = DER(size=500, alpha=0.1, beta=0.5)
    stream, network = setting.stream(size), setting.network()
    plain, learner = twin(network), learner_of(network, part)
    learner.begin(stream.experiences[0].train)
    options, draws = (part.size, part.alpha, part.beta), generator(0, "part", part.name)
    theirs = lean_parts.der_plus_plus(plain, setting.x, setting.y, lean.slices(stream), options, draws)
    return compared(setting, "DER++ with a reservoir of 500", size, FLOOR, loop(stream, learner), theirs, (network, plain))


def copied(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same numbers in tensors of their own."""
    return [t.detach().clone() for t in tensors]
