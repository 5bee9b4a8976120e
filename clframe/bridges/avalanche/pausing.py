"""The plugin at which Avalanche's training loop waits."""

from __future__ import annotations

from typing import Any

import torch

from clframe.bridges.avalanche.turns import Turns


class Pause:
    """Stands last among the plugins: before the first epoch, and after each iteration, the loop waits for its turn.

    Attributes:
        planned: iterations of the experience, as known when its first epoch begins.
        iterations: iterations done in the experience.
        samples: samples of all iterations done, remembered ones included.
        loss: that of the last iteration.
    """

    def __init__(self) -> None:
        self.planned = self.iterations = self.samples = 0
        self.loss = torch.zeros(())
        self._turns: Turns | None = None
        self._ready = False

    def open(self, turns: Turns) -> None:
        """The loop of one experience begins."""
        self._turns, self._ready = turns, False
        self.planned = self.iterations = 0

    def before_training_epoch(self, strategy: Any, **_: Any) -> None:
        """Data and model are adapted, loaders are made: now it is known how long the experience is."""
        if not self._ready:
            self._ready = True
            self.planned = strategy.train_epochs * len(strategy.dataloader)
            self._wait()

    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        """One update is complete."""
        self.iterations += 1
        self.samples += len(strategy.mbatch[0])
        self.loss = strategy.loss.detach().reshape(-1)[0].clone()
        self._wait()

    def _wait(self) -> None:
        if self._turns is not None:
            self._turns.pause()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_turns": None}
