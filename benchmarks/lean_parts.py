"""The hand-written side, continued: SI, MAS and RWalk, A-GEM, DER++, each as the leanest loop over tensors in memory.

As in `lean.py`, every function returns `advance(n)`. A penalty's gradient is known in closed form and added to the gradient of the
cross-entropy, which therefore needs no separating afterwards; what follows the path of the weights works in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from benchmarks.measure import Advance
from benchmarks.setting import LR


def si(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    ids: Iterator[Tensor],
    strength: float,
    importance: Sequence[Tensor],
    anchor: Sequence[Tensor],
    path: Sequence[Tensor],
) -> Advance:
    """SI: the quadratic penalty with its value, and `path`, the fall of the loss along each weight, gone on in place."""
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=LR, foreach=True)
    pull = [2 * strength * omega for omega in importance]
    before, values = [p.detach().clone() for p in parameters], list[Tensor]()

    def advance(n: int) -> None:
        for index in islice(ids, n):
            for p in parameters:
                p.grad = None
            cross_entropy(model(x.index_select(0, index)), y.index_select(0, index)).backward()
            gradient = penalised(parameters, anchor, pull, values)
            with torch.no_grad():
                torch._foreach_copy_(before, parameters)
                optimizer.step()
                torch._foreach_sub_(before, parameters)
                torch._foreach_addcmul_(path, gradient, before)

    return advance


@torch.no_grad()
def penalised(parameters: list[Tensor], anchor: Sequence[Tensor], pull: Sequence[Tensor], values: list[Tensor]) -> list[Tensor]:
    """Add the penalty's gradient, pull * (theta - theta*), to `grad` and its value to `values`; return the gradient without it."""
    gradient, moved = [p.grad for p in parameters], torch._foreach_sub(parameters, anchor)
    whole = torch._foreach_mul(moved, pull)
    values.append(sum(m.view(-1) @ q.view(-1) for m, q in zip(moved, whole, strict=True)) / 2)
    torch._foreach_add_(whole, gradient)
    for p, found in zip(parameters, whole, strict=True):
        p.grad = found
    return gradient


def rwalk(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    ids: Iterator[Tensor],
    options: tuple[float, float, int, float],
    importance: Sequence[Tensor],
    anchor: Sequence[Tensor],
    fisher: Sequence[Tensor],
    score: Sequence[Tensor],
) -> Advance:
    """RWalk: the quadratic penalty with its value; `fisher` and `score` gone on in place.

    The options are strength, alpha, interval and epsilon.
    """
    strength, alpha, interval, epsilon = options
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=LR, foreach=True)
    pull = [2 * strength * omega for omega in importance]
    before, corner = ([p.detach().clone() for p in parameters] for _ in range(2))
    fall, values = [torch.zeros_like(p) for p in parameters], list[Tensor]()

    def turn() -> None:
        torch._foreach_sub_(corner, parameters)
        distance = torch._foreach_mul(corner, corner)
        torch._foreach_mul_(distance, fisher)
        torch._foreach_mul_(distance, 0.5)
        torch._foreach_add_(distance, epsilon)
        torch._foreach_addcdiv_(score, fall, distance)
        torch._foreach_copy_(corner, parameters)
        torch._foreach_zero_(fall)

    def advance(n: int) -> None:
        for index in islice(ids, n):
            for p in parameters:
                p.grad = None
            cross_entropy(model(x.index_select(0, index)), y.index_select(0, index)).backward()
            gradient = penalised(parameters, anchor, pull, values)
            with torch.no_grad():
                torch._foreach_copy_(before, parameters)
                optimizer.step()
                torch._foreach_mul_(fisher, 1 - alpha)
                torch._foreach_addcmul_(fisher, gradient, gradient, value=alpha)
                torch._foreach_sub_(before, parameters)
                torch._foreach_addcmul_(fall, gradient, before)
                if len(values) % interval == 0:
                    turn()

    return advance


def agem(
    model: nn.Module, x: Tensor, y: Tensor, ids: Iterator[Tensor], memory: Tensor, count: int, generator: torch.Generator
) -> Advance:
    """A-GEM: `count` of the remembered ids an update; where the gradients disagree, theirs is taken out of the new batch's."""
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=LR, foreach=True)

    def gradient(index: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(cross_entropy(model(x.index_select(0, index)), y.index_select(0, index)), parameters)

    def advance(n: int) -> None:
        for index in islice(ids, n):
            new = gradient(index)
            old = gradient(memory[different(count, len(memory), generator)])
            against = sum(a.view(-1) @ b.view(-1) for a, b in zip(new, old, strict=True)).item()
            if against < 0:
                square = sum(b.view(-1) @ b.view(-1) for b in old).item()
                torch._foreach_add_(new, old, alpha=-against / square)
            for p, found in zip(parameters, new, strict=True):
                p.grad = found
            optimizer.step()

    return advance


def der_plus_plus(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    ids: Iterator[Tensor],
    options: tuple[int, float, float],
    generator: torch.Generator,
) -> Advance:
    """DER++: a reservoir of ids and logits; two draws, as many each as are new. Options: size, alpha, beta."""
    size, alpha, beta = options
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=LR, foreach=True)
    memory, kept = torch.zeros(size, dtype=torch.int64), torch.zeros(size, 10)
    slots = memory.numpy()
    filled = seen = 0

    def loss_of(index: Tensor) -> tuple[Tensor, Tensor]:
        count = len(index)
        if not filled:
            scores = model(x.index_select(0, index))
            return scores, cross_entropy(scores, y.index_select(0, index))
        drawn = torch.cat([different(count, filled, generator), different(count, filled, generator)])
        every, half = torch.cat([index, memory[drawn]]), len(drawn) // 2
        new, first, second = model(x.index_select(0, every)).split([count, half, half])
        labels, (fresh, old) = y.index_select(0, every), (slice(count), slice(count + half, None))
        loss = cross_entropy(new, labels[fresh]) + beta * cross_entropy(second, labels[old])
        return new, loss + alpha * mse_loss(first, kept[drawn[:half]])

    def advance(n: int) -> None:
        nonlocal filled, seen
        for index in islice(ids, n):
            for p in parameters:
                p.grad = None
            scores, loss = loss_of(index)
            loss.backward()
            optimizer.step()
            free = min(size - filled, len(index))
            taken = {filled + row: row for row in range(free)}
            filled, seen = filled + free, seen + free
            if free < len(index):
                shares = torch.rand(len(index) - free, generator=generator, dtype=torch.float64).tolist()
                for row, share in enumerate(shares, free):
                    seen += 1
                    if (slot := int(share * seen)) < size:
                        taken[slot] = row
            if taken:
                places, rows = list(taken), list(taken.values())
                slots[places] = index.numpy()[rows]
                kept[places] = scores.detach()[rows]

    return advance


def different(count: int, total: int, generator: torch.Generator) -> Tensor:
    """At most `count` different places below `total`, drawn as clframe draws them."""
    if total <= count:
        return torch.arange(total)
    if total < 8 * count:
        return torch.randperm(total, generator=generator)[:count]
    while True:
        places = torch.randint(total, (count,), generator=generator)
        if len(set(places.tolist())) == count:
            return places
