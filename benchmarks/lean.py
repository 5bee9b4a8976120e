"""The hand-written side: each method as the leanest loop over tensors in memory, without any framework.

Every function returns `advance(n)`, which does the next n iterations. Inputs `x` (N, 784) are normalised beforehand, `ids` yields
the ids of each batch, and the optimizer is torch's own SGD with foreach.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from benchmarks.measure import Advance
from benchmarks.setting import LR
from clframe.scenarios import Stream


def slices(stream: Stream, k: int = 0) -> Iterator[Tensor]:
    """Ids of the batches of experience k: slices of a permutation, the same as the stream's, so that results can be compared."""
    for epoch in range(stream.epochs):
        order = torch.from_numpy(stream.order.ids(stream.segments, k, epoch, stream.epochs, stream.seed))
        for low in range(0, len(order), stream.batch_size):
            yield order[low : low + stream.batch_size]


def finetune(model: nn.Module, x: Tensor, y: Tensor, ids: Iterator[Tensor]) -> Advance:
    """Plain training."""
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=LR, foreach=True)

    def advance(n: int) -> None:
        for index in islice(ids, n):
            for p in parameters:
                p.grad = None
            cross_entropy(model(x.index_select(0, index)), y.index_select(0, index)).backward()
            optimizer.step()

    return advance


def replay(model: nn.Module, x: Tensor, y: Tensor, ids: Iterator[Tensor], size: int, generator: torch.Generator) -> Advance:
    """ER: a reservoir of ids, as many recalled (without repeats) as are new."""
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=LR, foreach=True)
    memory = torch.zeros(size, dtype=torch.int64)
    slots = memory.numpy()
    filled = seen = 0

    def draw(count: int) -> Tensor:
        if filled <= count:
            return memory[:filled]
        if filled < 8 * count:
            return memory[torch.randperm(filled, generator=generator)[:count]]
        while True:
            chosen = torch.randint(filled, (count,), generator=generator)
            if len(set(chosen.tolist())) == count:
                return memory[chosen]

    def advance(n: int) -> None:
        nonlocal filled, seen
        for index in islice(ids, n):
            both = torch.cat([index, draw(len(index))]) if filled else index
            for p in parameters:
                p.grad = None
            cross_entropy(model(x.index_select(0, both)), y.index_select(0, both)).backward()
            optimizer.step()
            free = min(size - filled, len(index))
            if free:
                memory[filled : filled + free] = index[:free]
                filled, seen = filled + free, seen + free
            if free < len(index):
                u = torch.rand(len(index) - free, generator=generator, dtype=torch.float64).tolist()
                for i, share in zip(index[free:].tolist(), u, strict=True):
                    seen += 1
                    slot = int(share * seen)
                    if slot < size:
                        slots[slot] = i

    return advance


def ewc(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    ids: Iterator[Tensor],
    strength: float,
    information: Sequence[Tensor],
    anchor: Sequence[Tensor],
    valued: bool,
) -> Advance:
    """EWC: the penalty's gradient, strength * F * (theta - theta*), in closed form, added to `grad`.

    With `valued` the penalty's value is computed and kept for a plot of the loss, as clframe does; without it two fused passes over
    the weights are enough.
    """
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=LR, foreach=True)
    pull = [strength * f for f in information]
    values: list[Tensor] = []

    @torch.no_grad()
    def consolidate() -> None:
        grads, moved = [p.grad for p in parameters], torch._foreach_sub(parameters, anchor)
        if valued:
            pulled = torch._foreach_mul(moved, pull)
            torch._foreach_add_(grads, pulled)
            values.append(sum(m.view(-1) @ q.view(-1) for m, q in zip(moved, pulled, strict=True)) / 2)
        else:
            torch._foreach_addcmul_(grads, moved, pull)

    def advance(n: int) -> None:
        for index in islice(ids, n):
            for p in parameters:
                p.grad = None
            cross_entropy(model(x.index_select(0, index)), y.index_select(0, index)).backward()
            consolidate()
            optimizer.step()

    return advance


def lwf(
    model: nn.Module, x: Tensor, y: Tensor, ids: Iterator[Tensor], old: Sequence[int], strength: float, temperature: float
) -> Advance:
    """LwF: cross-entropy, and the divergence from a frozen copy over the old classes."""
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=LR, foreach=True)
    teacher, columns = copy.deepcopy(model).requires_grad_(False), torch.tensor(old)

    def advance(n: int) -> None:
        for index in islice(ids, n):
            inputs = x.index_select(0, index)
            with torch.no_grad():
                target = (teacher(inputs).index_select(1, columns) / temperature).log_softmax(1)
            scores = model(inputs)
            answer = (scores.index_select(1, columns) / temperature).log_softmax(1)
            kept = kl_div(answer, target, reduction="batchmean", log_target=True)
            for p in parameters:
                p.grad = None
            (cross_entropy(scores, y.index_select(0, index)) + strength * kept).backward()
            optimizer.step()

    return advance
