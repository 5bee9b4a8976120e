"""PackNet: train on all that is free, prune, train again, freeze."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from clframe.errors import OptionError, bad_option
from clframe.strategies.build import Setup
from clframe.strategies.sparse.allocation import listed
from clframe.strategies.sparse.bits import members
from clframe.strategies.sparse.exchange import dropped
from clframe.strategies.sparse.subnets import Subnets

if TYPE_CHECKING:
    from torch import Tensor


class PackNet(Subnets):
    """PackNet: a task trains every free weight, keeps the largest of them, and trains those again; the others are free again.

        M_t    = used or free                                         at the start: all weights, the free ones trained
        M_t    = used or (the (1 - prune) largest |w| of the free)    in each layer, after the share `after` of the updates

    so a task computes with the weights of all tasks before it. Pruned weights are set to 0, and begin there in the next task.

    Args:
        setup: what every strategy is made from.
        prune: share of a layer's free weights that is given back, in (0, 1).
        after: share of the updates of a task before that; the rest of them train what is left.
        infer: "none" where the task is told; "entropy" or "energy" to infer it (see `Subnets`).

    Raises:
        OptionError: an option breaks its rule; a layer without a free weight when a task begins.

    Logs:
        - ce: the cross-entropy of the batch.
        - packnet/used: share of the masked weights that some task owns, when it is pruned.

    Example:
        >>> import clframe
        >>> clframe.run("task-incremental", "packnet(prune=0.8)").metrics.bwt
        0.0

    Reference: Mallya and Lazebnik, "PackNet: adding multiple tasks to a single network by iterative pruning", 2018.

    Differences:
        1. Training after pruning is the rest of the passes over the experience, instead of further ones.
        2. Biases and normalisation are private to each task; there they are frozen after the first.
        3. Owned weights are put back after every step; there their gradient is zeroed, which moves them with momentum, weight decay
           or Adam.
    """

    def __init__(self, setup: Setup, *, prune: float = 0.75, after: float = 0.5, infer: str = "none") -> None:
        for name, value in (("prune", prune), ("after", after)):
            if not 0 < value < 1:
                raise bad_option(name, "a share in (0, 1)", value, f"Give {name}={0.75 if name == 'prune' else 0.5}.")
        super().__init__(setup, "packnet", infer)
        self.prune, self.after = prune, after

    def choose(self, free: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All weights; what is not owned is trained."""
        full = [n for n in self.layers if not free[n].any()]
        if full:
            raise OptionError(
                f"task {self.tasks} must find free weights in every layer; {len(full)} layers have none ({listed(full)}). Give a "
                "larger prune from the start, or a larger model."
            )
        return {n: torch.ones_like(f) for n, f in free.items()}

    def stepped(self) -> dict[str, Tensor]:
        """Prune, once in a task."""
        if self._task in self.archive or self._steps != max(1, int(self.after * self.updates)):
            return {}
        for n, w in self._weights.items():
            free = self.masks[n] & ~self.used[n]
            leaving = dropped(w, free, min(round(self.prune * members(free)), members(free) - 1))
            self.masks[n] = self.masks[n] & ~leaving
            self.store[n] = self.store[n].masked_fill(leaving, 0.0)
            w.masked_fill_(leaving, 0.0)
        self._settle()
        return {"used": torch.tensor(self.owned, device=self.store[self.layers[0]].device)}

    def describe(self) -> Mapping[str, Any]:
        """Name and options, for the resolved spec."""
        return {"strategy": "PackNet", "options": {"prune": self.prune, "after": self.after, "infer": self.infer}}
