"""Fill in the budget of a finished run: what was declared, counted and measured."""

from __future__ import annotations

import resource
import sys
from typing import Any

import torch

from clframe.eval.budget import Budget, Meter
from clframe.eval.evaluator import Evaluator
from clframe.models import ModelCost, Network, cost
from clframe.scenarios import Stream
from clframe.types import Strategy


def account(strategy: Strategy, network: Network, stream: Stream, evaluator: Evaluator, meter: Meter, trials: int) -> Budget:
    """The budget of a run. A strategy without a `ledger` of its own is counted as one forward and one backward pass a sample.

    A strategy that does not use the run's network says `"network": False` in its ledger; then nothing is counted of it.
    """
    samples = samples_of(stream)
    used: dict[str, Any] = {"optimizer_bytes": 0, "state_bytes": {}, "forwards": samples, "backwards": samples}
    if hasattr(strategy, "ledger"):
        used = strategy.ledger()
    model = cost(network, stream.data.train.input_shape) if used.pop("network", True) else ModelCost(0, 0, 0, 0, 0)
    return Budget(
        parameters=model.parameters,
        parameter_bytes=model.parameter_bytes,
        buffer_bytes=model.buffer_bytes,
        updates=stream.starts[-1],
        samples=samples,
        passes=samples / sum(len(s) for s in stream.segments),
        flops_forward=model.flops,
        train_flops=model.flops * (used["forwards"] + 2 * used["backwards"]),
        tuning_trials=trials,
        eval_samples=evaluator.samples,
        eval_flops=model.flops * evaluator.samples,
        train_seconds=max(0.0, meter.wall - evaluator.seconds),
        eval_seconds=evaluator.seconds,
        cpu_seconds=meter.cpu,
        peak_bytes=_peak(stream.device),
        **used,
    )


def samples_of(stream: Stream) -> int:
    """Samples that a walk along the stream delivers."""
    passes = range(stream.epochs)
    return sum(stream.order.length(stream.segments, k, e, stream.epochs) for k in range(len(stream)) for e in passes)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
