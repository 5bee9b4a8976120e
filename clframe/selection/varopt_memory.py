"""A memory in which hard samples are more probable, whose weighted loss is an unbiased estimate of the mean past loss."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import numpy.typing as npt
import torch

from clframe.errors import bad_option
from clframe.selection.draws.varopt import Kept, keep
from clframe.selection.memory import Memory, last_of_each
from clframe.types import Selection

if TYPE_CHECKING:
    from torch import Tensor

SCORES = ("loss", "equal")


@final
class VarOpt(Memory):
    """A sample of fixed size of everything seen, in proportion to a score, with the weights that take the favour back.

        p_i = min(1, q_i / tau),   sum_i p_i = size over the n samples seen,   W_i = 1 / p_i
        q_i = (1 - a) l_i / mean + a,   mean that of the losses l offered with it

    sum_{i kept} W_i f_i / n is an unbiased estimate of the mean of any f over everything seen, such as the loss of the model to
    come: a sample that is twice as probable counts half. Slots are recalled alike, and a recalled sample's loss is multiplied by
    W_i size / n (`importance`). Where all scores are equal, it is reservoir sampling.

    `offer` gives every sample the score that it has when it comes; what leaves is drawn among it and those that are held. Cost per
    sample: O(log size), on average over a stream. `merge` brings in a whole experience at once, and what is held has a new score q'
    then, by the model as it is now: it is kept with probability min(1, W_i q'_i / tau), by which W_i is divided.

    Args:
        size: number of slots.
        generator: the memory's own random numbers.
        score: "loss", the loss that the model has of a sample when it is offered; or "equal", 1.
        mixture: a, in (0, 1]: what part of the score is the same for all. W_i is at most about 1 / a times that of a reservoir.

    Raises:
        OptionError: an option breaks its rule.

    Example:
        >>> memory = VarOpt(3, torch.Generator().manual_seed(0))
        >>> loss = torch.tensor([4.0] + [0.5] * 8)
        >>> slots = memory.offer(torch.arange(9), torch.zeros(9, dtype=torch.int64), loss)
        >>> memory.selection().weight.round(2).tolist(), memory.seen
        ([1.09, 3.84, 3.84], 9)

    Reference: Cohen, Duffield, Kaplan, Lund and Thorup, "Efficient stream sampling for variance-optimal estimation of subset sums",
        SIAM Journal on Computing 40, 2011, algorithm VarOpt_k.
    Differences:
        1. Their weight of a kept sample estimates sums of the scores, max(q_i, tau). Here that is divided by q_i, so that sums of
           anything else, such as of later losses, are estimated; and scores may change between two merges.
        2. The use as a replay memory, the score and its mixture are not theirs.
        3. Where no losses are given (`update`), every score is 1. Of the methods, er, er-ace and er-agem give losses and use the
           weights; mir gives losses and chooses by a rule of its own; bic and nmc-head give none.
    """

    scored: ClassVar[bool] = True

    def __init__(self, size: int, generator: torch.Generator, score: str = "loss", mixture: float = 0.5) -> None:
        super().__init__(size, generator)
        if score not in SCORES:
            raise bad_option("score", "'loss' or 'equal'", score, "Give score=loss.")
        if not 0 < mixture <= 1:
            raise bad_option("mixture", "a share in (0, 1]", mixture, "Give mixture=0.5.")
        self.score, self.mixture = score, mixture
        self._q, self._v = np.zeros(size), np.zeros(size)  # score, and score times the weight that it came with
        self._tau = 0.0
        self._large: list[tuple[float, int]] = []  # a heap of (score, slot): scores above tau, which are kept for certain
        self._small: list[int] = []  # slots of the others: each stands for tau

    def update(self, index: Tensor, y: Tensor) -> Tensor:
        """Offer one batch, with equal scores."""
        return self._keep(index, [1.0] * len(index))

    def offer(self, index: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        """Offer one batch with its losses (B,), finite or not; one that is not counts as the mean one."""
        return self._keep(index, self._scores(loss))

    def merge(self, index: Tensor, y: Tensor, loss: Tensor, held: Tensor) -> Tensor:
        """Offer a whole experience at once, with its losses (B,) and those of what is held now, slot by slot (filled,).

        Returns the slots as `update` does; what stays keeps its slot. Cost: O((size + B) log(size + B)).
        """
        scores, weights, first = np.array(self._scores(torch.cat([held, loss]))), self._weights(), self.filled
        own = np.concatenate([weights, np.ones(len(index))])
        random = np.random.default_rng(int(torch.randint(2**62, (1,), generator=self.generator)))
        kept = keep(self.size, random, Kept(np.arange(len(scores)), scores * own))
        free = np.setdiff1d(np.arange(self.size), kept.rows[kept.rows < first])
        is_new = kept.rows >= first
        slots = kept.rows.copy()
        slots[is_new] = free[: is_new.sum()]
        self.seen, self.filled = self.seen + len(index), len(slots)
        self._slots[slots[is_new]] = index.numpy()[kept.rows[is_new] - first]
        self._q[slots], self._v[slots] = scores[kept.rows], kept.weight
        self._tau = float(kept.weight.min()) if len(scores) > self.size else 0.0
        small = kept.weight <= self._tau * (1 + 1e-12)
        self._small = slots[small].tolist()
        self._large = list(zip(kept.weight[~small].tolist(), slots[~small].tolist(), strict=True))
        heapq.heapify(self._large)
        taken = torch.full((len(index),), -1, dtype=torch.int64)
        taken[torch.from_numpy(kept.rows[is_new] - first)] = torch.from_numpy(slots[is_new])
        return taken

    def _scores(self, loss: Tensor) -> list[float]:
        losses = loss.tolist()
        finite = [value for value in losses if 0 <= value < math.inf]
        mean = sum(finite) / len(finite) if finite else 0.0
        if self.score == "equal" or mean == 0.0:
            return [1.0] * len(losses)
        share = (1 - self.mixture) / mean
        return [share * (value if 0 <= value < math.inf else mean) + self.mixture for value in losses]

    def _keep(self, index: Tensor, scores: list[float]) -> Tensor:
        draws = torch.rand(len(scores), 2, generator=self.generator, dtype=torch.float64).tolist()
        slots = []
        for i, q, (u, v) in zip(index.tolist(), scores, draws, strict=True):
            self.seen += 1
            slot = self.filled if self.filled < self.size else self._gives_way(q, u, v)
            slots.append(slot)
            if slot < 0:
                continue
            self._slots[slot], self._q[slot], self._v[slot] = i, q, q
            if self.filled < self.size:
                self.filled += 1
            if q > self._tau:
                heapq.heappush(self._large, (q, slot))
            else:
                self._small.append(slot)
        return last_of_each(slots)

    def _gives_way(self, q: float, u: float, v: float) -> int:
        """Find tau among those held and a new sample of score q; the slot that is free then, -1 where the new one is dropped.

        Of the size + 1 samples one must go, so that the sum of min(1, q / tau') over them shall be size. With X the scores of those
        that fall below the threshold now, and m others that were below it: tau' = (sum X + m tau) / (|X| + m - 1).
        """
        fallen: list[tuple[float, int]] = []
        total, count, is_large = self._tau * len(self._small), len(self._small), q > self._tau
        if not is_large:
            fallen.append((q, -1))
            total, count = total + q, count + 1
        while self._large or is_large:
            newest = is_large and (not self._large or q < self._large[0][0])
            least = q if newest else self._large[0][0]
            if count >= 2 and least * (count - 1) > total:
                break
            fallen.append((q, -1) if newest else heapq.heappop(self._large))
            total, count, is_large = total + least, count + 1, is_large and not newest
        self._tau = total / (count - 1)
        gone = self._drawn(fallen, u, v)
        self._small += [slot for _, slot in fallen if slot >= 0 and slot != gone]
        return gone

    def _drawn(self, fallen: list[tuple[float, int]], u: float, v: float) -> int:
        """Which one goes, each with probability 1 - (what it stood for) / tau: one that has just fallen, or one of the rest."""
        for q, slot in fallen:
            u -= 1 - q / self._tau
            if u < 0:
                return slot
        if not self._small:  # the probabilities add up to 1, but for rounding
            return fallen[-1][1]
        place = int(v * len(self._small))
        gone = self._small[place]
        self._small[place] = self._small[-1]
        self._small.pop()
        return gone

    def selection(self) -> Selection:
        """Each with its weight W, and the probability 1 / W: that of having been kept until now, each time it could have left."""
        weight = self._weights()
        return Selection(self._slots[: self.filled].copy(), weight, 1.0 / weight)

    def _weights(self) -> npt.NDArray[np.float64]:
        """W_i = max(v_i, tau) / q_i of every slot in use."""
        weight: npt.NDArray[np.float64] = np.maximum(self._v[: self.filled], self._tau) / self._q[: self.filled]
        return weight

    def importance(self, slots: Tensor) -> Tensor | None:
        """W_i m / n of the samples in these slots (k,), of m that are held, float32; None where all scores are equal by option."""
        if self.score == "equal":
            return None
        places = slots.numpy()
        weight = np.maximum(self._v[places], self._tau) / self._q[places] * (self.filled / max(self.seen, 1))
        return torch.from_numpy(weight.astype(np.float32))

    def state_dict(self) -> dict[str, Any]:
        """As `Memory.state_dict`, with the scores, the threshold, and which slots lie on which side of it."""
        return {
            **super().state_dict(),
            "q": torch.tensor(self._q[: self.filled]),
            "v": torch.tensor(self._v[: self.filled]),
            "tau": self._tau,
            "large": [slot for _, slot in self._large],
            "small": list(self._small),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        super().load_state_dict(state)
        self._q[: self.filled], self._v[: self.filled] = state["q"].numpy(), state["v"].numpy()
        self._tau = state["tau"]
        self._large = [(float(self._v[slot]), slot) for slot in state["large"]]
        self._small = list(state["small"])
