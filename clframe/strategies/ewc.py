"""Online elastic weight consolidation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional

from clframe.errors import bad_option
from clframe.seeding import isolated
from clframe.strategies.part import Part, View
from clframe.strategies.quadratic import quadratic
from clframe.types import Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class EWC(Part):
    """Online EWC: weights that mattered for the past are pulled back to where they were.

        penalty = strength / 2 * sum_j F_j (theta_j - theta*_j)^2,   F <- decay * F + F_k,   theta* <- theta

    after each experience k, with F_k the diagonal Fisher information over the experience's samples:
    F_k,j = mean_x [ d log p(y | x) / d theta_j ]^2, one sample at a time.

    Args:
        strength: lambda.
        decay: gamma, how much of the earlier information is kept.
        samples: training samples of the experience used for F_k, drawn at random; all of them if there are fewer.
        fisher: "empirical" (y is the label) or "sampled" (y is drawn from the model: the Fisher information itself).

    Raises:
        OptionError: a negative strength, a decay outside [0, 1], no samples, an unknown kind.

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "ewc(strength=100)")
        >>> sorted(result.terms.term.unique())
        ['ce', 'ewc/quadratic']

    Reference: Schwarz et al., "Progress & compress", 2018, section 3.2 (online EWC); Kirkpatrick et al. 2017 (the penalty).
    Differences:
        1. Squared gradients are taken one sample at a time; De Lange et al.'s and Mammoth's variants square the mean gradient of a
           mini-batch, which is smaller by up to the batch size, so their strengths do not carry over.
        2. No normalisation of F (Progress & compress normalises each task's).
        3. The model is in evaluation mode while F is taken.
    """

    name = "ewc"
    state = ("information", "anchor", "ready")
    requires = frozenset({"boundaries"})

    def __init__(
        self,
        strength: float = 100.0,
        decay: float = 1.0,
        samples: int = 256,
        fisher: Literal["empirical", "sampled"] = "empirical",
    ) -> None:
        if not strength >= 0:
            raise bad_option("strength", "zero or positive", strength, "Give strength=100.")
        if not 0 <= decay <= 1:
            raise bad_option("decay", "in [0, 1]", decay, "Give decay=1.0 to keep all earlier information.")
        if samples < 1:
            raise bad_option("samples", "a positive integer", samples, "Give samples=256.")
        if fisher not in ("empirical", "sampled"):
            raise bad_option("fisher", "'empirical' or 'sampled'", fisher, "Give fisher='empirical'.")
        self.strength, self.decay, self.samples, self.fisher = strength, decay, samples, fisher
        self.ready = False

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """Nothing mattered yet: zero information."""
        super().bind(model, generator)
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self.information = [torch.zeros_like(p) for p in self._parameters]
        self.anchor = [torch.zeros_like(p) for p in self._parameters]

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        """The quadratic term."""
        if not self.ready:
            return {}
        return {"quadratic": quadratic(self._parameters, self.anchor, self.information, self.strength)}

    def end(self, train: Train) -> None:
        """Add this experience's information and move the anchor."""
        fresh = self._fisher(train)
        self.information = [self.decay * old + new for old, new in zip(self.information, fresh, strict=True)]
        self.anchor = [p.detach().clone() for p in self._parameters]
        self.ready = True

    def _fisher(self, train: Train) -> list[Tensor]:
        total, count = [torch.zeros_like(p) for p in self._parameters], 0
        with isolated(self.model), torch.inference_mode(False), torch.enable_grad():
            for batch in train.batches(1, order=train.sample(self.samples, self.generator)):
                log_p = self.model(batch.x, batch.task).log_softmax(1)
                y = batch.y
                if self.fisher == "sampled":
                    y = torch.multinomial(log_p[0].detach().exp().cpu(), 1, generator=self.generator).to(y.device)
                gradients = torch.autograd.grad(functional.nll_loss(log_p, y), self._parameters, allow_unused=True)
                for into, gradient in zip(total, gradients, strict=True):
                    if gradient is not None:
                        into.addcmul_(gradient, gradient)
                count += 1
        self.forwards += count
        self.backwards += count
        return [t / count for t in total]
