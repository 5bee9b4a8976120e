"""What each kind of a model costs: numbers, FLOPs, and time that was measured, kinds taking turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clframe.exporting.exported import Latency
from clframe.exporting.kernels import SHARE
from clframe.exporting.sparse_layers import CsrLinear, GatherLinear, SemiStructuredLinear
from clframe.models.norms import WEIGHTED

ROUND_SECONDS = 0.01
"""A round of one kind takes about this long."""


def latencies(
    answers: Mapping[str, Callable[[Tensor], Tensor]], x: Tensor, batches: tuple[int, ...], threads: int, rounds: int
) -> dict[str, dict[int, Latency]]:
    """Median and quartiles of the time of one forward pass, by kind and batch size.

    Every round times each kind once, one after another, so that a busy machine slows all of them alike.

    Args:
        answers: functions of a batch, by kind.
        x: samples, repeated to fill a batch.
        batches: sizes.
        threads: processor threads.
        rounds: how often each is timed.
    """
    found: dict[str, dict[int, Latency]] = {kind: {} for kind in answers}
    with _threads(threads), torch.inference_mode():
        for batch in batches:
            full = x.repeat(-(-batch // len(x)), *[1] * (x.dim() - 1))[:batch].contiguous()
            number = {
                k: max(1, int(ROUND_SECONDS / max(min(_time(a, full, 1) for _ in range(3)), 1e-6))) for k, a in answers.items()
            }
            times: dict[str, list[float]] = {kind: [] for kind in answers}
            for _ in range(rounds):
                for kind, answer in answers.items():
                    times[kind].append(_time(answer, full, number[kind]))
            for kind, seconds in times.items():
                low, median, high = np.quantile(seconds, (0.25, 0.5, 0.75))
                found[kind][batch] = Latency(float(median), float(low), float(high))
    return found


def _time(answer: Callable[[Tensor], Tensor], x: Tensor, number: int) -> float:
    """Seconds of one call, the mean of some."""
    start = time.perf_counter()
    for _ in range(number):
        answer(x)
    if x.device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / number


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def flops(dense: nn.Module, kind: nn.Module, x: Tensor) -> int:
    """Floating-point operations of one sample; a multiply-add counts two. A sparse layer counts the weights that it has.

    Args:
        dense: the net with dense layers.
        kind: the same net, some of its Linear layers replaced.
        x: one sample (1, *input).

    Differences:
        1. Products and convolutions are counted; sums, ReLUs and normalisation, a few per cent, are not.
        2. A sparse layer counts the zeros that fill up its rows (gather, 2:4).
    """
    from torch.utils.flop_counter import FlopCounterMode

    rows: dict[str, int] = {}

    def note(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda layer, given, out: rows.update({name: rows.get(name, 0) + out.numel() // out.shape[-1]})

    hooks = [m.register_forward_hook(note(n)) for n, m in dense.named_modules() if isinstance(m, nn.Linear)]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        dense(x)
    for hook in hooks:
        hook.remove()
    total = int(counter.get_total_flops())
    for name, applied in rows.items():
        layer, replaced = dense.get_submodule(name), kind.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        total -= 2 * applied * (layer.weight.numel() - _computed(replaced))
    return total


def weights(net: nn.Module) -> int:
    """Numbers in Linear and Conv layers that are computed with."""
    return sum(_computed(m) for m in net.modules() if isinstance(m, (*WEIGHTED, CsrLinear, GatherLinear, SemiStructuredLinear)))


def memory(net: nn.Module) -> int:
    """Bytes of all tensors of a net that is loaded; of 2:4 layers, half of their weights and two bits for each of these."""
    total = 0
    for value in [*net.parameters(), *net.buffers()]:
        if value.layout == torch.sparse_csr:
            total += value.crow_indices().nbytes + value.col_indices().nbytes + value.values().nbytes
        elif type(value.data) is torch.Tensor:
            total += value.nbytes
        else:
            total += value.numel() * 9 // 8
    return total


def _computed(layer: nn.Module) -> int:
    if isinstance(layer, CsrLinear):
        return int(layer.weight.values().numel())
    if isinstance(layer, GatherLinear):
        return int(layer.value.numel())
    assert isinstance(layer.weight, Tensor)
    return int(layer.weight.numel() * (SHARE if isinstance(layer, SemiStructuredLinear) else 1))


def fastest(found: Mapping[str, Mapping[int, Latency]], margin: float = 0.05) -> str:
    """The kind with the smallest time relative to dense, the mean over batch sizes; a simpler one unless another is 5 % faster.

    Never 2:4, which computes in half precision: it has to be asked for.

    Example:
        >>> slow, fast = Latency(2.0, 2.0, 2.0), Latency(1.0, 1.0, 1.0)
        >>> fastest({"dense": {1: slow, 256: slow}, "csr": {1: fast, 256: slow}})
        'csr'
    """
    share = {
        k: float(np.mean([times[b].median / found["dense"][b].median for b in times]))
        for k, times in found.items()
        if k not in ("onnx", "2:4")
    }
    best = "dense"
    for kind, value in share.items():
        if value < share[best] * (1 - margin):
            best = kind
    return best
