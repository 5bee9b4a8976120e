"""GDumb: greedy sampler and dumb learner."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, final

import torch
from torch import nn

from clframe.errors import bad_option
from clframe.seeding import generator
from clframe.selection import Greedy
from clframe.strategies.build import Setup
from clframe.strategies.filling import enough_for_every_class
from clframe.strategies.loss import classification_loss
from clframe.strategies.part import bytes_of
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

WARM_UP = 0.1


@final
class GDumb:
    """GDumb: keep a balanced memory, and train from scratch on the memory alone whenever an answer is needed.

    Along the stream nothing is learned: samples enter a memory that keeps the first ones of every class, equally many of each. When
    an experience ends, the model is set back to its first weights and trained on the memory with SGD. Until the next one ends, the
    model stays as it is. What a method gains over GDumb, it gains by learning from the stream.

        theta <- theta_0;   for e = 0, 1, ..., epochs - 1, for batches b of the memory in random order:
            g <- grad mean_{i in b} CE(f(x_i; theta), y_i), its norm clipped to `clip`
            theta <- SGD(theta, g, rate(e), momentum, weight_decay)

        rate(0) = lr / 10,   rate(e) = min_lr + (lr - min_lr) / 2 * (1 + cos(pi (e - 2^k) / 2^k))   with 2^k <= e < 2^(k+1)

    so the rate restarts at epochs 1, 2, 4, 8, ...; a power of two for `epochs` ends where the rate is lowest.

    Args:
        size: samples in the memory.
        epochs: passes over the memory, at each experience's end.
        batch_size: samples of one of its updates; the memory is cut into batches of nearly equal size, none larger than this.
        lr: the largest learning rate.
        min_lr: the smallest one.
        momentum: momentum of SGD.
        weight_decay: weight decay of SGD.
        clip: largest norm of the gradient.

    Raises:
        OptionError: a size below the number of classes, or another option out of range.

    Logs:
        - gdumb/filled: samples in the memory

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "gdumb(size=100, epochs=8)", evaluate="boundaries")
        >>> result.budget.backwards <= 5 * 8 * 100
        True

    Reference: Prabhu, Torr and Dokania, "GDumb: a simple approach that questions our progress in continual learning", 2020,
        algorithm 1, with the training of the published code.
    Differences:
        1. CutMix, with which the paper trains on every data set but MNIST, is left out.
        2. The published code trains 128 epochs for MNIST and 256 for CIFAR and SVHN; here 128 by default. It trains once, on the
           memory at the end of the stream, in half precision, and reports the best of all epochs on the test set; here the
           model is trained at the end of every experience, and answers as it is after the last epoch.
        3. All scores compete in `predict`; the paper leaves out the classes that were not seen, which a trained model hardly
           predicts. With head="masked" they are left out here, too.
        4. Of several passes over an experience, only the first is offered to the memory, so that no sample is held twice.
        5. Every training starts from the same weights, as in Avalanche's plugin. That plugin fills its memory at random within
           each class, before the experience is trained, and trains with the run's optimizer, epochs and batch size.
        6. The run's optimizer, learning rate, batch size and epochs are not used. The copy of the first weights is not counted in
           the memory's bytes: they are a function of the seed.
        7. Boundaries must be revealed, because it is trained at each; the paper needs none, and trains once, when it is asked.
    """

    name = "gdumb"
    requires = frozenset({"boundaries"})

    def __init__(
        self,
        setup: Setup,
        *,
        size: int = 500,
        epochs: int = 128,
        batch_size: int = 16,
        lr: float = 0.05,
        min_lr: float = 0.0005,
        momentum: float = 0.9,
        weight_decay: float = 1e-6,
        clip: float = 10.0,
    ) -> None:
        _refuse(epochs, batch_size, lr, min_lr, momentum, weight_decay, clip)
        self.size, self.epochs, self.batch_size = size, epochs, batch_size
        self.lr, self.min_lr, self.momentum, self.weight_decay, self.clip = lr, min_lr, momentum, weight_decay, clip
        self.model = setup.model
        self.generator = generator(setup.seed, "strategy", self.name)
        self.memory = Greedy(size, self.generator)
        enough_for_every_class(size, self.model)
        self.offered = self.forwards = self.backwards = 0
        self._first = copy.deepcopy(setup.model)
        self._sample_bytes = 0

    def begin(self, train: Train) -> None:
        """An experience begins: the head may grow."""
        self.model.begin(train.classes, train.task)
        self._sample_bytes, self._pass = train.sample_bytes, train.size
        self.offered = 0

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """Offer the samples to the memory."""
        assert self._pass is not None, "boundaries are revealed"
        if self.offered < self._pass:
            self.memory.update(batch.index, batch.y)
            self.offered += len(batch)
        return {"gdumb/filled": torch.tensor(float(len(self.memory)))}

    def end(self, train: Train) -> None:
        """The experience is over: train from scratch on the memory."""
        self._start_anew()
        self.model.train()
        ids, parameters = self.memory.index[: len(self.memory)], [p for p in self.model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay, foreach=True)
        for epoch in range(self.epochs):
            optimizer.param_groups[0]["lr"] = rate(epoch, self.lr, self.min_lr)
            shuffled = ids[torch.randperm(len(ids), generator=self.generator)]
            for some in torch.tensor_split(shuffled, -(-len(ids) // self.batch_size)):
                batch = train.fetch(some)
                optimizer.zero_grad()
                classification_loss(self.model(batch.x, batch.task), batch.y, batch.weight, batch.mass).backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(parameters, self.clip)
                optimizer.step()
        optimizer.zero_grad()
        self.forwards += self.epochs * len(ids)
        self.backwards += self.epochs * len(ids)

    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Scores (B, C) of the model as it was trained last; of the untrained one before."""
        scores: Tensor = self.model(x, task)
        return scores

    def state_dict(self) -> dict[str, Any]:
        """The model, the memory (with the generator), and counts."""
        counts = {"offered": self.offered, "forwards": self.forwards, "backwards": self.backwards}
        return {"model": self.model.state_dict(), "memory": self.memory.state_dict(), **counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.memory.load_state_dict(state["memory"])
        self.offered, self.forwards, self.backwards = state["offered"], state["forwards"], state["backwards"]

    def ledger(self) -> dict[str, Any]:
        """Declared use: bytes of the memory with the samples it stands for, samples sent forward and backward."""
        held = len(self.memory) * (self._sample_bytes + 8) + bytes_of(self.memory.state_dict())
        return {
            "optimizer_bytes": 0,
            "state_bytes": {self.name: held},
            "forwards": self.forwards,
            "backwards": self.backwards,
        }

    def describe(self) -> dict[str, Any]:
        """Name and options, for the resolved spec."""
        names = ("size", "epochs", "batch_size", "lr", "min_lr", "momentum", "weight_decay", "clip")
        return {"strategy": "GDumb", "name": self.name, "options": {name: getattr(self, name) for name in names}}

    def _start_anew(self) -> None:
        """The first weights and running statistics; which classes the head scores stays as it is."""
        _copy(self._first.parameters(), self.model.parameters())
        _copy(self._first.backbone.buffers(), self.model.backbone.buffers())


def rate(epoch: int, lr: float, min_lr: float) -> float:
    """Learning rate of an epoch: a tenth of the largest one, then cosines over 1, 2, 4, 8, ... epochs.

    Example:
        >>> [round(rate(epoch, 1.0, 0.0), 2) for epoch in range(9)]
        [0.1, 1.0, 1.0, 0.5, 1.0, 0.85, 0.5, 0.15, 1.0]

    Reference: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, equation 5.
    """
    if epoch == 0:
        return WARM_UP * lr
    cycle = 1 << (epoch.bit_length() - 1)
    return min_lr + (lr - min_lr) / 2 * (1 + math.cos(math.pi * (epoch - cycle) / cycle))


def _copy(source: Iterable[Tensor], into: Iterable[Tensor]) -> None:
    with torch.no_grad():
        for held, value in zip(into, source, strict=True):
            held.copy_(value)


def _refuse(epochs: int, batch_size: int, lr: float, min_lr: float, momentum: float, weight_decay: float, clip: float) -> None:
    if epochs < 1:
        raise bad_option("epochs", "a positive integer", epochs, "Give epochs=128.")
    if batch_size < 1:
        raise bad_option("batch_size", "a positive integer", batch_size, "Give batch_size=16.")
    if not lr > 0:
        raise bad_option("lr", "positive", lr, "Give lr=0.05.")
    if not 0 <= min_lr <= lr:
        raise bad_option("min_lr", f"in [0, lr], with lr={lr}", min_lr, f"Give min_lr={lr / 100}.")
    if not 0 <= momentum < 1:
        raise bad_option("momentum", "in [0, 1)", momentum, "Give momentum=0.9.")
    if not weight_decay >= 0:
        raise bad_option("weight_decay", "zero or positive", weight_decay, "Give weight_decay=1e-6.")
    if not clip > 0:
        raise bad_option("clip", "positive", clip, "Give clip=10.")
