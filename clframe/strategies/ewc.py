"""Elastic weight consolidation, online and with one anchor for each experience."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional

from clframe.errors import bad_option
from clframe.strategies.part import Part, View
from clframe.strategies.quadratic import quadratic
from clframe.strategies.sensitivity import add_squares, gradients_over
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class EWC(Part):
    """EWC: weights that mattered for the past are pulled back to where they were.

        online:    penalty = strength / 2 * sum_j F_j (theta_j - theta*_j)^2,   F <- decay * F + F_k,   theta* <- theta
        separate:  penalty = strength / 2 * sum_k decay^(K - k) sum_j F_k,j (theta_j - theta*_k,j)^2

    with F_k the diagonal Fisher information at the end of experience k, over the experience's samples,
    F_k,j = mean_x [ d log p(y | x) / d theta_j ]^2, one sample at a time; theta*_k the weights then; and K the last experience.
    A sum of quadratics is a quadratic, so the separate form needs no more memory or time than the online one:

        sum_k F_k (theta - theta*_k)^2 = F (theta - c)^2 + rest,   F = sum_k F_k,   c = sum_k F_k theta*_k / F

    Args:
        strength: lambda.
        decay: gamma, how much of the earlier information is kept at the end of an experience.
        samples: training samples of the experience used for F_k, drawn at random; all of them if there are fewer.
        fisher: "empirical" (y is the label) or "sampled" (y is drawn from the model: the Fisher information itself).
        mode: "online" (one anchor, the latest weights) or "separate" (each experience keeps the anchor that it ended at).
        batch_size: samples in one squared gradient; 1 for the Fisher information, more for speed (F shrinks by up to that factor).

    Raises:
        OptionError: a negative strength, a decay outside [0, 1], no samples, an unknown kind or mode, an empty batch.

    Logs:
        - ewc/quadratic: the penalty

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "ewc(strength=100)")
        >>> sorted(result.terms.term.unique())
        ['ce', 'ewc/quadratic']

    Reference: Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", 2017, equation 3 (separate);
        Schwarz et al., "Progress & compress", 2018, section 3.2 (online).
    Differences:
        1. Squared gradients are taken one sample at a time; De Lange et al.'s code and Avalanche square the mean gradient of a
           mini-batch, which is smaller by up to the batch size, so their strengths carry over only with their `batch_size`.
           Mammoth's online EWC weighs the square of each sample by p(y | x).
        2. De Lange et al.'s code, Avalanche and Mammoth leave out the factor 1/2: their strength is twice as strong.
        3. No normalisation of F (Progress & compress normalises each task's).
        4. The model is in evaluation mode while F is taken.
        5. Avalanche's "separate" keeps one F and one anchor for each experience, and sums over them at every update; the values
           are the same up to rounding.
        6. In the online form `decay` multiplies the old F when a new one is added to it; progress & compress has it in the penalty
           of the experience in progress, too. In the separate form it is no part of the original.
    """

    name = "ewc"
    needs_head = True
    state = ("information", "anchor", "rest", "ready")
    requires = frozenset({"boundaries"})

    def __init__(
        self,
        strength: float = 100.0,
        decay: float = 1.0,
        samples: int = 256,
        fisher: Literal["empirical", "sampled"] = "empirical",
        mode: Literal["online", "separate"] = "online",
        batch_size: int = 1,
    ) -> None:
        if not strength >= 0:
            raise bad_option("strength", "zero or positive", strength, "Give strength=100.")
        if not 0 <= decay <= 1:
            raise bad_option("decay", "in [0, 1]", decay, "Give decay=1.0 to keep all earlier information.")
        if samples < 1:
            raise bad_option("samples", "a positive integer", samples, "Give samples=256.")
        if fisher not in ("empirical", "sampled"):
            raise bad_option("fisher", "'empirical' or 'sampled'", fisher, "Give fisher='empirical'.")
        if mode not in ("online", "separate"):
            raise bad_option("mode", "'online' or 'separate'", mode, "Give mode='online'.")
        if batch_size < 1:
            raise bad_option("batch_size", "a positive integer", batch_size, "Give batch_size=1 for the Fisher information.")
        self.strength, self.decay, self.samples, self.fisher = strength, decay, samples, fisher
        self.mode, self.batch_size = mode, batch_size
        self.rest, self.ready = 0.0, False

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """Nothing mattered yet: zero information."""
        super().bind(model, generator)
        self._parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        self.information = [torch.zeros_like(p) for p in self._parameters]
        self.anchor = [torch.zeros_like(p) for p in self._parameters]

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        """The quadratic term."""
        if not self.ready:
            return {}
        value = quadratic(self._parameters, self.anchor, self.information, self.strength)
        return {"quadratic": value if self.mode == "online" else value + self.strength / 2 * self.rest}

    def end(self, train: Train) -> None:
        """Add this experience's information and move the anchor."""
        fresh = self._fisher(train)
        kept = [self.decay * old for old in self.information]
        self.information = [old + new for old, new in zip(kept, fresh, strict=True)]
        weights = [p.detach().clone() for p in self._parameters]
        self.anchor = weights if self.mode == "online" else self._joined(kept, fresh, weights)
        self.ready = True

    def _joined(self, kept: list[Tensor], fresh: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
        """Complete the square: a (theta - c)^2 + f (theta - w)^2 = (a + f) (theta - m)^2 + a f / (a + f) (w - c)^2."""
        self.rest *= self.decay
        joined = []
        for a, f, c, w, total in zip(kept, fresh, self.anchor, weights, self.information, strict=True):
            share = f / total.clamp_min(torch.finfo(total.dtype).tiny)
            self.rest += (a * share * (w - c).square()).sum().item()
            joined.append(c.lerp(w, share))
        return joined

    def _fisher(self, train: Train) -> list[Tensor]:
        return gradients_over(self, train, self._parameters, self.samples, self.batch_size, self._surprise, add_squares)

    def _surprise(self, scores: Tensor, batch: Batch) -> Tensor:
        """-log p(y | x), with the label or an answer of the model's own."""
        log_p, y = scores.log_softmax(1), batch.y
        if self.fisher == "sampled":
            y = torch.multinomial(log_p.detach().exp().cpu(), 1, generator=self.generator)[:, 0].to(y.device)
        return functional.nll_loss(log_p, y)
