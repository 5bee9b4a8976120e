"""Riemannian walk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from clframe.errors import bad_option
from clframe.strategies.part import Part, View
from clframe.strategies.quadratic import descent, quadratic
from clframe.types import Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class RWalk(Part):
    """RWalk: EWC++ and a path integral in one; weights that mattered by either are pulled back to where they were.

        penalty = strength * sum_j ( F*_j / max F* + max(0, s_j) / max s ) (theta_j - theta*_j)^2
        F_j <- alpha g_j^2 + (1 - alpha) F_j                              after every update, through the whole stream
        s_j <- s_j + d_j / (F_j (theta_j - theta''_j)^2 / 2 + epsilon)    after every `interval` updates
        d_j  = - sum of g_j (theta_j - theta'_j)                          over the updates of the interval

    with g the gradient of the step without that of this penalty; theta', theta'' and theta the weights before the step, before the
    interval and now. The denominator is the distance moved, as a KL divergence. At the end of an experience F* <- F,
    theta* <- theta, and the scores s are averaged with those of the past: s <- (s_past + s) / 2.

    Args:
        strength: lambda.
        alpha: weight of the newest squared gradient in F, in (0, 1].
        interval: updates in an interval, Delta t.
        epsilon: keeps scores bounded where a weight hardly moved.

    Raises:
        OptionError: a negative strength, an alpha outside (0, 1], an empty interval, an epsilon that is not positive.

    Logs:
        - rwalk/quadratic: the penalty

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "rwalk(strength=1)")
        >>> sorted(result.terms.term.unique())
        ['ce', 'rwalk/quadratic']

    Reference: Chaudhry et al., "Riemannian walk for incremental learning: understanding forgetting and intransigence", 2018,
        equations 6 to 8.
    Differences:
        1. g is the gradient of a batch's mean, taken from the step itself: nothing is run twice. In a composition it also holds
           the gradients of the other parts' terms, after projection. Avalanche runs every batch a second time, in evaluation
           mode, and stays in it: dropout and the statistics of batch normalisation are off for the whole training.
        2. An interval also ends where an experience ends; Avalanche forgets an unfinished one.
        3. Both F* and s are divided by their largest value, as in Avalanche; the authors' code also subtracts the smallest.
        4. Scores are clipped at 0 in the penalty, as in Avalanche; the authors' code clips those of every interval, leaves out
           the 1/2 in the denominator, and averages as s <- s + (s + s_new) / 2.
        5. The published results for class-incremental streams also have a memory: compose with "er".
    """

    name = "rwalk"
    state = ("fisher", "fall", "score", "past", "corner", "importance", "anchor", "updates", "ready")
    requires = frozenset({"boundaries"})

    def __init__(self, strength: float = 1.0, alpha: float = 0.9, interval: int = 10, epsilon: float = 1e-3) -> None:
        if not strength >= 0:
            raise bad_option("strength", "zero or positive", strength, "Give strength=1.0.")
        if not 0 < alpha <= 1:
            raise bad_option("alpha", "in (0, 1]", alpha, "Give alpha=0.9.")
        if interval < 1:
            raise bad_option("interval", "a positive integer", interval, "Give interval=10.")
        if not epsilon > 0:
            raise bad_option("epsilon", "positive", epsilon, "Give epsilon=0.001.")
        self.strength, self.alpha, self.interval, self.epsilon = strength, alpha, interval, epsilon
        self.updates, self.ready = 0, False

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """Nothing mattered yet, and nothing moved."""
        super().bind(model, generator)
        self._parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        self._pull: list[Tensor] = []
        fresh = [[torch.zeros_like(p) for p in self._parameters] for _ in range(8)]
        self.fisher, self.fall, self.score, self.past, self.corner, self.importance, self.anchor, self._before = fresh

    @torch.no_grad()
    def begin(self, train: Train) -> None:
        """A walk begins at the weights as they are."""
        self.updates = 0
        torch._foreach_copy_(self.corner, self._parameters)

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        """The quadratic term, and a note of the weights before the step."""
        with torch.no_grad():
            torch._foreach_copy_(self._before, self._parameters)
        if not self.ready:
            return {}
        return {"quadratic": quadratic(self._parameters, self.anchor, self.importance, 2 * self.strength, self._pull)}

    @torch.no_grad()
    def absorb(self, view: View) -> None:
        """Follow the step: the moving average of the Fisher information, and how far the loss fell by each weight."""
        descending = descent(self._parameters, self._pull)
        self._pull.clear()
        alpha = self.alpha if self.ready or self.updates else 1.0
        torch._foreach_mul_(self.fisher, 1 - alpha)
        torch._foreach_addcmul_(self.fisher, descending, descending, value=alpha)
        torch._foreach_sub_(self._before, self._parameters)
        torch._foreach_addcmul_(self.fall, descending, self._before, value=-1.0)
        self.updates += 1
        if self.updates % self.interval == 0:
            self._turn()

    @torch.no_grad()
    def end(self, train: Train) -> None:
        """The importance for what follows."""
        if self.updates % self.interval:
            self._turn()
        if self.ready:
            torch._foreach_lerp_(self.past, self.score, 0.5)
        else:
            torch._foreach_copy_(self.past, self.score)
        scores = torch._foreach_clamp_min(self.past, 0.0)
        self.importance = [f + s for f, s in zip(_scaled(self.fisher), _scaled(scores), strict=True)]
        torch._foreach_copy_(self.anchor, self._parameters)
        torch._foreach_zero_(self.score)
        self.ready = True

    def _turn(self) -> None:
        """An interval is over: its scores are added, the next begins."""
        for s, d, f, p, start in zip(self.score, self.fall, self.fisher, self._parameters, self.corner, strict=True):
            s.add_(d / (f * (p - start).square() / 2 + self.epsilon))
        torch._foreach_copy_(self.corner, self._parameters)
        torch._foreach_zero_(self.fall)


def _scaled(values: tuple[Tensor, ...] | list[Tensor]) -> list[Tensor]:
    """All divided by the largest of all."""
    largest = torch.stack([v.max() for v in values]).max()
    return [v / largest.clamp_min(torch.finfo(v.dtype).tiny) for v in values]
