"""Memory aware synapses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from clframe.errors import bad_option
from clframe.strategies.part import Part, View
from clframe.strategies.quadratic import quadratic
from clframe.strategies.sensitivity import add_sizes, gradients_over
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class MAS(Part):
    """MAS: weights to which the model's outputs are sensitive are pulled back to where they were.

        penalty = strength * sum_j Omega_j (theta_j - theta*_j)^2
        Omega_j <- keep * Omega_j + (1 - keep) * mean_x | d ||f(x)||^2 / d theta_j |

    both at the end of an experience, when theta* <- theta; f(x) are the scores of all classes, and the mean goes over the
    experience's samples, one at a time. No label is used.

    Args:
        strength: lambda.
        keep: the share of the past, in [0, 1); by default (k - 1) / k after k experiences, so that all count the same.
        samples: training samples of the experience to use, drawn at random; all of them if there are fewer.
        batch_size: samples in one gradient; 1 as published, more is faster and smaller, because signs cancel.

    Raises:
        OptionError: a negative strength, a share outside [0, 1), no samples, an empty batch.

    Logs:
        - mas/quadratic: the penalty

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "mas(strength=1)")
        >>> sorted(result.terms.term.unique())
        ['ce', 'mas/quadratic']

    Reference: Aljundi et al., "Memory aware synapses: learning what (not) to forget", 2018, section 4 (with the squared length of
        the output).
    Differences:
        1. The importance is averaged over experiences; the authors' code adds it up. With an average, strength means the same
           after two experiences and after twenty.
        2. The authors' code takes the absolute value of the gradient of a batch, summed over its samples; Avalanche (after FACIL)
           that of the mean over a batch. Both let signs cancel within a batch, so their strengths carry over only with their
           `batch_size`.
        3. The model is in evaluation mode while the importance is taken, as in the authors' code; Avalanche's is in training mode,
           so that dropout draws and the statistics of batch normalisation move.
        4. Avalanche's `alpha` is `keep`, 0.5 by default.
        5. With separate heads, the outputs are those of the sample's own task; classes without an output count 0.
    """

    name = "mas"
    needs_head = True
    state = ("importance", "anchor", "experiences")
    requires = frozenset({"boundaries"})

    def __init__(self, strength: float = 1.0, keep: float | None = None, samples: int = 256, batch_size: int = 1) -> None:
        if not strength >= 0:
            raise bad_option("strength", "zero or positive", strength, "Give strength=1.0.")
        if keep is not None and not 0 <= keep < 1:
            raise bad_option("keep", "a share in [0, 1) or None", keep, "Leave it out to count every experience the same.")
        if samples < 1:
            raise bad_option("samples", "a positive integer", samples, "Give samples=256.")
        if batch_size < 1:
            raise bad_option("batch_size", "a positive integer", batch_size, "Give batch_size=1 for one sample at a time.")
        self.strength, self.keep, self.samples, self.batch_size = strength, keep, samples, batch_size
        self.experiences = 0

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """Nothing mattered yet."""
        super().bind(model, generator)
        self._parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        self.importance, self.anchor = ([torch.zeros_like(p) for p in self._parameters] for _ in range(2))

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        """The quadratic term."""
        if not self.experiences:
            return {}
        return {"quadratic": quadratic(self._parameters, self.anchor, self.importance, 2 * self.strength)}

    @torch.no_grad()
    def end(self, train: Train) -> None:
        """Average this experience's importance in and move the anchor."""
        fresh = gradients_over(self, train, self._parameters, self.samples, self.batch_size, _squared_length, add_sizes)
        self.experiences += 1
        share = 1 / self.experiences if self.keep is None or self.experiences == 1 else 1 - self.keep
        torch._foreach_lerp_(self.importance, fresh, share)
        torch._foreach_copy_(self.anchor, self._parameters)


def _squared_length(scores: Tensor, batch: Batch) -> Tensor:
    """mean over the batch of ||f(x)||^2; a class without an output has the score -inf and counts 0."""
    return scores.masked_fill(scores.isneginf(), 0.0).square().sum(1).mean()
