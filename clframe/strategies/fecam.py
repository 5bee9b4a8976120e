"""FeCAM: Mahalanobis distance to class means, with one covariance a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

import torch
from torch.nn import functional

from clframe.errors import bad_option
from clframe.strategies.build import Setup
from clframe.strategies.frozen import Frozen, add_to_means, deviations, inverse, precise

if TYPE_CHECKING:
    from torch import Tensor


@final
class FeCAM(Frozen):
    """FeCAM: a sample belongs to the class whose mean is nearest by the class's own Mahalanobis distance, over a frozen backbone.

        score_k(x) = -(u(x) - m_k)^T N_k^-1 (u(x) - m_k),   u = t(f) / |t(f)|,   m_k = t(mu_k) / |t(mu_k)|
        S_k' = S_k + g1 V1 I + g2 V2 (1 - I),   N_k(i, j) = S_k'(i, j) / sqrt(S_k'(i, i) S_k'(j, j))

    with features f, their class mean mu_k, the covariance S_k of t(f) over the class, the mean V1 of its diagonal and V2 of what
    is beside it, and Tukey's transform t(f) = f^tukey. N_k makes the covariances of all classes comparable. With
    backbone="first", `predict` answers with the linear head during the first experience, while the backbone is trained; at its
    end the statistics are taken in one pass over it. One output over all classes: where tasks are revealed they are not used,
    and other tasks' classes are not masked. Each sample of an experience counts once, in the first epoch; where boundaries
    are hidden, as often as it comes. A class takes d^2 numbers.

    Args:
        backbone: "first" (the network is trained on the first experience, then frozen) or "given" (frozen as it comes).
        tukey: exponent in (0, 1]; 1 leaves the features as they are.
        shrinkage: g1 and g2, both from 0 up.

    Raises:
        OptionError: an exponent outside (0, 1], a negative shrinkage or not two of them, an unknown backbone; backbone="first"
            and a first experience of one class.

    Logs:
        - ce: cross-entropy while the backbone is trained
        - fecam/samples: samples that entered the statistics with this update, 0 after the first epoch of an experience
        - fecam/spread: their mean squared distance to the mean of their class, before Tukey's transform

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "fecam", model="mlp(hidden=[40])", evaluate="boundaries")
        >>> result.budget.state_bytes["fecam"] == 4 * 10 * (1 + 2 * 40 + 40 * 40)
        True

    Reference: Goswami, Liu, Twardowski and van de Weijer, "FeCAM: exploiting the heterogeneity of class distributions in
    exemplar-free continual learning", 2023, equations 2 to 9.

    Differences:
        1. The authors' code shrinks the covariance twice; here once, as in the equations.
        2. In the authors' code the first experience is classified by Euclidean distance to the rows of a cosine head, until the
           second begins; here by the rule above from its end on.
        3. t(f) = sign(f) |f|^tukey, so that negative features have a transform; the same for those after a ReLU.
        4. The authors invert by the pseudo-inverse; here it stands in where the matrix is near singular. A feature that does not
           vary within a class (or a class of one sample) has N_k(i, i) = 1.
        5. A sample of weight w counts as w samples.
    """

    name = "fecam"

    def __init__(
        self,
        setup: Setup,
        backbone: Literal["first", "given"] = "first",
        tukey: float = 0.5,
        shrinkage: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        if not 0 < tukey <= 1:
            raise bad_option("tukey", "in (0, 1]", tukey, "Give tukey=0.5, or 1 for none.")
        pair = shrinkage if isinstance(shrinkage, list | tuple) else ()
        if len(pair) != 2 or not all(isinstance(g, int | float) and g >= 0 for g in pair):
            raise bad_option("shrinkage", "two numbers, zero or positive", shrinkage, "Give shrinkage=(1, 1).")
        self.tukey, self.shrinkage = tukey, tuple(pair)
        self._inverses: dict[int, Tensor] = {}
        super().__init__(setup, backbone)

    def start(self, features: Tensor) -> dict[str, Tensor]:
        """Means and sums of squared deviations of the transformed features, of every class."""
        classes, width = self.model.num_classes, features.shape[1]
        return {"centre": features.new_zeros(classes, width), "scatter": features.new_zeros(classes, width, width)}

    def take(self, features: Tensor, y: Tensor, weight: Tensor) -> None:
        """Move them by the samples, one class after the other."""
        transformed = self._transformed(features)
        count, centre, scatter = (self.statistics[name] for name in ("count", "centre", "scatter"))
        off, earlier = deviations(transformed, y, weight, count, centre)
        factor = weight * earlier / (earlier + weight).clamp_min(torch.finfo(weight.dtype).tiny)
        for k in torch.unique(y).tolist():
            mine = y == k
            scatter[k].addmm_((off[mine] * factor[mine, None]).T, off[mine])
            self._inverses.pop(k, None)
        add_to_means(transformed, y, weight, count.clone(), centre)

    def solve(self) -> tuple[Tensor, dict[int, Tensor]]:
        """Prototypes (C, d), and the inverse (d, d) of the normalised covariance of every class with samples."""
        count, scatter = self.statistics["count"], self.statistics["scatter"]
        for k in count.nonzero()[:, 0].tolist():
            if k not in self._inverses:
                covariance = precise(scatter[k]) / max(float(count[k]) - 1, 1.0)
                self._inverses[k] = inverse(normalised(covariance, *self.shrinkage)).to(scatter)
        return functional.normalize(self._transformed(self.statistics["mean"])), self._inverses

    def scores(self, features: Tensor, solution: tuple[Tensor, dict[int, Tensor]]) -> Tensor:
        """Minus the Mahalanobis distance to every class."""
        prototypes, inverses = solution
        u = functional.normalize(self._transformed(features))
        scores = u.new_full((len(u), len(prototypes)), -torch.inf)
        for k, matrix in inverses.items():
            off = u - prototypes[k]
            scores[:, k] = -((off @ matrix) * off).sum(1)
        return scores

    def forget(self) -> None:
        """Drop the inverses too."""
        super().forget()
        self._inverses.clear()

    def _transformed(self, features: Tensor) -> Tensor:
        return features if self.tukey == 1 else features.abs().pow(self.tukey) * features.sign()


def normalised(covariance: Tensor, diagonal: float, beside: float) -> Tensor:
    """The covariance (d, d), shrunk by the two factors, as a correlation: ones on the diagonal."""
    width = len(covariance)
    level = covariance.diagonal().mean()
    rest = (covariance.sum() - covariance.trace()) / max(1, width * (width - 1))
    eye = torch.eye(width, dtype=covariance.dtype, device=covariance.device)
    shrunk = covariance + diagonal * level * eye + beside * rest * (1 - eye)
    deviation = shrunk.diagonal().clamp_min(torch.finfo(torch.float32).tiny).sqrt()
    correlation = shrunk / (deviation[:, None] * deviation)
    correlation.fill_diagonal_(1.0)
    return correlation
