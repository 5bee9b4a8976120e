"""Dark experience replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from clframe.errors import bad_option
from clframe.selection import Reservoir
from clframe.strategies.filling import enough_for_every_class
from clframe.strategies.loss import classification_loss, weighted_mean
from clframe.strategies.part import Part, Recipe, View
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class DER(Part):
    """DER: remembered samples must keep the scores that the model gave them when they were stored.

    The memory is a reservoir, a uniform sample of everything seen. Each sample is stored with its logits z = f(x) of the update in
    which it was learned: in training mode, before the step.

        loss = mean_{i in new} CE(f(x_i), y_i)                               (x_i, y_i) of the new batch
             + alpha * mean_j mean_c (f(x_j)_c - z_jc)^2                     (x_j, z_j) drawn from the memory
             + beta  * mean_k CE(f(x_k), y_k)                                (x_k, y_k) drawn from it once more

    With beta = 0 there is no third term and no second draw; with it, the method is called DER++.

    Args:
        size: samples in the memory.
        alpha: weight of the distance between the logits.
        beta: weight of the remembered labels.
        batch_size: samples to draw each time; as many as the new batch by default.

    Raises:
        OptionError: a negative alpha or beta, a size below the number of classes, a batch size that is not positive.

    Logs:
        - ce: the cross-entropy of the new batch
        - der/logits: alpha times the mean squared difference of the logits
        - der/replay: beta times the cross-entropy of the second draw

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "der(size=200)")
        >>> result.budget.state_bytes["der"] > 200 * (64 + 4 * 10)
        True

    Reference: Buzzega, Boschini, Porrello, Abati and Calderara, "Dark experience for general continual learning: a strong, simple
        baseline", 2020, algorithms 1 (DER) and 2 (DER++).
    Differences:
        1. The distance is the mean over the classes, as in the authors' code (Mammoth), for which their alphas are tuned; the paper
           writes the squared norm, which is their sum.
        2. A class without a score, then or now (heads "masked" and "multi"), is left out of the mean.
        3. New and recalled samples go through the network together, as in Avalanche; in Mammoth each draw is a batch of its own,
           which matters to batch normalisation only.
        4. Avalanche stores class-balanced samples when an experience ends, with the logits of evaluation mode at that time, and
           uses one draw for both terms.
        5. With sample weights the means are weighted.
    """

    name = "der"
    needs_head = True
    state = ("memory",)

    def __init__(self, size: int = 500, alpha: float = 0.3, beta: float = 0.0, batch_size: int | None = None) -> None:
        if not alpha >= 0:
            raise bad_option("alpha", "zero or positive", alpha, "Give alpha=0.3.")
        if not beta >= 0:
            raise bad_option("beta", "zero or positive", beta, "Give beta=0.5, or beta=0 for DER.")
        if batch_size is not None and batch_size < 1:
            raise bad_option("batch_size", "a positive integer or None", batch_size, "Leave it out to draw as many as are new.")
        self.memory = Reservoir(size, torch.Generator())
        self.size, self.alpha, self.beta, self.batch_size = size, alpha, beta, batch_size
        self._sample_bytes = 0

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """Make the memory, which draws from the part's generator."""
        super().bind(model, generator)
        enough_for_every_class(self.size, model)
        self.memory = Reservoir(self.size, generator)

    def begin(self, train: Train) -> None:
        """Remembered ids are fetched from the stream seen so far."""
        self._fetch, self._sample_bytes = train.fetch, train.sample_bytes

    def recall(self, batch: Batch) -> Batch | None:
        """A draw to compare logits, and another to learn the labels again; neither counts in the classification loss."""
        if not self.memory.filled:
            return None
        count = self.batch_size or len(batch)
        slots = self.memory.slots(count)
        self._stored = self.memory.extra["logits"][slots].to(batch.x.device)
        if self.beta:
            slots = torch.cat([slots, self.memory.slots(count)])
        recalled = self._fetch(self.memory.index[slots])
        self._weight, self._mass = recalled.weight, recalled.mass
        out_of_the_loss = torch.zeros_like(recalled.y, dtype=torch.float32)
        return Batch(recalled.x, recalled.y, recalled.index, out_of_the_loss, recalled.task)

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        """The distance to the stored logits, and the cross-entropy of the second draw."""
        if self.name not in view.groups:
            return {}
        rows, first = view.groups[self.name], len(self._stored)
        logits, y = view.logits[rows], view.batch.y[rows]
        cut = [(None, None) if c is None else (c[:first], c[first:]) for c in (self._weight, self._mass)]
        (old, again), (old_mass, again_mass) = cut
        terms = {"logits": self.alpha * weighted_mean(distances(logits[:first], self._stored), old, old_mass)}
        if self.beta:
            terms["replay"] = self.beta * classification_loss(logits[first:], y[first:], again, again_mass)
        return terms

    def absorb(self, view: View) -> None:
        """Offer the new samples to the memory, with the logits of this update."""
        new = view.new
        slots = self.memory.update(view.batch.index[new], view.batch.y[new])
        self.memory.keep(slots, logits=view.logits[new])

    def state_bytes(self) -> int:
        """The remembered samples as they are stored in the source, with their labels, logits and ids."""
        return self.memory.filled * (self._sample_bytes + 8) + super().state_bytes()


def distances(answer: Tensor, stored: Tensor) -> Tensor:
    """Mean squared difference of the logits (B, C) of each sample (B,), over the classes that both of them score.

    Example:
        >>> inf = float("inf")
        >>> distances(torch.tensor([[1.0, 3.0, 5.0]]), torch.tensor([[1.0, 1.0, -inf]]))
        tensor([2.])
    """
    both = answer.isfinite() & stored.isfinite()
    if both.all():
        return (answer - stored).square().sum(1) / answer.shape[1]
    apart = torch.where(both, answer, 0.0) - torch.where(both, stored, 0.0)
    return apart.square().sum(1) / both.sum(1).clamp_min(1)


def der_plus_plus(size: int = 500, alpha: float = 0.1, beta: float = 0.5, batch_size: int | None = None) -> Recipe:
    """DER++: remembered samples must keep the scores that they had, and their labels are learned again.

    It is `der` with a weight on the labels:

        loss = mean_{i in new} CE(f(x_i), y_i) + alpha * mean_j mean_c (f(x_j)_c - z_jc)^2 + beta * mean_k CE(f(x_k), y_k)

    with (x_j, z_j) and (x_k, y_k) drawn from the memory one after the other.

    Args:
        size: samples in the memory.
        alpha: weight of the distance between the logits.
        beta: weight of the remembered labels.
        batch_size: samples to draw each time; as many as the new batch by default.

    Raises:
        OptionError: a negative alpha or beta, a size below the number of classes, a batch size that is not positive.

    Logs:
        - ce: the cross-entropy of the new batch
        - der/logits: alpha times the mean squared difference of the logits
        - der/replay: beta times the cross-entropy of the second draw

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "der++(size=200)")
        >>> sorted(result.terms.term.unique())
        ['ce', 'der/logits', 'der/replay']

    Reference: Buzzega, Boschini, Porrello, Abati and Calderara, "Dark experience for general continual learning: a strong, simple
        baseline", 2020, algorithm 2.
    Differences: see `der`.
    """
    return Recipe((DER(size, alpha, beta, batch_size),))
