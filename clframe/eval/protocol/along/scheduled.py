"""A method whose options change between experiences: what a protocol that chooses along the stream ends with."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from clframe.eval.protocol.setting import applied
from clframe.strategies import Setup, build
from clframe.types import Batch, Strategy, Train

ALONG = ("lr", "momentum", "weight_decay")
"""Options of a run that may change between experiences; besides them those of parts."""


@dataclass(frozen=True)
class Schedule:
    """A strategy for `clframe.run`: the method with the options of each experience.

    Attributes:
        method: in words.
        settings: options of every experience: some of `ALONG`, and those of parts, as PART.OPTION.

    Example: five times the same options are the method itself.
        >>> import clframe
        >>> along = clframe.run("split-digits", Schedule("er(size=50)", ({"lr": 0.1},) * 5))
        >>> along.metrics.acc == clframe.run("split-digits", "er(size=50)", lr=0.1).metrics.acc
        True
    """

    method: str
    settings: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.method}, scheduled"

    def __call__(self, setup: Setup) -> Scheduled:
        """The strategy."""
        return Scheduled(self.method, self.settings, setup)


class Scheduled:
    """A learner that is made anew, with other options and the same state, whenever an experience has other options.

    Args:
        method, settings: see `Schedule`.
        setup: what the method is made from; its optimizer has the options that no setting names.

    Attributes:
        learner: the method with the options of the experience in progress.
        model: its network.
    """

    def __init__(self, method: str, settings: Sequence[Mapping[str, Any]], setup: Setup) -> None:
        self._method, self._settings, self._setup = method, settings, setup
        self._fresh = copy.deepcopy({"model": setup.model})  # in a dictionary: it is nothing that an evaluation has to switch
        self._take(0)
        self.requires = self.learner.requires | {"boundaries"}

    def _take(self, position: int) -> None:
        """Make the learner of an experience, in the state of one that has learned nothing."""
        setup = replace(self._setup, model=copy.deepcopy(self._fresh["model"]))
        self.position = position
        self.learner: Any = made(self._method, self._settings[position], setup)
        self.model = getattr(self.learner, "model", None)

    def begin(self, train: Train) -> None:
        """An experience begins, and with it its options."""
        assert train.experience is not None, "boundaries are required"
        if self._settings[train.experience] != self._settings[self.position]:
            state = self.learner.state_dict()
            self._take(train.experience)
            carry_over(state, self.learner)
        self.position = train.experience
        self.learner.begin(train)

    def observe(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        """One iteration."""
        found: Mapping[str, torch.Tensor] = self.learner.observe(batch)
        return found

    def end(self, train: Train) -> None:
        """The experience is over."""
        self.learner.end(train)

    def predict(self, x: torch.Tensor, task: torch.Tensor | None = None) -> torch.Tensor:
        """Scores (B, C)."""
        scores: torch.Tensor = self.learner.predict(x, task)
        return scores

    def state_dict(self) -> dict[str, Any]:
        """The learner's, and whose options it has."""
        return {"position": self.position, "learner": self.learner.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        if state["position"] != self.position:
            self._take(state["position"])
        self.learner.load_state_dict(state["learner"])

    def describe(self) -> dict[str, Any]:
        """For the resolved spec."""
        settings = [dict(values) for values in self._settings]
        return {"strategy": "Scheduled", "method": self._method, "settings": settings, "learner": self.learner.describe()}

    def __getattr__(self, name: str) -> Any:
        """What else a learner may offer: heads that are measured beside the answer, a ledger."""
        if name.startswith("_") or name == "learner":
            raise AttributeError(name)
        return getattr(self.learner, name)


def made(method: str, values: Mapping[str, Any], setup: Setup) -> Strategy:
    """The method with these options, in the state of one that has learned nothing."""
    words, chosen = applied(method, values)

    def optimizer(parameters: Iterable[Any]) -> torch.optim.Optimizer:
        found = setup.optimizer(parameters)
        for group in found.param_groups:
            group.update(chosen)
        return found

    return build(words, replace(setup, optimizer=optimizer))


def carry_over(state: Mapping[str, Any], learner: Any) -> None:
    """Put a state into a learner of other options: everything that was learned, none of the optimizer's options.

    Parts that the learner does not have are left out, so that plain fine-tuning may go on from where a method stands.
    """
    groups = [{key: value for key, value in group.items() if key != "params"} for group in learner.optimizer.param_groups]
    parts = {part.name: state["parts"][part.name] for part in learner.parts}
    learner.load_state_dict({**state, "parts": parts})
    for group, options in zip(learner.optimizer.param_groups, groups, strict=True):
        group.update(options)
