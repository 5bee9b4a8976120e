"""Training iterations against Avalanche's, without evaluation, in the same process and on the same tensors.

Avalanche runs its own training loop with its own plugins, and is timed within it, so that what it does once an experience, such as
taking EWC's importances, does not count; nor does clframe's. Only its online replay has one experience for each update by design.

Its evaluator is asked for nothing but what follows the training: the metrics of `default_evaluator`, accuracy and loss of the epoch
so far, without the progress bar that it prints by default; clframe records every term of the loss at every update. The rows named
"bare" have no metrics in Avalanche at all.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from itertools import islice
from typing import Any

from benchmarks.bench_avalanche import fastest, naive, tensors
from benchmarks.bench_iteration import learner_of, loop
from benchmarks.measure import Advance, Pair, Row, alternate
from benchmarks.setting import Setting, twin
from clframe.scenarios import Stream
from clframe.strategies import AGEM, EWC, SI, Learner, Part, Replay

PAST, SIZE = 4, 500
"""Experiences before the one that is timed, and remembered samples."""
UPDATES = 100
"""Updates of each past experience."""
SAMPLE = 12
"""Samples in A-GEM's draw: Avalanche draws equally many of each of the four past experiences."""
BLOCK, ONLINE_BLOCK = 20, 5

Plugin = Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """One method on either side.

    Attributes:
        what: the method, and what there is to know about Avalanche's version.
        name: Avalanche's name of it.
        floor: how many times faster clframe must be at batch 10.
        plugin, part: make it; None for plain training.
        past: experiences before the one that is timed.
    """

    what: str
    name: str
    floor: float | None = None
    plugin: Plugin | None = None
    part: Callable[[], Part] | None = None
    past: int = PAST


def rows(setting: Setting) -> Iterator[Row]:
    """First what has a floor."""
    if find_spec("avalanche") is None:
        yield Row("training against Avalanche", "", "not installed: pip install 'clframe[avalanche]'")
        return
    with warnings.catch_warnings():
        warnings.showwarning = lambda *_, **__: None  # its own deprecations, which it shows whatever the filters say
        for bare in (False, True):
            for case in CASES:
                yield trained(setting, case, bare=bare)
            yield online(setting, bare=bare)
        for case in (PLAIN, SHORT):
            yield trained(setting, case)
        for case in (PLAIN, CASES[0]):
            yield trained(setting, case, size=64)


def replay() -> Any:
    """With its default memory, which keeps as many samples of every past experience."""
    from avalanche.training.plugins import ReplayPlugin

    return ReplayPlugin(mem_size=SIZE)


def ewc() -> Any:
    """In its default mode, "separate"."""
    from avalanche.training.plugins import EWCPlugin

    return EWCPlugin(ewc_lambda=1.0)


def si() -> Any:
    """On a CPU release 0.6.0 keeps views of the model's weights, so that nothing ever seems to move; it does all the work."""
    from avalanche.training.plugins import SynapticIntelligencePlugin

    return SynapticIntelligencePlugin(si_lambda=1.0)


