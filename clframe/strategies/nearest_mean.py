"""A head that answers with the class whose remembered samples are nearest on average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from clframe import selection
from clframe.strategies.class_means import ClassMeans, class_means, in_chunks
from clframe.strategies.filling import enough_for_every_class, fill_from
from clframe.strategies.part import Part, View
from clframe.types import Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class NearestMean(Part):
    """Nearest-mean head: classify by the distance to the mean feature of each class, over remembered samples.

        score_c(x) = -|| phi(x) - mu_c ||^2,      mu_c = mean of phi(x_i) over the remembered samples of class c

    with phi the features that the linear head reads, under the network as it is now and in evaluation mode: the means move with
    every update. With `normalised`, phi and mu have unit norm: phi / ||phi||, then mu / ||mu||. A class of which nothing is
    remembered is never the answer, nor is one that the linear head rules out (another task's, one not yet met).

    It does not change training. By default it is measured beside the linear head, in the same forward; the difference between
    the two says how much of a loss lies in the linear head.

    Args:
        size: samples in the memory of the head, which is its own.
        memory: how they are chosen: "class-balanced", "reservoir", "ring", "greedy" or "herding" (see `er`).
        normalised: compare directions only.
        answer: answer `predict` with this head, and measure the linear one beside it.

    Raises:
        OptionError: a size below the number of classes, or an unknown memory.

    Logs:
        - ce: the cross-entropy of the linear head.

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "er+nmc-head(answer=True)", evaluate="boundaries")
        >>> result.budget.state_bytes["nmc-head"] > 200 * 64
        True

    Reference: Lapacz, Marczak, Szatkowski, Trzcinski, "Exploring the stability gap in continual learning: the role of the
        classification head", 2025; the rule: Mensink et al., "Distance-based image classification", 2013, and with
        normalised=True Rebuffi et al., "iCaRL", 2017, algorithm 1.
    Differences:
        1. The samples are chosen while the stream is learned, so the classes of the experience in progress have means, too; only
           "herding" waits for the end of an experience, as published.
        2. A class has one mean, also where several tasks share its label.
    """

    name = "nmc-head"
    state = ("memory",)

    def __init__(self, size: int = 200, memory: str = "class-balanced", normalised: bool = False, answer: bool = False) -> None:
        self._late = selection.memory(memory, size, torch.Generator()).settles
        self.size, self.kind, self.normalised, self.answer = size, memory, normalised, answer
        self.answers = answer
        if self._late:
            self.requires = frozenset({"boundaries"})
        self._sample_bytes = 0
        self._means: ClassMeans | None = None

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """Make the memory, which draws from the part's generator."""
        super().bind(model, generator)
        enough_for_every_class(self.size, model)
        self.memory = selection.memory(self.kind, self.size, generator)

    def begin(self, train: Train) -> None:
        """Remembered ids are fetched from the stream seen so far."""
        self._fetch, self._sample_bytes, self._means = train.fetch, train.sample_bytes, None

    def absorb(self, view: View) -> None:
        """The weights have moved, and so have the means. Offer the new samples to the memory."""
        self._means = None
        if not self._late:
            self.memory.update(view.batch.index[view.new], view.batch.y[view.new])

    def end(self, train: Train) -> None:
        """Fill a memory that waits for the end of an experience."""
        if self._late:
            self._means = None
            self.forwards += fill_from(train, self.memory, self.model)

    def read(self, features: Tensor, logits: Tensor, task: Tensor | None) -> Tensor:
        """The distances; the means are worked out when they are first asked for after an update."""
        remembered = self.memory.index[: self.memory.filled]
        if not len(remembered):
            return torch.full_like(logits, -torch.inf)
        if self._means is None:
            self._means = class_means(self.model, in_chunks(self._fetch, remembered), self.normalised)
        return self._means.scores(features).masked_fill(logits.isneginf(), -torch.inf)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        super().load_state_dict(state)
        self._means = None

    def state_bytes(self) -> int:
        """The remembered samples as they are stored in the source, with their labels, and the memory's own counts."""
        return self.memory.filled * (self._sample_bytes + 8) + super().state_bytes()

    def describe(self) -> dict[str, Any]:
        """Name and options."""
        options = {"size": self.size, "memory": self.kind, "normalised": self.normalised, "answer": self.answer}
        return {"part": "NearestMean", "name": self.name, "options": options}
