"""The variational autoencoder: its losses against torch.distributions, its variance, its sizes."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from clframe.errors import DivergedError, OptionError
from clframe.models.vae import VAE, fit, rebuilt
from clframe.seeding import generator, seeded

X, TOLD = torch.rand(5, 6, generator=generator(0, "x")), torch.eye(3)[[0, 1, 2, 0, 1]]


def network(likelihood: str, told: int = 3) -> VAE:
    with seeded(0, "weights"):
        return VAE(6, told, 16, 2, likelihood)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_loss_is_the_bound_at_one_draw(likelihood: str) -> None:
    net, noise = network(likelihood).eval(), torch.randn(5, 2, generator=generator(0, "noise"))
    net.variance = torch.tensor(0.3)
    mean, log = net.encode(X, TOLD)
    q = Normal(mean, (log / 2).exp())
    out = net.decode(mean + noise * q.scale, TOLD)
    p = Bernoulli(logits=out, validate_args=False) if likelihood == "bernoulli" else Normal(out, 0.3**0.5)
    expected = kl_divergence(q, Normal(0.0, 1.0)).sum(1) - Independent(p, 1).log_prob(X)
    assert torch.allclose(net(X, TOLD, noise), expected, atol=1e-5)


def test_the_variance_is_that_of_the_largest_likelihood() -> None:
    net, noise = network("gaussian").train(), torch.zeros(5, 2)
    losses = net(X, TOLD, noise)
    best = net.variance.clone()
    net.eval()
    assert torch.equal(net(X, TOLD, noise), losses)  # measuring changes nothing
    assert torch.equal(net.variance, best)
    for factor in (0.9, 1.1):
        net.variance = best * factor
        assert net(X, TOLD, noise).mean() > losses.mean()


def test_fitting_learns_what_is_told_and_leaves_the_error_that_is_left() -> None:
    label = torch.arange(200) % 3
    told = torch.eye(3)[label]
    x = told @ (4 * torch.eye(3, 6)) + 0.5 * torch.randn(200, 6, generator=generator(0, "data"))
    net = network("gaussian")
    for _ in range(2):
        again = network("gaussian")
        fit(again, lambda i: (x[i], told[i]), torch.ones(200), epochs=150, batch=50, lr=0.005, random=generator(0, "fit"))
        assert all(torch.equal(a, b) for a, b in zip(again.parameters(), net.parameters(), strict=True)) or net.training
        net = again
    made = net.decode(torch.zeros(3, 2), torch.eye(3))
    assert torch.allclose(made, 4 * torch.eye(3, 6), atol=0.6)
    assert 0.1 < float(net.variance) < 0.35


def test_sizes_are_found_in_the_weights() -> None:
    net = network("gaussian")
    again = rebuilt(net.state_dict(), "gaussian")
    assert (again.inputs, again.told, again.latent) == (6, 3, 2)
    assert torch.equal(net.eval()(X, TOLD, None), again(X, TOLD, None))
    assert "variance" not in network("bernoulli").state_dict()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(OptionError, match="Did you mean 'gaussian'"):
        network("gausian")
    with pytest.raises(DivergedError, match=r"got nan\. Give a smaller lr"):
        fit(
            network("gaussian"),
            lambda i: (X[i] * torch.nan, TOLD[i]),
            torch.ones(5),
            epochs=1,
            batch=5,
            lr=0.1,
            random=torch.Generator(),
        )