def agem() -> Any:
    """With as many samples of each past experience as clframe keeps."""
    from avalanche.training.plugins import AGEMPlugin

    return AGEMPlugin(patterns_per_experience=SIZE // PAST, sample_size=SAMPLE)


CASES = (
    Case(f"ER of {SIZE} (Avalanche: memory updated between experiences)", "ReplayPlugin", 1.4, replay, lambda: Replay(size=SIZE)),
    Case(f"EWC after {PAST} experiences (Avalanche: a penalty for each)", "EWCPlugin", 4, ewc, EWC),
    Case("SI (Avalanche: its penalty is always 0 on a CPU, its work is done)", "SynapticIntelligencePlugin", 2.5, si, SI),
    Case(f"A-GEM of {SIZE}, draws of {SAMPLE}", "AGEMPlugin", 1.5, agem, lambda: AGEM(size=SIZE, batch_size=SAMPLE)),
)
PLAIN = Case("finetune", "Naive")
SHORT = Case("EWC after 1 experience", "EWCPlugin", None, ewc, EWC, past=1)


def trained(setting: Setting, case: Case, *, size: int = 10, bare: bool = False) -> Row:
    """Both walk the past experiences; in the next one they are timed."""
    stream, network = stream_of(setting, size), setting.network()
    plain = twin(network)
    ours = experienced(stream, learner_of(network, *([case.part()] if case.part else [])), case.past)
    plugins = [case.plugin()] if case.plugin else []
    theirs = naive(plain, size, () if bare else metrics(), plugins=plugins)
    made = fastest(setting, tensors, list(stream.segments), list(stream.tests))
    theirs.train(made.train_stream[: case.past])
    pair = within(theirs, made.train_stream[case.past], ours, setting.blocks)
    floor = None if bare or size > 10 else case.floor
    return pair.at_least(f"training, {case.what}, batch {size}{', bare' if bare else ''}", floor, f"Avalanche's {case.name}")


def online(setting: Setting, *, bare: bool = False) -> Row:
    """Replay whose memory takes in every batch. In Avalanche each batch is an experience, as in its examples/online_replay.py."""
    from avalanche.benchmarks.scenarios.online import split_online_stream
    from avalanche.training.plugins import ReplayPlugin
    from avalanche.training.storage_policy import ReservoirSamplingBuffer

    stream, network = stream_of(setting, 10), setting.network()
    plain = twin(network)
    ours = experienced(stream, learner_of(network, Replay(size=SIZE)), PAST)
    plugin = ReplayPlugin(mem_size=SIZE, storage_policy=ReservoirSamplingBuffer(SIZE))
    theirs = naive(plain, 10, () if bare else metrics(), plugins=[plugin])
    made = fastest(setting, tensors, list(stream.segments), list(stream.tests))
    experiences = (one for each in repeated(made.train_stream) for one in split_online_stream([each], experience_size=10))

    def avalanche(n: int) -> None:
        theirs.train(list(islice(experiences, n)))

    avalanche(UPDATES)  # the reservoir holds 500 after 50 updates
    pair = alternate(ours, avalanche, BLOCK, setting.blocks, their_size=ONLINE_BLOCK)
    what = f"online ER of {SIZE} (Avalanche: split_online_stream, one experience an update, ReservoirSamplingBuffer)"
    return pair.at_least(f"training, {what}, batch 10{', bare' if bare else ''}", None if bare else 4, "Avalanche's ReplayPlugin")


def metrics() -> tuple[Any, ...]:
    """Those of Avalanche's default evaluator."""
    from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics

    when = {"minibatch": False, "epoch": True, "experience": True, "stream": True}
    return (accuracy_metrics(**when), loss_metrics(**when))


def stream_of(setting: Setting, size: int) -> Stream:
    """Five experiences of two classes, each of 100 updates an epoch."""
    whole = setting.stream(size, experiences=PAST + 1)
    return dataclasses.replace(whole, segments=[ids[: UPDATES * size] for ids in whole.segments])


def experienced(stream: Stream, learner: Learner, past: int) -> Advance:
    """The loop of clframe in the experience after the past ones."""
    for k, experience in enumerate(stream.experiences[:past]):
        learner.begin(experience.train)
        loop(stream, learner, k)(UPDATES)
        learner.end(experience.train)
    learner.begin(stream.experiences[past].train)
    return loop(stream, learner, past)


def within(strategy: Any, experience: Any, ours: Advance, blocks: int) -> Pair:
    """Train Avalanche's strategy on the experience; once all is done that precedes its first epoch, take turns with it."""
    from avalanche.core import SupervisedPlugin

    found: list[Pair] = []

    class Turns(SupervisedPlugin):  # type: ignore[misc]
        def before_training_epoch(self, strategy: Any, **_: Any) -> None:
            batches = repeated(strategy.dataloader)

            def theirs(n: int) -> None:
                strategy.dataloader = islice(batches, n)
                strategy.training_epoch()

            found.append(alternate(ours, theirs, BLOCK, blocks))
            strategy.stop_training()

    strategy.plugins.append(Turns())
    strategy.train(experience)
    return found[0]


def repeated(items: Iterable[Any]) -> Iterator[Any]:
    """Epoch after epoch, without an end."""
    while True:
        yield from items
