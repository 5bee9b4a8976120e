"""Nearest class mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

import torch
from torch.nn import functional

from clframe.errors import bad_option
from clframe.strategies.build import Setup
from clframe.strategies.frozen import Frozen

if TYPE_CHECKING:
    from torch import Tensor


@final
class NCM(Frozen):
    """NCM: a sample belongs to the class whose mean feature is nearest, over a frozen backbone.

        score_k(x) = -|f(x) - mu_k|^2,   mu_k = mean of f over the samples of class k                        (euclidean)
        score_k(x) = <u(x), mu_k> / |mu_k|,   u = f / |f|,   mu_k = mean of u over the samples of class k       (cosine)

    with features f. Every update moves the means of its samples' classes. With backbone="first", `predict` answers with the
    linear head during the first experience, while the backbone is trained; at its end the means are taken in one pass over it.
    One output over all classes: where tasks are revealed they are not used, and other tasks' classes are not masked. Each
    sample of an experience counts once, in the first epoch; where boundaries are hidden, as often as it comes.

    Args:
        backbone: "first" (the network is trained on the first experience, then frozen) or "given" (frozen as it comes).
        distance: "euclidean" or "cosine".

    Raises:
        OptionError: an unknown backbone or distance; backbone="first" and a first experience of one class.

    Logs:
        - ce: cross-entropy while the backbone is trained
        - ncm/samples: samples that entered the means with this update, 0 after the first epoch of an experience
        - ncm/spread: their mean squared distance to the mean of their class

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "ncm", evaluate="boundaries")
        >>> result.budget.state_bytes["ncm"] == 4 * 10 * (400 + 1)  # ten means of 400 features, ten weights
        True

    Reference: Mensink, Verbeek, Perronnin and Csurka, "Distance-based image classification: generalizing to new classes at
    near-zero cost", 2013, section 3 (euclidean, without a learned metric); Rebuffi, Kolesnikov, Sperl and Lampert, "iCaRL:
    incremental classifier and representation learning", 2017, algorithm 1 (cosine: means of normalised features).

    Differences:
        1. iCaRL takes the means over its exemplars, and takes them anew when the network changes; here the network does not
           change, and the means are those of all samples.
        2. Mensink et al. learn a metric for the distance; here it is the Euclidean one.
        3. A sample of weight w counts as w samples.
    """

    name = "ncm"

    def __init__(
        self, setup: Setup, backbone: Literal["first", "given"] = "first", distance: Literal["euclidean", "cosine"] = "euclidean"
    ) -> None:
        if distance not in ("euclidean", "cosine"):
            raise bad_option("distance", "'euclidean' or 'cosine'", distance, "Give distance='euclidean'.")
        self.distance = distance
        super().__init__(setup, backbone)

    def represent(self, features: Tensor) -> Tensor:
        """Features, of length 1 for the cosine."""
        return functional.normalize(features) if self.distance == "cosine" else features

    def solve(self) -> Tensor:
        """The means, of length 1 for the cosine."""
        return self.represent(self.statistics["mean"])

    def scores(self, features: Tensor, solution: Tensor) -> Tensor:
        """Minus the squared distance, or the cosine."""
        if self.distance == "cosine":
            return features @ solution.T
        squares = features.square().sum(1, keepdim=True) + solution.square().sum(1)
        return torch.addmm(squares, features, solution.T, beta=-1, alpha=2)
