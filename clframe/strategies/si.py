"""Synaptic intelligence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch

from clframe.errors import bad_option
from clframe.strategies.part import Part, View
from clframe.strategies.quadratic import descent, quadratic
from clframe.types import Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class SI(Part):
    """SI: weights along whose path the loss fell are pulled back to where the last experience left them.

        penalty = strength * sum_j Omega_j (theta_j - theta*_j)^2
        w_j     <- w_j - g_j (theta_j - theta'_j)                           after every update; w starts an experience at 0
        Omega_j <- max(0, Omega_j + w_j / ((theta_j - theta*_j)^2 + xi))    at the end of an experience; then theta* <- theta

    with g the gradient of the step, and theta' and theta the weights before and after it. So w_j is how much of the fall of the
    loss during the experience is due to weight j.

    Args:
        strength: c.
        xi: keeps Omega bounded where a weight hardly moved.
        gradient: "task" (g without the gradient of this penalty) or "total" (g as it was, with everything).

    Raises:
        OptionError: a negative strength, an xi that is not positive, an unknown gradient.

    Logs:
        - si/quadratic: the penalty

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "si(strength=1)")
        >>> sorted(result.terms.term.unique())
        ['ce', 'si/quadratic']

    Reference: Zenke, Poole and Ganguli, "Continual learning through synaptic intelligence", 2017, equations 3 to 5.
    Differences:
        1. Omega is kept from going below 0, as in the authors' code; the paper's sum can be negative, and then pushes weights away.
        2. The displacement is that of the optimizer's step, with momentum and weight decay; in a composition, g also holds
           the gradients of the other parts' terms, after projection.
        3. Avalanche takes the total gradient, halves the penalty, cuts Omega off above 0.001 but not below 0, and leaves out
           the parameters of batch normalisation; so its strengths do not carry over. On a CPU its plugin does nothing at all
           (0.6.0): the weights that it keeps are views of the model's, so they never seem to move.
        4. Mammoth takes -lr times the total gradient, clipped, for the displacement, whatever the optimizer does.
    """

    name = "si"
    state = ("importance", "anchor", "path", "ready")
    requires = frozenset({"boundaries"})

    def __init__(self, strength: float = 1.0, xi: float = 0.1, gradient: Literal["task", "total"] = "task") -> None:
        if not strength >= 0:
            raise bad_option("strength", "zero or positive", strength, "Give strength=1.0.")
        if not xi > 0:
            raise bad_option("xi", "positive", xi, "Give xi=0.1.")
        if gradient not in ("task", "total"):
            raise bad_option("gradient", "'task' or 'total'", gradient, "Give gradient='task'.")
        self.strength, self.xi, self.gradient = strength, xi, gradient
        self.ready = False

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """Nothing mattered yet, and nothing moved."""
        super().bind(model, generator)
        self._parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        self._pull: list[Tensor] = []
        self._before = [torch.zeros_like(p) for p in self._parameters]
        self.importance, self.anchor, self.path = ([torch.zeros_like(p) for p in self._parameters] for _ in range(3))

    @torch.no_grad()
    def begin(self, train: Train) -> None:
        """The first experience starts from the weights as they are; the others from where the last one ended."""
        if not self.ready:
            torch._foreach_copy_(self.anchor, self._parameters)

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        """The quadratic term, and a note of the weights before the step."""
        with torch.no_grad():
            torch._foreach_copy_(self._before, self._parameters)
        if not self.ready:
            return {}
        keep = self._pull if self.gradient == "task" else None
        return {"quadratic": quadratic(self._parameters, self.anchor, self.importance, 2 * self.strength, keep)}

    @torch.no_grad()
    def absorb(self, view: View) -> None:
        """Go on along the path."""
        descending = descent(self._parameters, self._pull)
        self._pull.clear()
        torch._foreach_sub_(self._before, self._parameters)
        torch._foreach_addcmul_(self.path, descending, self._before, value=-1.0)

    @torch.no_grad()
    def end(self, train: Train) -> None:
        """From the path to the importance; the next path starts here."""
        for omega, w, p, start in zip(self.importance, self.path, self._parameters, self.anchor, strict=True):
            omega.add_(w / ((p - start).square() + self.xi)).clamp_min_(0.0)
        torch._foreach_copy_(self.anchor, self._parameters)
        torch._foreach_zero_(self.path)
        self.ready = True
