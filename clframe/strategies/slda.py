"""Deep streaming linear discriminant analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

import torch

from clframe.errors import bad_option
from clframe.strategies.build import Setup
from clframe.strategies.frozen import Frozen, deviations, inverse, precise

if TYPE_CHECKING:
    from torch import Tensor


@final
class SLDA(Frozen):
    """SLDA: class means and one covariance, both updated sample by sample, over a frozen backbone.

        score_k(x) = <w_k, f(x)> + b_k,   w_k = L mu_k,   b_k = -<mu_k, L mu_k> / 2,   L = [(1 - e) S + e I]^-1
        S_{t+1} = (t S_t + D_t) / (t + 1),   D_t = t / (t + 1) (f_t - mu_y)(f_t - mu_y)^T
        mu_y <- (c_y mu_y + f_t) / (c_y + 1),   c_y <- c_y + 1

    for the t-th sample (from 0) with feature f_t and label y, where mu_y is the mean before the sample (0 at first) and
    e = shrinkage. The samples of a batch enter in their order, as if they came one at a time. With backbone="first", `predict`
    answers with the linear head during the first experience, while the backbone is trained; at its end, mu and S are
    initialised in one pass over it: S is the covariance around the class means, shrunk by the oracle approximating rule (OAS).
    One output over all classes: where tasks are revealed they are not used, and other tasks' classes are not masked. Each
    sample of an experience counts once, in the first epoch; where boundaries are hidden, as often as it comes.

    Args:
        backbone: "first" (the network is trained on the first experience, then frozen) or "given" (frozen as it comes).
        shrinkage: e, in [0, 1].
        streaming_covariance: "updated" (S moves with every sample) or "fixed" (S is that of the first experience).

    Raises:
        OptionError: a shrinkage outside [0, 1], or an unknown word; backbone="first" and a first experience of one class.

    Logs:
        - ce: cross-entropy while the backbone is trained
        - slda/samples: samples that entered the statistics with this update, 0 after the first epoch of an experience
        - slda/spread: their mean squared distance to the mean of their class

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "slda", evaluate="boundaries")
        >>> result.budget.state_bytes["slda"] == 4 * (10 * (400 + 1) + 400 * 400)
        True

    Reference: Hayes and Kanan, "Lifelong machine learning with deep streaming linear discriminant analysis", 2020, section 3.

    Differences:
        1. With backbone="given" there is no base initialisation: S and the means grow from the first sample on, as in
           Avalanche's StreamingLDA without `fit_base`.
        2. A class without samples scores -inf; in the authors' code and in Avalanche it scores 0 and may win.
        3. "fixed" with backbone="given" keeps the covariance that was streamed during the first experience; in the authors'
           code and in Avalanche, without base initialisation, it is a matrix of ones.
        4. The inverse is taken by Cholesky in float64 where the matrix is well conditioned, and is the pseudo-inverse elsewhere.
        5. A sample of weight w counts as w samples.
    """

    name = "slda"

    def __init__(
        self,
        setup: Setup,
        backbone: Literal["first", "given"] = "first",
        shrinkage: float = 1e-4,
        streaming_covariance: Literal["updated", "fixed"] = "updated",
    ) -> None:
        if not 0 <= shrinkage <= 1:
            raise bad_option("shrinkage", "in [0, 1]", shrinkage, "Give shrinkage=1e-4.")
        if streaming_covariance not in ("updated", "fixed"):
            raise bad_option("streaming_covariance", "'updated' or 'fixed'", streaming_covariance, "Give 'updated'.")
        self.shrinkage, self.streaming_covariance = shrinkage, streaming_covariance
        super().__init__(setup, backbone)
        if streaming_covariance == "fixed":
            self.requires = frozenset({"boundaries"})

    def start(self, features: Tensor) -> dict[str, Tensor]:
        """No covariance yet."""
        return {"covariance": features.new_zeros(features.shape[1], features.shape[1])}

    def take(self, features: Tensor, y: Tensor, weight: Tensor) -> None:
        """Move the covariance; while it is initialised, each deviation counts as in the covariance around the final means."""
        if self.experiences > 0 and self.streaming_covariance == "fixed":
            return
        count, mean = self.statistics["count"], self.statistics["mean"]
        off, earlier = deviations(features, y, weight, count, mean)
        total = count.sum()
        if not self._initialising:
            earlier = total + weight.cumsum(0) - weight
        grown = total + weight.sum()
        if grown > 0:
            factor = weight * earlier / (earlier + weight).clamp_min(torch.finfo(weight.dtype).tiny)
            covariance = self.statistics["covariance"]
            covariance *= total / grown
            covariance.addmm_((off * (factor / grown)[:, None]).T, off)

    def close(self) -> None:
        """After the pass that initialises, the covariance is shrunk."""
        if self._initialising:
            covariance = self.statistics["covariance"]
            covariance.copy_(shrunk(covariance, float(self.statistics["count"].sum())))

    def solve(self) -> tuple[Tensor, Tensor]:
        """Weights (C, d) and biases (C,)."""
        covariance, mean = precise(self.statistics["covariance"]), precise(self.statistics["mean"])
        eye = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
        weight = mean @ inverse((1 - self.shrinkage) * covariance + self.shrinkage * eye)
        bias = -0.5 * (weight * mean).sum(1)
        return weight.to(self.statistics["mean"]), bias.to(self.statistics["mean"])

    def scores(self, features: Tensor, solution: tuple[Tensor, Tensor]) -> Tensor:
        """The linear discriminants."""
        weight, bias = solution
        return torch.addmm(bias, features, weight.T)

    @property
    def _initialising(self) -> bool:
        return self.backbone == "first" and self.experiences == 0


def shrunk(covariance: Tensor, samples: float) -> Tensor:
    """Oracle approximating shrinkage of a covariance (d, d) of centred samples: (1 - r) S + r tr(S)/d I.

        r = min(1, (a + m^2) / ((n + 1) (a - m^2 / d))),   a = mean of the squared entries of S,   m = tr(S) / d

    Reference: Chen, Wiesel, Eldar and Hero, "Shrinkage algorithms for MMSE covariance estimation", 2010, as scikit-learn has it.
    """
    exact = precise(covariance)
    width = len(exact)
    spread, level = exact.square().mean(), exact.trace() / width
    below = (samples + 1) * (spread - level.square() / width)
    rate = float(((spread + level.square()) / below).clamp(max=1)) if below > 0 else 1.0
    eye = torch.eye(width, dtype=exact.dtype, device=exact.device)
    return ((1 - rate) * exact + rate * level * eye).to(covariance)
