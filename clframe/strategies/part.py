"""A part: one idea of continual learning, composed with others by a `Learner`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from clframe.types import Batch, Stateful, Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


@dataclass(slots=True)
class View:
    """What a part sees of one iteration.

    Attributes:
        model: the network that is trained.
        batch: the union of the new batch (first) and of every recalled batch, (B, ...).
        groups: rows of the union by origin: "new", and the name of each part that recalled.
        features: backbone outputs (B, d).
        logits: scores (B, C).
        views: rows after the new ones that are other views of them, of parts with `recalls = "view"`.
    """

    model: Network
    batch: Batch
    groups: Mapping[str, slice]
    features: Tensor
    logits: Tensor
    views: int = 0

    @property
    def new(self) -> slice:
        """Rows of the stream's own batch."""
        return self.groups["new"]

    @property
    def recalled(self) -> slice:
        """Rows of the past that parts recalled: all that follow the new ones and other views of them."""
        return slice(self.groups["new"].stop + self.views, len(self.batch))


class Part:
    """Override only what is needed; write only your own declared state.

    A part adds to the equation of one iteration: samples (`recall`), terms of the loss (`penalty`), something learned from the
    step (`absorb`), or what answers beside the linear head (`read`). Any number of parts may do so. Four more things have one
    place each, so that at most one part of a Learner may take it: the loss of each sample (`criterion`), the gradient
    (`project`), the weights after the step (`constrain`), and the answer to `predict` (`network`, or `read` with `answers`).

    A part never writes to the batch or to another part, nor to the model but in `project` and `constrain`, and it draws random
    numbers only from `self.generator`. So the order of parts cannot matter.

    Attributes:
        name: prefix of its loss terms and address of its random numbers; unique within a Learner.
        state: attributes that survive a stop: tensors, numbers, strings, lists of them, or objects with a `state_dict`.
        requires: what the scenario must reveal: "boundaries", "classes", "task_train", "task_test".
        partners: hooks that some other part of the Learner must bring, such as "recall".
        recalls: what `recall` gives: samples of the "past", or another "view" of the new batch.
        trains_head: whether the network's own head is trained; a loss below it leaves the head as it was drawn.
        needs_head: whether it makes use of the head's scores or of the cross-entropy, so that an untrained head would mislead it.
        answers: whether `read` answers `predict`; otherwise it is measured beside the linear head.
        grows: what its state grows with, besides the classes: some of "samples", "experiences"; a bounded one with neither.
        known_failures: conformance checks that it fails, with the reason.
        optimizer: the Learner's, to read its learning rate from; set before `bind`.
        forwards, backwards: samples that it sent through a network itself, for the budget ledger.

    Example: a penalty on large logits, complete.
        >>> class Calm(Part):
        ...     name = "calm"
        ...     def penalty(self, view):
        ...         return {"logits": 0.01 * view.logits[view.new].square().mean()}
        >>> Calm().describe()
        {'part': 'Calm', 'name': 'calm', 'options': {}}
    """

    name: str = "part"
    state: tuple[str, ...] = ()
    requires: frozenset[str] = frozenset()
    partners: frozenset[str] = frozenset()
    recalls: Literal["past", "view"] = "past"
    trains_head: bool = True
    needs_head: bool = False
    answers: bool = True
    grows: frozenset[str] = frozenset()
    known_failures: ClassVar[Mapping[str, str]] = {}
    model: Network
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    forwards: int = 0
    backwards: int = 0

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """Called once by the Learner, before anything else. Make whatever needs the model's shape here."""
        self.model, self.generator = model, generator

    def begin(self, train: Train) -> None:
        """An experience begins; also called on resume, before the state is put back."""

    def recall(self, batch: Batch) -> Batch | None:
        """Samples to join the new batch, or None. Their `weight` says how much each counts in the classification loss.

        A batch made of another keeps its `mass`, scaled alike: what the loss is divided by.
        """
        return None

    def criterion(self, view: View) -> Tensor:
        """The loss (B,) of every sample of the union, instead of the cross-entropy; the Learner takes its weighted mean."""
        raise NotImplementedError

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        """Terms to add to the loss: scalars with gradients, by name."""
        return {}

    def project(self, view: View) -> None:
        """Rewrite the gradients `p.grad` of the model."""

    def constrain(self, view: View) -> None:
        """Put the weights back onto a set, such as a sphere, after the optimizer's step."""

    def absorb(self, view: View) -> Mapping[str, Tensor] | None:
        """Learn from the step just made, such as by storing its samples. What is returned is logged, and no part of the loss.

        The gradients of the step are still in `p.grad`.
        """
        return None

    def end(self, train: Train) -> None:
        """The experience is over."""

    def network(self) -> Network:
        """The network that answers `predict`, such as an average of the weights."""
        raise NotImplementedError

    def read(self, features: Tensor, logits: Tensor, task: Tensor | None) -> Tensor:
        """Scores (B, C) from the features (B, d) and the linear head's logits (B, C) of one forward."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """The declared state, plain."""
        values = {name: getattr(self, name) for name in self.state}
        plain = {name: v.state_dict() if isinstance(v, Stateful | torch.nn.Module) else _copied(v) for name, v in values.items()}
        passes = {"forwards": self.forwards, "backwards": self.backwards}
        return {"declared": plain, "generator": self.generator.get_state(), **passes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        for name, value in state["declared"].items():
            held = getattr(self, name)
            if isinstance(held, Stateful | torch.nn.Module):
                held.load_state_dict(value)
            else:
                setattr(self, name, _placed(_copied(value), held))
        self.generator.set_state(state["generator"])
        self.forwards, self.backwards = state["forwards"], state["backwards"]

    def state_bytes(self) -> int:
        """Bytes of the declared state. Override where the state stands for more than it holds, as a memory of ids does."""
        return bytes_of(self.state_dict()["declared"])

    def describe(self) -> dict[str, Any]:
        """Name and options, for the resolved spec: every constructor argument must be kept under its own name."""
        import inspect

        options = [p for p in inspect.signature(type(self)).parameters if p not in ("args", "kwargs")]
        return {"part": type(self).__name__, "name": self.name, "options": {p: getattr(self, p) for p in options}}


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, list | tuple):
        return [_copied(v) for v in value]
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return value


def _placed(value: Any, held: Any) -> Any:
    """A loaded value on the device of what it replaces: checkpoints are read on the CPU."""
    if isinstance(value, torch.Tensor) and isinstance(held, torch.Tensor):
        return value.to(held.device)
    if isinstance(value, list) and isinstance(held, list) and len(value) == len(held):
        return [_placed(v, h) for v, h in zip(value, held, strict=True)]
    return value


def bytes_of(state: Any) -> int:
    """Bytes of every tensor in a plain state; a number counts 8."""
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, Mapping):
        return sum(bytes_of(v) for v in state.values())
    if isinstance(state, list | tuple):
        return sum(bytes_of(v) for v in state)
    return 8 if isinstance(state, int | float) and not isinstance(state, bool) else 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """A named composition: parts, and the stream that they are meant for.

    Attributes:
        parts: what the Learner composes.
        stream: "given", "cumulative" (each experience with all before it) or "joint" (everything at once): upper bounds are
            the plain learner on another stream.
    """

    parts: tuple[Part, ...] = field(default_factory=tuple)
    stream: str = "given"
