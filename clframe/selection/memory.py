"""A bounded memory of ids over a stream: what it keeps is decided by a rule such as reservoir or class-balanced sampling.

A memory holds ids, not samples: the data stays where it is, and a recalled id is fetched (and augmented) like any other.
Its bytes are declared as if the samples were stored, because on a device they would be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from clframe.errors import bad_option
from clframe.types import Ids, Selection

if TYPE_CHECKING:
    from torch import Tensor


class Memory(ABC):
    """Slots for at most `size` ids, filled by one pass over a stream, and whatever else is kept of each sample.

    Subclasses implement `update`, which sees each batch once and must cost the same whatever `size` is, and set
    `self.seen`. Those that choose among all samples of an experience at once implement `settle` as well, and set
    `settles`. They draw only from `self.generator`.

    Args:
        size: number of slots.
        generator: the memory's own random numbers.

    Attributes:
        index: ids (size,), int64; the first `filled` are in use.
        extra: what is kept beside the ids, by name, (size, ...): logits, features, ...
        filled: slots in use.
        seen: samples offered so far.
        settles: whether it is filled by `settle`, at the end of an experience.
        scored: whether `offer` makes use of the losses that it is given.
        unbiased: whether samples are kept at random with the probabilities that `selection` gives.
        withheld: ids that are not drawn although they are remembered, so that something may be tuned on them; no state.
    """

    settles: ClassVar[bool] = False
    scored: ClassVar[bool] = False
    unbiased: ClassVar[bool] = True
    withheld: Tensor | None = None

    def __init__(self, size: int, generator: torch.Generator) -> None:
        if not isinstance(size, int) or size < 1:
            raise bad_option("size", "a positive integer", size, "Give size=500 for 500 remembered samples.")
        self.size, self.generator = size, generator
        self.index = torch.zeros(size, dtype=torch.int64)
        self.extra: dict[str, Tensor] = {}
        self._slots: Ids = self.index.numpy()
        self.filled = 0
        self.seen = 0

    @abstractmethod
    def update(self, index: Tensor, y: Tensor) -> Tensor:
        """Offer the samples of one batch, ids (B,) on the CPU and labels (B,) on any device, in order.

        Returns:
            The slot (B,) that each sample holds now, int64 on the CPU; -1 for one that is not kept.
        """

    def offer(self, index: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        """As `update`, with the loss (B,) that the model has of each sample, for memories that are `scored`."""
        return self.update(index, y)

    def merge(self, index: Tensor, y: Tensor, loss: Tensor, held: Tensor) -> Tensor:
        """As `offer`, for a whole experience that is over, with the loss that the model has now of what is held, (filled,)."""
        return self.offer(index, y, loss)

    def settle(self, index: Tensor, y: Tensor, features: Tensor) -> None:
        """An experience is over: choose among all its samples by their ids (n,), labels (n,) and features (n, d)."""
        raise NotImplementedError

    @abstractmethod
    def selection(self) -> Selection:
        """What is remembered, with the inclusion probability of each and the weight 1 / probability."""

    def keep(self, slots: Tensor, **extra: Tensor) -> None:
        """Keep something of each sample of the batch just offered: values (B, ...), at the slots (B,) that `update` returned."""
        taken = slots >= 0
        if not taken.any():
            return
        places = slots[taken]
        for name, value in extra.items():
            if name not in self.extra:
                self.extra[name] = value.new_zeros((self.size, *value.shape[1:]), requires_grad=False)
            held = self.extra[name]
            held[places.to(held.device)] = value.detach()[taken.to(value.device)].to(held.device)

    def slots(self, count: int) -> Tensor:
        """At most `count` different slots in use (k,), uniformly at random, without those whose samples are withheld."""
        if self.withheld is not None:
            free = (~torch.isin(self.index[: self.filled], self.withheld)).nonzero().flatten()
            return free[torch.randperm(len(free), generator=self.generator)[:count]]
        if self.filled <= count:
            return torch.arange(self.filled)
        if self.filled < 8 * count:
            return torch.randperm(self.filled, generator=self.generator)[:count]
        while True:
            slots = torch.randint(self.filled, (count,), generator=self.generator)
            if len(set(slots.tolist())) == count:
                return slots

    def importance(self, slots: Tensor) -> Tensor | None:
        """What the samples in these slots (k,) weigh in the loss, where slots are drawn alike; None: all the same."""
        return None

    def draw(self, count: int) -> Tensor:
        """At most `count` different remembered ids (k,), uniformly at random."""
        return self.index.index_select(0, self.slots(count))

    def state_dict(self) -> dict[str, Any]:
        """Ids, extras, counts and the generator: plain tensors and numbers."""
        return {
            "index": self.index[: self.filled].clone(),
            "extra": {name: value[: self.filled].clone() for name, value in self.extra.items()},
            "seen": self.seen,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.filled, self.seen = len(state["index"]), state["seen"]
        self.index[: self.filled] = state["index"]
        self.extra = {name: value.new_zeros((self.size, *value.shape[1:])) for name, value in state["extra"].items()}
        for name, value in state["extra"].items():
            self.extra[name][: self.filled] = value
        self.generator.set_state(state["generator"])

    def __len__(self) -> int:
        return self.filled


def last_of_each(slots: list[int]) -> Tensor:
    """The slots (B,), where of several samples that took the same slot only the last still holds it; -1 for the others."""
    taken = set[int]()
    for position in range(len(slots) - 1, -1, -1):
        if slots[position] in taken:
            slots[position] = -1
        elif slots[position] >= 0:
            taken.add(slots[position])
    return torch.tensor(slots, dtype=torch.int64)
