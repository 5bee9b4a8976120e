"""Networks of one hidden layer, several trained at once on rows and weights of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from clframe.seeding import generator, rng

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
BLOCK = 8192


@final
@dataclass(frozen=True)
class Networks:
    """R networks x -> log softmax(W2 relu(W1 x + b1) + b2).

    Attributes:
        parameters: W1 (R, d, h), b1 (R, 1, h), W2 (R, h, c), b2 (R, 1, c).
    """

    parameters: tuple[Tensor, ...]

    @classmethod
    def fresh(cls, count: int, d: int, hidden: int, classes: int, seed: int) -> Networks:
        """All with the same weights, uniform in +-1 / sqrt(inputs of the layer), as torch's linear layers begin."""
        random, made = generator(seed, "weights"), []
        for inputs, outputs in ((d, hidden), (hidden, classes)):
            for rows in (inputs, 1):
                one = (2 * torch.rand(1, rows, outputs, generator=random) - 1) / inputs**0.5
                made.append(one.repeat(count, 1, 1).requires_grad_())
        return cls(tuple(made))

    def hidden(self, x: Tensor) -> Tensor:
        """(R, b, d) -> (R, b, h)."""
        w, b = self.parameters[:2]
        return torch.relu(torch.baddbmm(b, x, w))

    def logits(self, x: Tensor) -> Tensor:
        """(R, b, d) -> (R, b, c)."""
        w, b = self.parameters[2:]
        return torch.baddbmm(b, self.hidden(x), w)

    def accuracy(self, x: Floats, y: Rows) -> list[float]:
        """Of each network, in percent."""
        right = torch.zeros(len(self.parameters[0]))
        with torch.no_grad():
            for start in range(0, len(x), BLOCK):
                block = torch.from_numpy(x[start : start + BLOCK]).expand(len(right), -1, -1)
                right += (self.logits(block).argmax(2) == torch.from_numpy(y[start : start + BLOCK])).sum(1)
        return [100 * float(r) / len(x) for r in right]


@final
@dataclass(frozen=True)
class Outputs:
    """What one network says of n rows: hidden units (n, h) and log-probabilities (n, c)."""

    hidden: Floats
    log_probabilities: Floats

    def loss(self, y: Rows) -> Numbers:
        """The cross-entropy of each row (n,)."""
        own: Numbers = -self.log_probabilities[np.arange(len(y)), y].astype(np.float64)
        return np.maximum(own, 0.0)


def outputs(networks: Networks, x: Floats) -> Outputs:
    """Of the first network, block by block."""
    first = Networks(tuple(p[:1].detach() for p in networks.parameters))
    hidden, log_probabilities = [], []
    for start in range(0, len(x), BLOCK):
        block = torch.from_numpy(x[start : start + BLOCK])[None]
        hidden.append(first.hidden(block)[0].numpy())
        log_probabilities.append(functional.log_softmax(first.logits(block)[0].double(), 1).float().numpy())
    return Outputs(np.concatenate(hidden), np.concatenate(log_probabilities))


def train(
    networks: Networks, x: Floats, y: Rows, rows: Rows, weights: Numbers, *, passes: int, batch: int, lr: float, seed: int
) -> Networks:
    """Adam on the loss of each row times its weight. Networks do not sway each other; all see their rows in the same order.

        gradient of (1/b) sum_j w_j l_j over batches of b of the m rows; a row of weight 0 counts as one that is not there

    Args:
        networks: R networks, which are changed.
        x, y: samples (n, d) and labels (n,).
        rows: of each network (R, m).
        weights: of these, of mean 1 (R, m).
        passes, batch, lr: as usual.
        seed: of the order.
    """
    count, m = rows.shape
    inputs, labels, picked = torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(rows)
    weighted = torch.from_numpy(weights.astype(np.float32))
    optimizer = torch.optim.Adam(networks.parameters, lr=lr, fused=True)
    for one in range(passes):
        order = torch.from_numpy(rng(seed, "order", one).permutation(m))
        for part in (order[start : start + batch] for start in range(0, m, batch)):
            here = picked[:, part]
            found = networks.logits(inputs[here])
            loss = functional.cross_entropy(found.flatten(0, 1), labels[here].flatten(), reduction="none").view(count, -1)
            optimizer.zero_grad()
            (loss * weighted[:, part]).mean(1).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return networks
