"""A subnet for every task: an iteration under masks, an exchange of weights, and the memory that masks take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import cast

import torch

from benchmarks.measure import Advance, Row, alternate
from benchmarks.setting import LR, Setting
from clframe import models, scenarios, strategies
from clframe.data import from_arrays
from clframe.models import Network
from clframe.scenarios import Stream
from clframe.strategies import Setup
from clframe.strategies.part import bytes_of
from clframe.strategies.sparse import DST
from clframe.types import Strategy

NEVER = 10**9
MASKS, EXCHANGES = 1.25, 2.0
"""Floors: an iteration under masks over a dense one, an exchange over an iteration."""


def rows(setting: Setting) -> Iterator[Row]:
    """The MLP with small and large batches, then a slim ResNet-18."""
    for batch in (10, 64, 128):
        yield from compared(setting.blocks, mlp_stream(setting, batch), "mlp", batch, 20)
    yield from compared(max(7, setting.blocks // 4), colour_stream(32), "slim-resnet18", 32, 1)
    yield memory(setting)


def compared(blocks: int, stream: Stream, model: str, batch: int, size: int) -> Iterator[Row]:
    """In the second of two tasks, so that some weights are held."""
    what = f"{model}, batch {batch}"
    dense = begun(stream, model, "finetune")
    for written in ("dst", "dst(pattern=fan-in)") if model == "mlp" and batch == 128 else ("dst",):
        options = f"period={NEVER}" + (",pattern=fan-in" if "fan-in" in written else "")
        pair = alternate(steps(stream, begun(stream, model, f"dst({options})")), steps(stream, dense), size, blocks)
        yield pair.at_most(f"iteration under the masks of {written}, {what}", MASKS, "dense, finetune")
    for growth in ("gradient", "random") if batch == 128 else ("gradient",):
        masked = cast(DST, begun(stream, model, f"dst(period=1,growth={growth})"))
        step = steps(stream, begun(stream, model, f"dst(period={NEVER})"))
        pair = alternate(exchanges(masked), step, max(1, size // 10), blocks, size)
        yield pair.at_most(f"exchange of weights, growth by {growth}, {what}", EXCHANGES, "an iteration under masks")


def memory(setting: Setting) -> Row:
    """What a task more takes, beside one dense store: a bit a masked weight, and its biases."""
    strategy = cast(DST, begun(mlp_stream(setting, 10), "mlp", f"dst(period={NEVER})"))
    store, weights = bytes_of(strategy.store), sum(w.numel() for w in strategy.store.values())
    state = strategy.ledger()["state_bytes"]["dst"]
    a_task = (state - store) / strategy.tasks
    biases = bytes_of(strategy.archive.private(0))
    allowed = math.ceil(weights / 8) + biases
    against = f"a bit a weight and {biases:,} bytes of biases: {allowed:,}"
    what = f"a task more beside one dense store of {store:,} bytes, mlp"
    return Row(what, f"{a_task:,.0f} bytes", against, a_task / allowed, None, "<= 1.00x", a_task <= allowed)


def mlp_stream(setting: Setting, batch: int) -> Stream:
    """Two tasks of five classes."""
    return scenarios.task_incremental(setting.data, experiences=2).walked(batch_size=batch, epochs=1000)


def colour_stream(batch: int) -> Stream:
    """The same with noise of the shape of CIFAR images: it is only timed."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randint(0, 256, (640, 32, 32, 3), generator=draw, dtype=torch.uint8).numpy(), (torch.arange(640) % 10).numpy()
    data = from_arrays(x, y, x[:64], y[:64], name="noise")
    return scenarios.task_incremental(data, experiences=2).walked(batch_size=batch, epochs=1000)


def begun(stream: Stream, model: str, written: str) -> Strategy:
    """The strategy some updates into the second task."""
    network: Network = models.build(model, stream.data.train.input_shape, 10, head="multi", num_tasks=2)
    strategy = strategies.build(written, Setup(network, partial(torch.optim.SGD, lr=LR, foreach=True), epochs=1000))
    for experience in stream.experiences:
        strategy.begin(experience.train)
        for _, batch in islice(experience.steps(), 3):
            strategy.observe(batch)
        if experience.index == 0:
            strategy.end(experience.train)
    return strategy


def steps(stream: Stream, strategy: Strategy) -> Advance:
    """Iterations of the second task, drawing of batches included."""
    batches = stream.experiences[1].steps()

    def advance(n: int) -> None:
        for _, batch in islice(batches, n):
            strategy.observe(batch)

    return advance


@torch.no_grad()
def _exchange(strategy: DST, n: int) -> None:
    for _ in range(n):
        if not strategy.stepped():
            raise RuntimeError("exchange: every call must exchange weights; this one did not.")


def exchanges(strategy: DST) -> Advance:
    """Exchanges alone, with the gradients of the last update."""
    return partial(_exchange, strategy)
