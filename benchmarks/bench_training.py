"""Training iterations against Avalanche's, without evaluation, in the same process and on the same tensors.

Avalanche runs its own training loop with its own plugins, and is timed within it, so that what it does once an experience, such as
taking EWC's importances, does not count; nor does clframe's. Only its online replay has one experience for each update by design.
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
BLOCK = 20


def rows(setting: Setting) -> Iterator[Row]:
    """With the floors first; then what they compare with."""
    if find_spec("avalanche") is None:
        yield Row("training against Avalanche", "", "not installed: pip install 'clframe[avalanche]'")
        return
    with warnings.catch_warnings():
        warnings.showwarning = lambda *_, **__: None  # its own deprecations, which it shows whatever the filters say
        yield from floors(setting)
        yield trained(setting, "finetune", "Naive", None)
        yield trained(setting, "EWC, one past experience", "EWCPlugin", None, ewc, EWC(), past=1)
        yield trained(setting, "finetune", "Naive", None, size=64)
        yield trained(setting, f"ER of {SIZE}", "ReplayPlugin", None, replay, Replay(size=SIZE), size=64)


def floors(setting: Setting) -> Iterator[Row]:
    """What has a floor, at batch 10."""
    yield trained(
        setting, f"ER of {SIZE}", "ReplayPlugin (memory updated between experiences only)", 1.4, replay, Replay(size=SIZE)
    )
    yield online(setting, 4)
    yield trained(setting, f"EWC, {PAST} past experiences", "EWCPlugin (a penalty for each)", 4, ewc, EWC())
    yield trained(setting, "SI", "SynapticIntelligencePlugin (its penalty is always 0 on a CPU)", 2.5, si, SI())
    remembered = AGEM(size=SIZE, batch_size=SAMPLE)
    yield trained(setting, f"A-GEM of {SIZE}, {SAMPLE} drawn", "AGEMPlugin", 1.5, agem, remembered)


def replay() -> Any:
    """With its default memory, as large for each experience."""
    from avalanche.training.plugins import ReplayPlugin

    return ReplayPlugin(mem_size=SIZE)


def ewc() -> Any:
    """In its default mode, "separate"."""
    from avalanche.training.plugins import EWCPlugin

    return EWCPlugin(ewc_lambda=1.0)


def si() -> Any:
    """Release 0.6.0 keeps views of the model's weights on a CPU, so that nothing ever seems to move; it works all the same."""
    from avalanche.training.plugins import SynapticIntelligencePlugin

    return SynapticIntelligencePlugin(si_lambda=1.0)


def agem() -> Any:
    """With as many samples of each past experience as clframe keeps."""
    from avalanche.training.plugins import AGEMPlugin

    return AGEMPlugin(patterns_per_experience=SIZE // PAST, sample_size=SAMPLE)


def trained(
    setting: Setting,
    what: str,
    name: str,
    floor: float | None,
    plugin: Callable[[], Any] | None = None,
    *parts: Part,
    size: int = 10,
    past: int = PAST,
) -> Row:
    """Both walk the past experiences; in the next one they are timed."""
    stream, network = stream_of(setting, size), setting.network()
    plain = twin(network)
    ours = experienced(stream, learner_of(network, *parts), past)
    theirs = naive(plain, size, plugins=[plugin()] if plugin else [])
    made = fastest(setting, tensors, list(stream.segments), list(stream.tests))
    theirs.train(made.train_stream[:past])
    pair = within(theirs, made.train_stream[past], ours, setting.blocks)
    return pair.at_least(f"training, {what}, batch {size}", floor, f"Avalanche's {name}")


def online(setting: Setting, floor: float) -> Row:
    """Replay whose memory takes in every batch. In Avalanche each batch is an experience, as in its examples/online_replay.py."""
    from avalanche.benchmarks.scenarios.online import split_online_stream
    from avalanche.training.plugins import ReplayPlugin
    from avalanche.training.storage_policy import ReservoirSamplingBuffer

    stream, network = stream_of(setting, 10), setting.network()
    plain = twin(network)
    ours = experienced(stream, learner_of(network, Replay(size=SIZE)), PAST)
    plugin = ReplayPlugin(mem_size=SIZE, storage_policy=ReservoirSamplingBuffer(SIZE))
    theirs = naive(plain, 10, plugins=[plugin])
    made = fastest(setting, tensors, list(stream.segments), list(stream.tests))
    experiences = (one for each in repeated(made.train_stream) for one in split_online_stream([each], experience_size=10))

    def avalanche(n: int) -> None:
        theirs.train(list(islice(experiences, n)))

    avalanche(PAST * UPDATES)
    pair = alternate(ours, avalanche, BLOCK, setting.blocks)
    name = "ReplayPlugin on split_online_stream, ReservoirSamplingBuffer, one experience for each update"
    return pair.at_least(f"training, online ER of {SIZE}, batch 10", floor, f"Avalanche's {name}")


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
    """Train Avalanche's strategy on the experience, and take turns with it in its first epoch, after what comes before it."""
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
