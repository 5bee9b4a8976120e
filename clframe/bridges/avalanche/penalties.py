"""clframe's parts of the penalty kind as plugins of Avalanche."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from avalanche.models import MultiTaskModule
from torch import Tensor

from clframe.errors import CompositionError, bad_option
from clframe.models import Network
from clframe.models.head import NoHead
from clframe.registry import call, parse, split
from clframe.seeding import generator, isolated
from clframe.strategies import STRATEGIES
from clframe.strategies.composition import overrides, refuse_conflicts
from clframe.strategies.part import Part, View
from clframe.types import Batch, Ids

HOOKS = {
    "recall": "recalls samples",
    "criterion": "replaces the loss of each sample",
    "project": "rewrites the gradient",
    "constrain": "changes the weights after the step",
    "network": "answers with another network",
    "read": "answers from the features",
}
"""What a part may do in a Learner and not here."""


def penalty(part: str | Part | Sequence[Part], *, seed: int = 0) -> PenaltyPlugin:
    """Parts that add terms to the loss (ewc, si, mas, lwf, rwalk, parts of your own) as a plugin for any Avalanche strategy.

    Args:
        part: a part, several, or words, such as "ewc(strength=100)" and "si+lwf". Parts are copied.
        seed: root of the parts' random numbers.

    Raises:
        CompositionError: a part that does more than add to the loss and learn from the step, or a strategy that is no part.
        OptionError: an unknown name or option.

    Example:
        >>> from clframe.bridges.avalanche import penalty
        >>> [part.name for part in penalty("si(strength=1)+lwf").parts]
        ['lwf', 'si']
        >>> penalty("er(size=100)")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        clframe.errors.CompositionError: a penalty must only add to the loss; 'er' recalls samples. ... run it in clframe.

    Differences:
        1. The model's outputs are its logits: a part that looks at features, as in a Learner, sees the outputs.
        2. All samples of a mini-batch are new ones; also those that a replay plugin has added.
    """
    parts = _from_words(part) if isinstance(part, str) else copy.deepcopy([part] if isinstance(part, Part) else list(part))
    for one in parts:
        does = next((what for hook, what in HOOKS.items() if overrides(one, hook)), None)
        if does is not None:
            raise CompositionError(
                f"a penalty must only add to the loss; {one.name!r} {does}. Take Avalanche's plugin for that, or run it in clframe."
            )
    refuse_conflicts(tuple(parts))
    return PenaltyPlugin(parts, seed)


class PenaltyPlugin:
    """Adds the terms of parts to the loss of an Avalanche strategy; made by `penalty`.

    Attributes:
        parts: the parts, by name.
        terms: the value of each term at the last iteration.
    """

    supports_distributed = False

    def __init__(self, parts: Sequence[Part], seed: int) -> None:
        self.parts = tuple(sorted(parts, key=lambda p: p.name))
        self.terms: dict[str, float] = {}
        self._seed, self._number = seed, -1
        self._network: Network | None = None
        self._view: View | None = None

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        """An experience begins; at the first one, the parts are bound to the model."""
        self._number += 1
        train = ExperienceSide(strategy, self._number, self._classes(strategy))
        if self._network is None:
            self._network = Network(strategy.model, NoHead(train.num_classes))
            for part in self.parts:
                part.optimizer = strategy.optimizer
                part.bind(self._network, generator(self._seed, "part", part.name))
            self._held = [id(p) for p in strategy.model.parameters()]
        elif [id(p) for p in strategy.model.parameters()] != self._held:
            raise CompositionError(
                "a model with a penalty of clframe must keep its parameters; this one has other parameters than at first. Give it "
                "outputs for all classes from the start."
            )
        for part in self.parts:
            part.begin(train)

    def before_backward(self, strategy: Any, **_: Any) -> None:
        """The terms are added to the loss."""
        assert self._network is not None
        x, y = strategy.mbatch[0], strategy.mbatch[1]
        batch = Batch(x, y, torch.arange(len(y)))
        scores = strategy.mb_output
        self._view = View(self._network, batch, {"new": slice(0, len(y))}, scores, scores)
        found: dict[str, Tensor] = {}
        for part in self.parts:
            found |= {f"{part.name}/{name}": value for name, value in part.penalty(self._view).items()}
        self.terms = {name: float(value.detach()) for name, value in found.items()}
        for value in found.values():
            strategy.loss = strategy.loss + value

    def after_update(self, strategy: Any, **_: Any) -> None:
        """The step is made; its gradients are still there."""
        assert self._view is not None
        for part in self.parts:
            if overrides(part, "absorb"):
                part.absorb(self._view)
        self._view = None

    def after_training_exp(self, strategy: Any, **_: Any) -> None:
        """The experience is over."""
        train = ExperienceSide(strategy, self._number, self._classes(strategy))
        for part in self.parts:
            part.end(train)

    def _classes(self, strategy: Any) -> int:
        """Outputs of the model."""
        if isinstance(strategy.model, MultiTaskModule):
            raise CompositionError(
                "a penalty of clframe needs a model with one head; this one has a head for each task. Take a model with one head, "
                "or run the strategy in clframe with head='multi'."
            )
        if self._network is not None:
            return self._network.num_classes
        x = strategy.experience.dataset.train()[0][0]
        with isolated(strategy.model):
            return int(strategy.model(torch.as_tensor(x)[None].to(strategy.device)).shape[1])


class ExperienceSide:
    """The training side of an experience of Avalanche: see `clframe.types.Train`. Ids are places in its data set.

    Args:
        strategy: in an experience.
        number: of the experience.
        num_classes: outputs of the model.
    """

    def __init__(self, strategy: Any, number: int, num_classes: int) -> None:
        self._data, self._device = strategy.experience.dataset.train(), strategy.device
        self.num_classes = num_classes
        self.experience: int | None = number
        self.size: int | None = len(self._data)
        self.classes: tuple[int, ...] | None = tuple(sorted({int(c) for c in self._data.targets.uniques}))
        self.task: int | None = None
        self.sample_bytes = 4 * int(np.prod(self._data[0][0].shape))

    def fetch(self, index: Tensor) -> Batch:
        """The samples at these places."""
        rows = [self._data[int(i)] for i in index]
        x = torch.stack([torch.as_tensor(row[0]) for row in rows]).to(self._device)
        return Batch(x, torch.tensor([int(row[1]) for row in rows], device=self._device), index)

    def batches(self, size: int, order: Ids | None = None) -> Iterator[Batch]:
        """One pass over the samples, in stored order or in the given one."""
        places = torch.arange(len(self._data)) if order is None else torch.from_numpy(np.asarray(order))
        for low in range(0, len(places), size):
            yield self.fetch(places[low : low + size])

    def sample(self, count: int, generator: torch.Generator) -> Ids:
        """At most `count` different places, drawn at random."""
        found: Ids = torch.randperm(len(self._data), generator=generator)[:count].numpy()
        return found


def _from_words(words: str) -> list[Part]:
    found = []
    for piece in split(words, "+"):
        name, options = parse(piece)
        make = STRATEGIES.load(name)
        made = None if "setup" in inspect.signature(make).parameters else _made(name, make, options)
        if not isinstance(made, Part):
            raise CompositionError(f"a penalty must be a part, such as 'ewc'; {name!r} is none. Run it in clframe.")
        found.append(made)
    if not found:
        raise bad_option("part", "a part or the name of one, such as 'ewc'", words, "See clframe list.")
    return found


def _made(name: str, make: Any, options: Mapping[str, object]) -> Any:
    return call("strategy", name, make, options)
