"""The ledger: what a run used, by declaration and by measurement, so that tables can compare at equal budget."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Budget:
    """What one run used.

    Declared (exact; functions of the spec, the same on every machine):
        parameters: number of model parameters.
        parameter_bytes, buffer_bytes, optimizer_bytes: bytes of the model's parameters, its buffers, the optimizer's state.
        state_bytes: bytes of each part's declared state: memories with the samples they stand for, teachers, masks, Fisher
            information.
        updates: updates of the parameters.
        samples: samples of the stream that were observed, epochs counted.
        passes: `samples` over the training samples of the stream: 1.0 is one pass over the data.
        forwards, backwards: samples sent forward and backward in training, replayed, distilled and Fisher samples included.
        flops_forward: FLOPs of one sample's forward pass, counted by torch on this model.
        train_flops: flops_forward x (forwards + 2 x backwards): a backward pass counted as two forward passes.
        eval_samples, eval_flops: samples measured, and flops_forward x eval_samples.
        tuning_trials: runs that were made to choose this run's hyperparameters, as declared by whoever chose them.

    Measured (depend on the machine):
        train_seconds, eval_seconds: wall-clock time in training and in evaluation.
        cpu_seconds: processor time of the process in both.
        peak_bytes: largest resident memory of the process (its accelerator memory where there is one).
    """

    parameters: int = 0
    parameter_bytes: int = 0
    buffer_bytes: int = 0
    optimizer_bytes: int = 0
    state_bytes: Mapping[str, int] = field(default_factory=dict)
    updates: int = 0
    samples: int = 0
    passes: float = 0.0
    forwards: int = 0
    backwards: int = 0
    flops_forward: int = 0
    train_flops: int = 0
    eval_samples: int = 0
    eval_flops: int = 0
    tuning_trials: int = 0
    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """Bytes that the method keeps between two updates: parameters, buffers, optimizer and every part's state."""
        return self.parameter_bytes + self.buffer_bytes + self.optimizer_bytes + sum(self.state_bytes.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {**dataclasses.asdict(self), "state_bytes": dict(self.state_bytes)}


class Meter:
    """Wall-clock and processor time of a run, kept over stops.

    Example:
        >>> meter = Meter()
        >>> meter.wall >= 0.0
        True
    """

    def __init__(self) -> None:
        self._wall, self._cpu = 0.0, 0.0
        self._since = (time.perf_counter(), time.process_time())

    @property
    def wall(self) -> float:
        """Seconds by the clock, in all sittings."""
        return self._wall + time.perf_counter() - self._since[0]

    @property
    def cpu(self) -> float:
        """Seconds of processor time, in all sittings."""
        return self._cpu + time.process_time() - self._since[1]

    def state_dict(self) -> dict[str, Any]:
        """What has been used up to now."""
        return {"wall": self.wall, "cpu": self.cpu}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what an earlier sitting used."""
        self._wall, self._cpu = state["wall"], state["cpu"]
        self._since = (time.perf_counter(), time.process_time())
