"""An Avalanche strategy that trains by itself, as clframe's evaluator and ledger see it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from avalanche.models.utils import avalanche_forward
from torch import Tensor, nn

from clframe.bridges.avalanche.answers import answer
from clframe.bridges.avalanche.making import plain_plugins
from clframe.bridges.avalanche.sizes import state_bytes
from clframe.environment import describe
from clframe.eval.budget import Meter
from clframe.eval.evaluator import Evaluator
from clframe.eval.records import Records
from clframe.eval.result import Result
from clframe.ledger import account
from clframe.rundir import identity
from clframe.scenarios.stream import Stream
from clframe.strategies.part import bytes_of


class Watched:
    """What can be asked of a strategy while Avalanche trains it.

    Attributes:
        avalanche: the strategy.
        model: its model, as of the last `now`.
        samples: samples of its iterations, remembered ones included.
    """

    requires: frozenset[str] = frozenset()

    def __init__(self, strategy: Any, num_classes: int) -> None:
        self.avalanche, self._num_classes = strategy, num_classes
        self.model: nn.Module = strategy.model
        self.samples = 0

    def now(self) -> Any:
        """Itself, with the model that the strategy has now."""
        self.model = self.avalanche.model
        return self

    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Scores (B, C), as Avalanche's `eval` has them."""
        return answer(self.avalanche, x, task, self._num_classes)

    def ledger(self) -> dict[str, Any]:
        """See `AvalancheStrategy.ledger`."""
        optimizer = bytes_of(self.avalanche.optimizer.state_dict()["state"])
        kept = state_bytes(self.avalanche, self.sample_bytes)
        return {
            "optimizer_bytes": optimizer,
            "state_bytes": {"avalanche": kept},
            "forwards": self.samples,
            "backwards": self.samples,
        }

    sample_bytes = 0

    def spec(self, stream: Stream, name: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
        """What is trained on what, in the form of the spec of a run."""
        strategy = self.avalanche
        self.sample_bytes = stream.experiences[0].train.sample_bytes
        plugins = plain_plugins(strategy)
        words = "+".join([type(strategy).__name__, *(p["plugin"] for p in plugins)])
        options = {
            "scenario": stream.name,
            "strategy": name or words,
            "model": type(strategy.model).__name__,
            "optimizer": type(strategy.optimizer).__name__.lower(),
            "lr": strategy.optimizer.param_groups[0]["lr"],
            "batch_size": strategy.train_mb_size,
            "epochs": strategy.train_epochs,
            "tuning": "none declared",
            **given,
        }
        resolved = {
            "stream": stream.fingerprint(),
            "reveals": sorted(stream.reveals.names()),
            "experiences": len(stream),
            "tested_on": stream.tested_on,
            "device": strategy.device.type,
            "name": stream.name,
            "strategy": {"strategy": f"Avalanche {type(strategy).__name__}", "plugins": plugins},
        }
        spec = {"options": options, "resolved": resolved}
        return {**spec, "identity": identity(spec), "from_words": False, "data_dir": None}


class _SingleInput(nn.Module):
    """A model that is asked as clframe's networks are: the task may be told."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Scores (B, C)."""
        found: Tensor = avalanche_forward(self.model, x, torch.zeros(len(x), dtype=torch.int64) if task is None else task)
        return found


def finished(
    spec: Mapping[str, Any],
    watched: Watched,
    stream: Stream,
    evaluator: Evaluator,
    records: Records,
    meter: Meter,
    n: int,
    done: bool,
) -> Result:
    """The result of a run that Avalanche trained."""
    network: Any = _SingleInput(watched.avalanche.model)
    budget = account(watched.now(), network, stream, evaluator, meter, 0)
    return Result(
        strategy=spec["options"]["strategy"],
        scenario=stream.name,
        seed=spec["options"]["seed"],
        spec=spec,
        rows=records.rows(),
        terms=records.terms(),
        classes=records.classes(),
        budget=dataclasses.replace(budget, updates=n),
        environment=describe(watched.avalanche.device, torch.get_num_threads()),
        finished=done,
        representation=evaluator.represented(),
    )
