"""A variational autoencoder of images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from clframe.errors import DataError, bad_option
from clframe.generations.generators.interface import Columns, Floats, need_fit
from clframe.models import vae
from clframe.seeding import generator as torch_generator
from clframe.seeding import seeded

BLOCK = 1000
"""Images that are scored or made at once."""


@final
@dataclass
class VAE:
    """A variational autoencoder of multilayer perceptrons, with independent pixels between 0 and 1.

        loss_i = KL(q(z | x_i) || N(0, I)) - sum_pixels (x ln p + (1 - x) ln(1 - p)),  p = decoder(z)
        z ~ q(z | x_i) = N(m, diag s^2)

    in nats an image. `fit` minimises the weighted mean over batches by Adam, for epochs * n / batch updates; `score` takes z = m,
    so that it draws nothing. `sample` gives p for z ~ N(0, I), as whole numbers from 0 to 255. Columns: "x" (n, h, w) or
    (n, h, w, 3), whole numbers from 0 to 255, and, for a conditional model, "label" (n,).

    Args:
        epochs: passes over the training rows.
        hidden: units of each of two hidden layers of encoder and decoder.
        latent: numbers of z.
        batch: images of an update.
        lr: learning rate of Adam.
        conditional: encoder and decoder are told the label; samples have labels as often as the training rows had them.
        device: "cpu", "cuda" or any other of torch.

    Raises:
        OptionError: an option breaks its rule, or nothing was fitted.
        DataError: no images, or no labels for a conditional model.
        DivergedError: the loss is no longer finite.

    Example:
        >>> from clframe.generations.sources import Named
        >>> real = Named("digits")(200, 20, seed=0, data_dir=None)
        >>> model = VAE(epochs=2, hidden=16, latent=2)
        >>> model.fit(real.train, np.ones(200), seed=0)
        >>> model.sample(3, seed=0)["x"].shape, model.score(real.heldout).shape
        ((3, 8, 8), (20,))

    Reference: Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014; the conditional one: Sohn, Lee and Yan, "Learning
        structured output representation using deep conditional generative models", NeurIPS 2015.

    Differences:
        1. `score` puts the mean of q in place of a draw, so it is not a bound on the likelihood, but is the same each time.
    """

    epochs: int = 20
    hidden: int = 400
    latent: int = 20
    batch: int = 64
    lr: float = 1e-3
    conditional: bool = False
    device: str = "cpu"
    net: vae.VAE | None = field(default=None, init=False, repr=False)
    shape: tuple[int, ...] = field(default=(), init=False, repr=False)
    classes: int = field(default=0, init=False, repr=False)
    shares: Floats | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("epochs", "hidden", "latent", "batch"):
            if getattr(self, name) < 1:
                raise bad_option(name, "a positive integer", getattr(self, name), "Leave it out.")
        if not self.lr > 0:
            raise bad_option("lr", "positive", self.lr, "Give lr=0.001.")

    def prepare(self, real: Columns) -> None:
        """Keep which labels there are."""
        self.classes = int(real["label"].max()) + 1 if "label" in real else 0
        if self.conditional and not self.classes:
            raise DataError(f"a conditional vae needs a column 'label'; got {', '.join(real)}. Leave conditional out.")

    def fit(self, data: Columns, weight: Floats, seed: int) -> None:
        """See `Generator`."""
        if not self.classes:
            self.prepare(data)
        x, told = self._inputs(data)
        self.shape = data["x"].shape[1:]
        if self.conditional:
            self.shares = np.bincount(data["label"], weight, minlength=self.classes) / weight.sum()
        mass = torch.from_numpy((weight / weight.mean()).astype(np.float32)).to(self.device)
        with seeded(seed, "weights"):
            self.net = vae.VAE(x.shape[1], told.shape[1], self.hidden, self.latent).to(self.device)
        random = torch_generator(seed, "vae")
        vae.fit(self.net, lambda i: (x[i], told[i]), mass, epochs=self.epochs, batch=self.batch, lr=self.lr, random=random)

    def sample(self, n: int, seed: int) -> Columns:
        """See `Generator`."""
        net, random = need_fit(self.net, "vae"), torch_generator(seed, "vae-sample")
        z = torch.randn(n, self.latent, generator=random)
        label = np.zeros(n, dtype=np.int64)
        if self.shares is not None:
            label = torch.multinomial(torch.from_numpy(self.shares), n, replacement=True, generator=random).numpy()
        told = self._told(label)
        with torch.inference_mode():
            pairs = zip(torch.split(z, BLOCK), torch.split(told, BLOCK), strict=True)
            made = torch.cat([net.decode(a.to(self.device), b).sigmoid().cpu() for a, b in pairs])
        x = np.round(255 * made.numpy()).astype(np.uint8).reshape(n, *self.shape)
        return {"x": x, "label": label} if self.conditional else {"x": x}

    def score(self, data: Columns) -> Floats:
        """See `Generator`."""
        net, (x, told) = need_fit(self.net, "vae"), self._inputs(data)
        with torch.inference_mode():
            found = [net(a, b, None).cpu() for a, b in zip(torch.split(x, BLOCK), torch.split(told, BLOCK), strict=True)]
        return torch.cat(found).double().numpy()

    def embed(self, data: Columns) -> npt.NDArray[np.float32]:
        """The mean of q(z | x) (n, latent)."""
        net, (x, told) = need_fit(self.net, "vae"), self._inputs(data)
        with torch.inference_mode():
            found = [net.encode(a, b)[0].cpu() for a, b in zip(torch.split(x, BLOCK), torch.split(told, BLOCK), strict=True)]
        return torch.cat(found).numpy()

    def _inputs(self, data: Columns) -> tuple[Tensor, Tensor]:
        x = data.get("x")
        if x is None or x.ndim < 3 or x.dtype != np.uint8:
            raise DataError(f"generator 'vae' needs a column 'x' of images, whole numbers from 0 to 255; got {', '.join(data)}.")
        pixels = torch.from_numpy(np.ascontiguousarray(x).reshape(len(x), -1)).to(self.device).float().div_(255)
        return pixels, self._told(data["label"] if self.conditional else np.zeros(len(x), dtype=np.int64))

    def _told(self, label: npt.NDArray[Any]) -> Tensor:
        """What encoder and decoder are told beside their input: the label, one-hot; nothing without `conditional`."""
        if not self.conditional:
            return torch.zeros(len(label), 0, device=self.device)
        return F.one_hot(torch.from_numpy(label.astype(np.int64)), self.classes).float().to(self.device)
