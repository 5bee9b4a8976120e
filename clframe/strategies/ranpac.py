"""RanPAC: ridge regression on random features of a frozen backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

import torch

from clframe.errors import bad_option
from clframe.strategies.build import Setup
from clframe.strategies.frozen import Frozen, one_hot, precise

if TYPE_CHECKING:
    from torch import Tensor

RIDGES = tuple(10.0**k for k in range(-8, 9))
HELD_OUT = 5


@final
class RanPAC(Frozen):
    """RanPAC: a fixed random layer on top of a frozen backbone, and the ridge regression of the labels on its outputs.

        h(x) = max(0, W^T f(x)),   W (d, M) with entries from N(0, 1)
        G = sum_i h(x_i) h(x_i)^T,   Q = sum_i h(x_i) onehot(y_i)^T,   scores(x) = h(x)^T (G + lambda I)^-1 Q

    with features f (d,) and sums over all samples so far, so that the order of the samples does not matter. With backbone="first",
    `predict` answers with the linear head during the first experience, while the backbone is trained; at its end the sums
    are taken in one pass over it. One output over all classes: where tasks are revealed they are not used, and other tasks'
    classes are not masked. Each sample of an experience counts once, in the first epoch; where boundaries are hidden, as
    often as it comes.

    Args:
        backbone: "first" (the network is trained on the first experience, then frozen) or "given" (frozen as it comes).
        size: M, random features. G takes M^2 numbers, and three times as many during an experience while lambda is chosen.
        ridge: lambda. By default it is chosen at the end of every experience among 10^-8, ..., 10^8: four fifths of the
            experience's samples fit, every fifth is held out, and the smallest squared error on these wins. Until it was first
            chosen, it is the mean eigenvalue of G. Choosing factorises 17 matrices of M x M: about 3 s for M = 2000 on one core.

    Raises:
        OptionError: a size or ridge that is not positive, an unknown backbone; backbone="first" and a first experience of one
            class.

    Logs:
        - ce: cross-entropy while the backbone is trained
        - ranpac/samples: samples that entered the sums with this update, 0 after the first epoch of an experience
        - ranpac/spread: mean squared distance of their h to the mean h of their class

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "ranpac(size=200)", evaluate="boundaries")
        >>> result.budget.state_bytes["ranpac"] == 4 * (400 * 200 + 200 * 200 + 10 * (200 + 1) + 1)  # W, G, Q, lambda
        True

    Reference: McDonnell, Gong, Parvaneh, Abbasnejad and van den Hengel, "RanPAC: random projections and pre-trained models for
    continual learning", 2023, section 4 and algorithm 1.

    Differences:
        1. The paper adapts a pre-trained transformer to the first experience by a parameter-efficient method and takes M = 10,000;
           here the network's own optimizer trains all of it on the first experience, and M = 2,000.
        2. Held out is every fifth sample in the order of arrival; the authors' code takes the last fifth of a shuffled pass. Both
           use the experience just over and no earlier one.
        3. Sums grow with every update, so that there is an answer at any time; the authors' code takes them after an experience.
        4. Where G + lambda I is not positive definite in float64, lambda is raised tenfold until it is.
        5. A class without samples scores -inf. A sample of weight w counts as w samples.
    """

    name = "ranpac"

    def __init__(
        self, setup: Setup, backbone: Literal["first", "given"] = "first", size: int = 2000, ridge: float | None = None
    ) -> None:
        if size < 1:
            raise bad_option("size", "a positive integer", size, "Give size=2000.")
        if ridge is not None and not ridge > 0:
            raise bad_option("ridge", "positive, or None to choose it on held-out samples", ridge, "Leave it out.")
        self.size, self.ridge = size, ridge
        super().__init__(setup, backbone)
        if ridge is None:
            self.requires = frozenset({"boundaries"})

    def represent(self, features: Tensor) -> Tensor:
        """The random features h (B, M)."""
        return (features @ self.statistics["projection"]).relu()

    def start(self, features: Tensor) -> dict[str, Tensor]:
        """The projection, drawn once; G and, where it is to be chosen, lambda (0: not yet)."""
        projection = torch.randn(features.shape[1], self.size, generator=self.generator).to(features)
        begun = {"projection": projection, "gram": features.new_zeros(self.size, self.size)}
        return begun if self.ridge is not None else {**begun, "ridge": features.new_zeros(())}

    def take(self, features: Tensor, y: Tensor, weight: Tensor) -> None:
        """Add to G. While lambda is to be chosen, the experience's samples are summed apart: those that fit, those held out."""
        if self.ridge is not None:
            self.statistics["gram"].addmm_((features * weight[:, None]).T, features)
            return
        held = (torch.arange(self.taken, self.taken + len(y)) % HELD_OUT == HELD_OUT - 1).to(y.device)
        for name, rows in (("fit", ~held), ("held", held)):
            h, labels, w = features[rows], y[rows], weight[rows]
            if f"{name}_gram" not in self.statistics:
                self.statistics[f"{name}_gram"] = torch.zeros_like(self.statistics["gram"])
                self.statistics[f"{name}_sums"] = h.new_zeros(self.size, self.model.num_classes)
            self.statistics[f"{name}_gram"].addmm_((h * w[:, None]).T, h)
            self.statistics[f"{name}_sums"].addmm_(h.T, one_hot(labels, w, self.model.num_classes))

    def close(self) -> None:
        """Choose lambda, and join the sums of the experience with those of the past."""
        if self.ridge is None and self.statistics:
            gram, sums, held_gram, held_sums = (self.statistics.pop(name) for name in APART)
            if held_gram.any():
                self.statistics["ridge"].fill_(best_ridge(gram, sums, held_gram, held_sums))
            self.statistics["gram"] += gram + held_gram

    def solve(self) -> Tensor:
        """Weights (C, M)."""
        gram = precise(self.statistics["gram"])
        gram = sum((precise(self.statistics[name]) for name in APART[::2] if name in self.statistics), gram)
        sums = precise(self.statistics["mean"] * self.statistics["count"][:, None]).T
        ridge = float(self.statistics["ridge"]) if self.ridge is None else self.ridge
        ridge = ridge or max(float(gram.trace()) / self.size, torch.finfo(torch.float32).tiny)
        while (weights := regressed(gram, sums, ridge)) is None:
            ridge *= 10
        return weights.T.to(self.statistics["mean"])

    def scores(self, features: Tensor, solution: Tensor) -> Tensor:
        """The regression's estimates of the one-hot labels."""
        return features @ solution.T


APART = ("fit_gram", "fit_sums", "held_gram", "held_sums")


def regressed(gram: Tensor, sums: Tensor, ridge: float) -> Tensor | None:
    """(G + ridge I)^-1 Q, in float64; None where G + ridge I is not positive definite."""
    shifted = gram.clone()
    shifted.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(shifted)
    return None if failed else torch.cholesky_solve(sums, factor)


def best_ridge(gram: Tensor, sums: Tensor, held_gram: Tensor, held_sums: Tensor) -> float:
    """The ridge whose weights V, fitted to the first two sums, have the smallest squared error on the held-out ones.

    error = sum_i |V^T h_i - onehot(y_i)|^2 = tr(V^T G_held V) - 2 tr(V^T Q_held) + constant
    """
    gram, sums, held_gram, held_sums = (precise(t) for t in (gram, sums, held_gram, held_sums))
    errors = {}
    for ridge in RIDGES:
        weights = regressed(gram, sums, ridge)
        if weights is not None:
            errors[ridge] = float(((held_gram @ weights - 2 * held_sums) * weights).sum())
    return min(errors, key=errors.__getitem__)
