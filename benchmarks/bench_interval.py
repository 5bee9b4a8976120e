"""Boxes of weights: bounds beside a plain forward, certificates of many samples, and a training step of HyperInterval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice, pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.lean_interval import LeanInterval
from benchmarks.measure import Advance, Row, alternate
from benchmarks.setting import Setting
from clframe import models, scenarios, strategies
from clframe.models import Network
from clframe.models.cnn import CNN
from clframe.models.interval import Box, certify
from clframe.models.interval.forward import propagate, traced
from clframe.models.interval.margins import margins
from clframe.strategies import Setup
from clframe.strategies.interval.hyperinterval import HyperInterval

BATCH = 128
MANY = {"mlp": 2560, "cnn": 640}
"""Samples that certificates are asked for."""
RADIUS = 2e-4
"""The largest radius of a weight, each drawn evenly from 0 on: where a part of the samples is certified, and the methods differ."""
INTERVAL, LINEAR, STEP = 3.0, 8.0, 1.5
"""Floors: bounds of logits and of differences over a forward, linear bounds over a forward, a step over its own products."""


def rows(setting: Setting) -> Iterator[Row]:
    """Bounds in double precision, as certificates are computed, then training in single precision."""
    colour = torch.randn(MANY["cnn"], 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = setting.x.view(-1, 1, 28, 28)
    for what, features, width, x in (
        ("mlp 784-400-400-10", nn.Sequential(nn.Flatten(), *hidden(784, 400, 400)), 400, images),
        ("cnn, 1x28x28", CNN((1, 28, 28)), 3136, images),
        ("cnn, 3x32x32", CNN((3, 32, 32)), 4096, colour),
    ):
        x = x[: MANY[what[:3]]]
        net = trained(nn.Sequential(features, nn.Linear(width, 10)), x, setting.y[: len(x)])
        size = 4 if what.startswith("mlp") else 1
        yield from bounds(setting, what, net, x.double(), setting.y[: len(x)], size)
    yield from steps(setting)


def hidden(*widths: int) -> list[nn.Module]:
    """Linear layers and ReLUs."""
    return [m for i, j in pairwise(widths) for m in (nn.Linear(i, j), nn.ReLU())]


def trained(net: nn.Module, x: Tensor, y: Tensor) -> nn.Module:
    """Three epochs, so that the network is one that certificates are asked for; in double precision."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(3):
        for inputs, labels in zip(x.split(64), y.split(64), strict=True):
            optimizer.zero_grad()
            F.cross_entropy(net(inputs), labels).backward()
            optimizer.step()
    return net.double().eval()


@torch.no_grad()
def bounds(setting: Setting, what: str, net: nn.Module, x: Tensor, y: Tensor, size: int) -> Iterator[Row]:
    """Of one batch with classes as they come, then of certificates, which put samples of one class together."""
    draw = torch.Generator().manual_seed(1)
    radii = {n: RADIUS * torch.rand(p.shape, generator=draw, dtype=p.dtype) for n, p in net.named_parameters()}
    boxes = {n: Box.around(p.detach(), radii[n]) for n, p in net.named_parameters()}
    graph, batch, labels = traced(net), x[:BATCH], y[:BATCH]
    blocks = setting.blocks if size > 1 else max(7, setting.blocks // 4)

    def plain() -> object:
        return net(batch)

    def bounded(layers: int | None) -> object:
        return margins(propagate(graph, batch, boxes), labels, layers)

    for name, floor, work in (
        ("logits", INTERVAL, partial(propagate, graph, batch, boxes)),
        ("elided differences", INTERVAL, partial(bounded, 1)),
        ("linear differences", LINEAR, partial(bounded, None)),
    ):
        pair = alternate(repeated(work), repeated(plain), size, blocks, 4 * size)
        yield pair.at_most(f"bounds, {name}, {what}, batch {BATCH}", floor, "plain forward")
    for method, reached in (("elided", INTERVAL), ("linear", LINEAR), ("best", None)) if "32" not in what else ():
        work = partial(certify, net, x, y, boxes, method)
        pair = alternate(repeated(work), repeated(partial(through, net, x)), 1, max(5, setting.blocks // 6))
        yield pair.at_most(f"certificates of {len(x):,} samples, {method}, {what}", reached, "plain forwards")


def through(net: nn.Module, x: Tensor) -> None:
    """All samples, in batches."""
    for part in x.split(2 * BATCH):
        net(part)


def repeated(work: partial[object] | object) -> Advance:
    """A call as units of work."""

    def advance(n: int) -> None:
        for _ in range(n):
            work()  # type: ignore[operator]

    return advance


def steps(setting: Setting) -> Iterator[Row]:
    """In the second of two tasks, where centre, worst case and drift all count; all sides see the same batches."""
    stream = scenarios.task_incremental(setting.data, experiences=2).walked(batch_size=BATCH, epochs=1000)
    network: Network = models.build("mlp", setting.data.train.input_shape, 10, head="multi", num_tasks=2, options=WIDTHS)
    setup = Setup(network, partial(torch.optim.Adam, lr=1e-3, foreach=True), epochs=1000, width=5)
    strategy = cast(HyperInterval, strategies.build("hyperinterval(chunk=4000,hidden=[50,50])", setup))
    for experience in stream.experiences:
        strategy.begin(experience.train)
        for _, batch in islice(experience.steps(), 3):
            strategy.observe(batch)
        if experience.index == 0:
            strategy.end(experience.train)
    kept = [batch for _, batch in islice(stream.experiences[1].steps(), 8)]
    lean = LeanInterval(strategy)
    lean.check(kept[0])
    observed = cycled(strategy.observe, kept)
    pair = alternate(observed, cycled(lean.step, kept), 5, setting.blocks)
    yield pair.at_most(f"training step of hyperinterval, mlp 784-256-256-5, batch {BATCH}", STEP, "its own products by hand")
    net = nn.Sequential(nn.Flatten(), *hidden(784, 256, 256), nn.Linear(256, 5))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, foreach=True)

    def one(batch: object) -> None:
        optimizer.zero_grad()
        F.cross_entropy(net(batch.x), strategy._output[batch.y]).backward()  # type: ignore[attr-defined]
        optimizer.step()

    pair = alternate(observed, cycled(one, kept), 5, setting.blocks)
    yield pair.at_most(f"training step of hyperinterval, mlp 784-256-256-5, batch {BATCH}", None, "a plain step of its target")


WIDTHS = {"hidden": (256, 256)}


def cycled(work: object, batches: Sequence[object]) -> Advance:
    """The same batches over and over."""

    def advance(n: int) -> None:
        for k in range(n):
            work(batches[k % len(batches)])  # type: ignore[operator]

    return advance
