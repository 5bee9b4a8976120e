"""Averaged gradient episodic memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from clframe.errors import bad_option
from clframe.strategies.filling import enough_for_every_class
from clframe.strategies.gem import Episodes
from clframe.strategies.gradients import CHUNK, mean_gradient, take_out
from clframe.strategies.part import Part, View
from clframe.types import Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class AGEM(Part):
    """A-GEM: the step may not raise the loss on a batch drawn from the memory of all past experiences.

    GEM with a single constraint, the average over the past, and no quadratic program: with the update's gradient g (of the whole
    loss) and the gradient g_ref of the cross-entropy of a batch drawn from the memory,

        g <- g - <g, g_ref> / <g_ref, g_ref> g_ref      if <g, g_ref> < 0

    Args:
        size: samples in the memory, over all past experiences. Each experience gets an equal share, drawn at random when it ends;
            those before it then give up what exceeds theirs.
        batch_size: samples drawn at each update, without replacement; as many as the new batch by default.

    Raises:
        OptionError: a size below the number of classes, a batch size that is not a positive integer.

    Logs:
        - agem/projected: 1 where the gradient was projected, 0 where it did not need to be
        - agem/change: norm of the change of the gradient
        - agem/reference: norm of g_ref

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "agem(size=100)")
        >>> result.budget.state_bytes["agem"] >= 100 * 64
        True

    Reference: Chaudhry, Ranzato, Rohrbach and Elhoseiny, "Efficient lifelong learning with A-GEM", 2019, equations 10 and 11.
    Differences:
        1. Samples of past experiences only, filled when an experience ends, in equal shares that shrink as experiences come.
           Avalanche's plugin keeps a fixed number of random samples of each experience.
        2. The batch is drawn from the memory as a whole; Avalanche draws equally many samples of each past experience.
        3. The memory's batch goes through the network in evaluation mode, so that it leaves no trace in running statistics.
           Avalanche's goes in training mode, and updates them.
        4. The constraint is on the cross-entropy, whatever other parts make of the loss.
    """

    name = "agem"
    needs_head = True
    state = ("episodes",)
    requires = frozenset({"boundaries"})

    def __init__(self, size: int = 500, batch_size: int | None = None) -> None:
        self.episodes = Episodes(size)
        if batch_size is not None and batch_size < 1:
            raise bad_option("batch_size", "a positive integer or None", batch_size, "Leave it out to draw as many as are new.")
        self.size, self.batch_size = size, batch_size
        self._sample_bytes = 0
        self._log: Mapping[str, Tensor] = {}

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """The parameters whose gradients are projected."""
        super().bind(model, generator)
        enough_for_every_class(self.size, model)
        self._parameters = [p for p in model.parameters() if p.requires_grad]

    def begin(self, train: Train) -> None:
        """Remembered ids are fetched from the stream seen so far."""
        self._fetch, self._sample_bytes = train.fetch, train.sample_bytes

    def project(self, view: View) -> None:
        """Take out of the gradient what would raise the loss on a batch of the memory."""
        self._log = {}
        if not self.episodes.kept:
            return
        new = view.new
        ids = self.episodes.draw(self.batch_size or new.stop - new.start, self.generator)
        reference = mean_gradient(self.model, self._parameters, map(self._fetch, torch.split(ids, CHUNK)))
        self.forwards += len(ids)
        self.backwards += len(ids)
        self._log = take_out(self._parameters, reference)

    def absorb(self, view: View) -> Mapping[str, Tensor]:
        """The terms to log."""
        return self._log

    def end(self, train: Train) -> None:
        """Keep this experience's share of samples; the earlier ones give up what exceeds theirs."""
        self.episodes.add(torch.from_numpy(train.sample(self.size, self.generator)))

    def state_bytes(self) -> int:
        """The remembered samples as they are stored in the source, with their labels, and the ids."""
        return len(self.episodes) * (self._sample_bytes + 8) + super().state_bytes()
