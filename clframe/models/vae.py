"""A variational autoencoder of flat inputs: generators of synthetic data and generative replay share it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clframe.errors import DivergedError, unknown_name
from clframe.seeding import seeded

LIKELIHOODS = ("bernoulli", "gaussian")
LEAST_VARIANCE = 1e-6


@final
class VAE(nn.Module):
    """Encoder and decoder of two hidden layers each, which are told something beside their input, such as a label.

        loss_i = KL(q(z | x_i, c_i) || N(0, I)) - ln p(x_i | z, c_i),   q(z | x, c) = N(m, diag s^2)
        bernoulli:   p(x | z, c) = prod_j o_j^x_j (1 - o_j)^(1 - x_j),  o = sigmoid(decoder(z, c)),  for inputs in [0, 1]
        gaussian:    p(x | z, c) = N(decoder(z, c), v I),               for inputs that are standardised, or any other numbers

    in nats. The variance v is not learned by descent: in training it is the mean squared error of the batch at hand, which is the
    value of largest likelihood; `fit` leaves that of its last pass.

    Args:
        inputs: numbers D of a sample.
        told: numbers T of what is told; may be 0.
        hidden: units of each hidden layer.
        latent: numbers Z of z.
        likelihood: "bernoulli" or "gaussian".

    Shapes:
        x (B, D), told (B, T), z and noise (B, Z), losses (B,), variance ().

    Raises:
        OptionError: an unknown likelihood.

    Example:
        >>> net = VAE(inputs=4, told=0, hidden=8, latent=2)
        >>> net(torch.ones(3, 4), torch.zeros(3, 0), None).shape
        torch.Size([3])

    Reference: Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014. The variance: Rybkin, Daniilidis and Levine,
        "Simple and effective VAE training with calibrated decoders", ICML 2021, the optimal sigma.

    Differences: none known.
    """

    variance: Tensor

    def __init__(self, inputs: int, told: int, hidden: int, latent: int, likelihood: str = "bernoulli") -> None:
        super().__init__()
        if likelihood not in LIKELIHOODS:
            raise unknown_name("likelihood", likelihood, LIKELIHOODS)
        self.inputs, self.told, self.latent, self.likelihood = inputs, told, latent, likelihood
        self.encoder = nn.Sequential(_layers(inputs + told, hidden), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(_layers(latent + told, hidden), nn.Linear(hidden, inputs))
        self.register_buffer("variance", torch.ones(()), persistent=likelihood == "gaussian")

    def encode(self, x: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log of the variance of q, (B, Z) each."""
        mean, log = self.encoder(torch.cat([x, told], dim=1)).chunk(2, dim=1)
        return mean, log

    def decode(self, z: Tensor, told: Tensor) -> Tensor:
        """Logits of the numbers of a sample, or their means (B, D)."""
        found: Tensor = self.decoder(torch.cat([z, told], dim=1))
        return found

    def forward(self, x: Tensor, told: Tensor, noise: Tensor | None) -> Tensor:
        """The loss of each sample (B,), at z = m + s noise; at z = m without noise."""
        mean, log = self.encode(x, told)
        z = mean if noise is None else mean + noise * (log / 2).exp()
        away = (mean.square() + log.exp() - 1 - log).sum(dim=1) / 2
        return away + self._misfit(x, self.decode(z, told))

    def _misfit(self, x: Tensor, out: Tensor) -> Tensor:
        """-ln p(x | z) of each sample (B,)."""
        if self.likelihood == "bernoulli":
            return F.binary_cross_entropy_with_logits(out, x, reduction="none").sum(dim=1)
        squared = (x - out).square()
        if self.training:
            self.variance = squared.detach().mean().clamp_min(LEAST_VARIANCE)
        return (squared.sum(dim=1) / self.variance + x.shape[1] * (2 * math.pi * self.variance).log()) / 2


def rebuilt(weights: Mapping[str, Tensor], likelihood: str) -> VAE:
    """The network with these weights, which say its sizes.

    Example:
        >>> rebuilt(VAE(4, 3, 8, 2, "gaussian").state_dict(), "gaussian").told
        3
    """
    (inputs, hidden), wide = weights["decoder.1.weight"].shape, weights["encoder.0.0.weight"].shape[1]
    with seeded(0, "rebuilt"):  # its first weights are drawn, and thrown away
        net = VAE(inputs, wide - inputs, hidden, len(weights["encoder.1.bias"]) // 2, likelihood)
    net.load_state_dict(dict(weights))
    return net.eval()


def fit(
    net: VAE,
    rows: Callable[[Tensor], tuple[Tensor, Tensor]],
    mass: Tensor,
    *,
    epochs: int,
    batch: int,
    lr: float,
    random: torch.Generator,
) -> None:
    """Minimise the weighted mean of the losses by Adam, `epochs` times over all rows in random order.

    Args:
        net: is changed; on any device.
        rows: x (b, D) and what is told (b, T) of the rows with these numbers (b,), on the net's device.
        mass: weight of each row (n,), with mean 1, on the net's device.
        epochs: passes.
        batch: rows of an update.
        lr: learning rate.
        random: on the CPU; draws the order and the noise.

    Raises:
        DivergedError: the loss is no longer finite.

    Example:
        >>> x, net = torch.rand(32, 4), VAE(4, 0, 8, 2, "gaussian")
        >>> fit(net, lambda i: (x[i], x[i, :0]), torch.ones(32), epochs=2, batch=8, lr=0.01, random=torch.Generator())
        >>> 0 < float(net.variance) < 1
        True
    """
    optimiser = torch.optim.Adam(net.parameters(), lr=lr)
    net.train()
    for _ in range(epochs):
        spread = torch.zeros_like(net.variance)
        for some in torch.split(torch.randperm(len(mass), generator=random), batch):
            some = some.to(mass.device)
            noise = torch.randn(len(some), net.latent, generator=random).to(mass.device)
            loss = (mass[some] * net(*rows(some), noise)).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            spread += net.variance * (len(some) / len(mass))
        if not bool(torch.isfinite(loss)):
            raise DivergedError(f"the loss of a variational autoencoder must be finite; got {loss.item()}. Give a smaller lr.")
    net.variance = spread
    net.eval()


def _layers(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
