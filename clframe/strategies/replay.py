"""Experience replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional

from clframe import selection
from clframe.errors import bad_option
from clframe.strategies.filling import enough_for_every_class, fill_from
from clframe.strategies.part import Part, View
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class Replay(Part):
    """ER: learn from the new batch and from a batch drawn from a memory of the past.

        loss = sum_{i in new + recalled} w_i CE(f(x_i), y_i) / sum_i m_i

    where m = w, unless the weights are those of samples drawn at random ("varopt", a coreset): then m = 1.

    Args:
        size: samples in the memory.
        memory: "reservoir" (a uniform sample of everything seen), "class-balanced" (random, rare classes as often as frequent
            ones), "ring" (the newest of each class), "greedy" (the first of each class), "herding" (those whose mean is near
            the mean of their class) or "varopt" (random, samples of high loss more often and with less weight, so that the recalled
            loss is an unbiased estimate of the mean over everything seen; "varopt(mixture=0.5)" for its options).
        batch_size: samples to recall at each update; as many as the new batch by default.
        new_share: share of the loss that the new batch gets once there is something to recall, in (0, 1); or "1/k" in the k-th
            experience, so that every experience counts the same. By default every sample does.
        fill: when samples enter the memory: after every "step", or at the end of an "experience", as herding always does.

    Raises:
        OptionError: a size below the number of classes, a batch size or share out of range, an unknown memory.

    Logs:
        - ce: the weighted mean of the cross-entropy over new and recalled samples.

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "er(size=200)")
        >>> result.budget.state_bytes["er"] > 200 * 64
        True

    Reference: Chaudhry et al., "On tiny episodic memories in continual learning", 2019. With `new_share`: De Lange et al. 2023;
        with "1/k": Hess et al. 2023.
    Differences:
        1. The memory is filled after every update, so it holds samples of the experience in progress; De Lange et al. fill it at
           the end of an experience: fill="experience".
        2. With `new_share` as a number, the loss while the memory is empty is the plain cross-entropy; their code multiplies it by
           the share.
        3. The recalled samples are drawn without replacement, uniformly from the memory.
    """

    name = "er"
    state: tuple[str, ...] = ("memory",)

    def __init__(
        self,
        size: int = 500,
        memory: str = "reservoir",
        batch_size: int | None = None,
        new_share: float | Literal["1/k"] | None = None,
        fill: Literal["step", "experience"] = "step",
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise bad_option("batch_size", "a positive integer or None", batch_size, "Leave it out to recall as many as are new.")
        check_share(new_share)
        if fill not in ("step", "experience"):
            raise bad_option("fill", "'step' or 'experience'", fill, "Give fill='step'.")
        late = fill == "experience" or selection.memory(memory, size, torch.Generator()).settles
        self.size, self.kind, self.batch_size, self.new_share = size, memory, batch_size, new_share
        self.fill = "experience" if late else "step"
        if late or new_share == "1/k":
            self.requires = frozenset({"boundaries"})
        self._sample_bytes = 0

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """Make the memory, which draws from the part's generator."""
        super().bind(model, generator)
        enough_for_every_class(self.size, model)
        self.memory = selection.memory(self.kind, self.size, generator)

    def begin(self, train: Train) -> None:
        """Recalled ids are fetched from the stream seen so far."""
        self._fetch = train.fetch
        self._sample_bytes = train.sample_bytes
        self._share = 1.0 / (1 + (train.experience or 0)) if self.new_share == "1/k" else self.new_share

    def recall(self, batch: Batch) -> Batch | None:
        """Samples of the memory, weighted so that the new batch gets its share."""
        if not self.memory.filled or self._share == 1.0:
            return None
        return sharing(batch, self._drawn(self.batch_size or len(batch)), self._share)

    def _drawn(self, count: int) -> Batch:
        """Samples of the memory; what some memories say that they weigh multiplies their loss and divides nothing."""
        slots = self.memory.slots(count)
        found, weight = self._fetch(self.memory.index.index_select(0, slots)), self.memory.importance(slots)
        if weight is None:
            return found
        ones = torch.ones_like(found.y, dtype=torch.float32)
        own, mass = (ones if c is None else c for c in (found.weight, found.divisor))
        return Batch(found.x, found.y, found.index, own * weight.to(own.device), found.task, mass=mass)

    def absorb(self, view: View) -> Mapping[str, Tensor] | None:
        """Offer the new samples to the memory."""
        if self.fill == "step":
            new = view.new
            index, y = view.batch.index[new], view.batch.y[new]
            if self.memory.scored:
                self.memory.offer(index, y, functional.cross_entropy(view.logits[new].detach(), y, reduction="none"))
            else:
                self.memory.update(index, y)
        return None

    def end(self, train: Train) -> None:
        """Offer the experience's samples to a memory that is filled at its end."""
        if self.fill == "experience":
            self.forwards += fill_from(train, self.memory, self.model)

    def state_bytes(self) -> int:
        """The remembered samples as they are stored in the source, with their labels, and the memory's own counts."""
        return self.memory.filled * (self._sample_bytes + 8) + super().state_bytes()

    def describe(self) -> dict[str, object]:
        """Name and options."""
        options = {"size": self.size, "memory": self.kind, "batch_size": self.batch_size, "new_share": self.new_share}
        options |= {"fill": self.fill}
        return {"part": "Replay", "name": self.name, "options": options}


def check_share(new_share: object) -> None:
    """Refuse what is no share of the new batch."""
    if new_share not in (None, "1/k") and not (isinstance(new_share, int | float) and 0.0 < new_share < 1.0):
        rule = "a share in (0, 1), '1/k' or None"
        raise bad_option("new_share", rule, new_share, "Leave it out to count every sample the same.")


def sharing(batch: Batch, recalled: Batch, share: float | None) -> Batch:
    """The recalled samples with weights that leave the new batch this share of the loss; as they are for None."""
    if share is None:
        return recalled
    new = torch.ones(()) * len(batch) if batch.divisor is None else batch.divisor.sum()
    ones = torch.ones_like(recalled.y, dtype=torch.float32)
    old = ones if recalled.divisor is None else recalled.divisor
    factor = new / old.sum() * (1 - share) / share
    weight = (ones if recalled.weight is None else recalled.weight) * factor
    mass = None if recalled.mass is None else recalled.mass * factor
    return Batch(recalled.x, recalled.y, recalled.index, weight, recalled.task, mass=mass)
