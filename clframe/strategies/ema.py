"""An average of the weights that answers in their place."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

import torch

from clframe.errors import bad_option
from clframe.strategies.part import Part, View
from clframe.types import Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network

RATES = {
    "uniform": lambda n: 1 / n,
    "linear": lambda n: 2 / (n + 1),
    "quadratic": lambda n: 6 * n / ((n + 1) * (2 * n + 1)),
}
"""Share w_n / (w_1 + ... + w_n) of the newest weights in their average, for w_k = 1, k and k^2."""


class EMA(Part):
    """EMA: the weights are trained as they are; what answers is a moving average of them.

        average_n = average_{n-1} + r_n (theta_n - average_{n-1})          after every update n, from average_0 = theta_0

    with theta all parameters and buffers of the network, the statistics of batch normalisation included, and

        weights = "exponential":  r_n = 1 - decay,   average_n = decay^n theta_0 + (1 - decay) sum_k decay^(n-k) theta_k
        weights = "uniform", "linear" or "quadratic":   average_n = sum_k w_k theta_k / sum_k w_k,   w_k = 1, k or k^2

    Buffers that are no floating-point numbers (counts, tables of the head) are copied. Training does not notice: with and without
    this part the weights are the same.

    Args:
        decay: lambda, how much of the average is kept at an update; only for exponential weights. The average lags behind by
            some 1 / (1 - decay) updates: for experiences of 100 updates take 0.9 rather than 0.99.
        weights: "exponential", "uniform", "linear" or "quadratic".

    Raises:
        OptionError: a decay outside [0, 1), or unknown weights.

    Logs:
        - ce: the cross-entropy of the trained network, not of the average.

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "er+ema(decay=0.9)")
        >>> sorted(result.terms.term.unique())
        ['ce']

    Reference: Soutif-Cormerais, Carta, van de Weijer, "Improving online continual learning performance and stability with
        temporal ensembles", 2023.
    Differences:
        1. Their logarithmic weights and the self-feeding variant (training goes on from the average) are left out.
        2. torch.optim.swa_utils.AveragedModel averages integers, too, where its buffers are averaged; here they are copied.
    """

    name = "ema"
    state = ("average", "updates")

    def __init__(
        self, decay: float = 0.99, weights: Literal["exponential", "uniform", "linear", "quadratic"] = "exponential"
    ) -> None:
        if not 0 <= decay < 1:
            raise bad_option("decay", "in [0, 1)", decay, "Give decay=0.99.")
        if weights not in ("exponential", *RATES):
            known = "'exponential', 'uniform', 'linear' or 'quadratic'"
            raise bad_option("weights", known, weights, "Give weights='exponential'.")
        self.decay, self.weights = decay, weights
        self.updates = 0

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """The average starts at the first weights."""
        super().bind(model, generator)
        self.average = copy.deepcopy(model).requires_grad_(False).eval()
        pairs = list(zip(_tensors(self.average), _tensors(model), strict=True))
        self._averaged = [(mean, now) for mean, now in pairs if mean.is_floating_point()]
        self._copied = [(mean, now) for mean, now in pairs if not mean.is_floating_point()]

    def begin(self, train: Train) -> None:
        """The head may have opened for new classes."""
        self._copy()

    @torch.no_grad()
    def absorb(self, view: View) -> None:
        """One step of the average."""
        self.updates += 1
        rate = 1 - self.decay if self.weights == "exponential" else RATES[self.weights](self.updates)
        means, now = ([pair[side] for pair in self._averaged] for side in (0, 1))
        torch._foreach_lerp_(means, now, rate)
        self._copy()

    def network(self) -> Network:
        """The average, always in evaluation mode."""
        return self.average

    def _copy(self) -> None:
        for mean, now in self._copied:
            mean.copy_(now)


def _tensors(model: Network) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
