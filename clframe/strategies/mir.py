"""Maximally interfered retrieval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch.func import functional_call
from torch.nn import functional

from clframe.errors import OptionError, bad_option
from clframe.strategies.gradients import evaluating
from clframe.strategies.loss import classification_loss
from clframe.strategies.part import View
from clframe.strategies.replay import Replay
from clframe.types import Batch

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class MIR(Replay):
    """MIR: experience replay that recalls what the new batch is about to damage most.

    At each update some samples are drawn from the memory as candidates. A virtual step of plain gradient descent is made on the new
    batch alone, and those candidates whose loss it raises most are recalled. The rest is ER.

        theta'  = theta - lr * grad_theta mean_{i in new} CE(f(x_i; theta), y_i)
        rise(j) = CE(f(x_j; theta'), y_j) - CE(f(x_j; theta), y_j)               for j in the candidates
        recalled = the batch_size candidates with the largest rise
        loss = sum_{i in new + recalled} w_i CE(f(x_i), y_i) / sum_i w_i

    with lr the learning rate of the run's optimizer. An update costs one more pass forward and backward over the new batch and two
    more forward over the candidates.

    Args:
        size: samples in the memory.
        memory: how it is filled, such as "reservoir"; see `er`.
        batch_size: samples to recall at each update; as many as the new batch by default.
        candidates: samples to choose them from; at least as many as are recalled.

    Raises:
        OptionError: a size below the number of classes, a batch size that is not positive, an unknown memory, or fewer candidates
            than samples to recall.

    Logs:
        - ce: the weighted mean of the cross-entropy over new and recalled samples
        - mir/rise: mean rise of the recalled samples' loss in the virtual step
        - mir/candidates: mean rise of all candidates' loss, which random recall would have

    Example:
        >>> import clframe
        >>> terms = clframe.run("split-digits", "mir(size=100)").terms
        >>> rise, candidates = (terms[terms.term == f"mir/{name}"].value.mean() for name in ("rise", "candidates"))
        >>> bool(rise > candidates)
        True

    Reference: Aljundi, Caccia, Belilovsky, Caccia, Lin, Charlin and Tuytelaars, "Online continual learning with maximally
        interfered retrieval", 2019, algorithm 1 (ER-MIR).
    Differences:
        1. The virtual step is the plain gradient step with the run's learning rate, as published, whatever the run's optimizer is:
           momentum and adaptive steps are not imitated. It is made on the cross-entropy, whatever other parts make of the loss.
        2. The virtual step and both losses are taken in evaluation mode, so that dropout draws nothing, running statistics stay as
           they are, and a rise is the effect of the weights alone. The authors' code and Avalanche's plugin stay in training mode
           and so update the running statistics.
        3. The loss is the mean over new and recalled samples together, as in the paper's algorithm and as in `er`; the authors'
           code and Avalanche's add the two means, which is twice as much where both batches are of equal size.
        4. The candidates come from the whole memory, that of the experience in progress included. The authors' code leaves out the
           samples of the task in progress, Avalanche's the classes of the last batch of the last experience, and both recall
           nothing in the first one.
        5. The authors' option to compare with the lowest loss that a sample ever had is left out.
    """

    name = "mir"
    needs_head = True

    def __init__(self, size: int = 500, memory: str = "reservoir", batch_size: int | None = None, candidates: int = 50) -> None:
        super().__init__(size, memory, batch_size)
        self.candidates = candidates
        if candidates < (batch_size or 1):
            raise self._too_few(batch_size or 1)
        self._log: Mapping[str, Tensor] = {}

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """Make the memory; note the parameters that the virtual step moves."""
        super().bind(model, generator)
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def recall(self, batch: Batch) -> Batch | None:
        """Of some samples of the memory, those whose loss the new batch raises most."""
        count, self._log = self.batch_size or len(batch), {}
        if self.candidates < count:
            raise self._too_few(count)
        if not self.memory.filled:
            return None
        pool = self._fetch(self.memory.draw(self.candidates))
        if len(pool) <= count:
            return pool
        rise = self.rise(batch, pool)
        chosen = rise.sort(descending=True, stable=True).indices[:count]
        self._log = {"rise": rise[chosen].mean(), "candidates": rise.mean()}
        return _rows(pool, chosen)

    def absorb(self, view: View) -> Mapping[str, Tensor]:
        """Offer the new samples to the memory; give the terms to log."""
        super().absorb(view)
        return self._log

    def rise(self, batch: Batch, pool: Batch) -> Tensor:
        """By how much a plain gradient step on the batch raises the loss of each sample of the pool (n,)."""
        parameters: list[Tensor] = list(self._parameters.values())
        with evaluating(self.model):
            loss = classification_loss(self.model(batch.x, batch.task), batch.y, batch.weight, batch.mass)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
            with torch.no_grad():
                moved = torch._foreach_add(parameters, gradients, alpha=-float(self.optimizer.param_groups[0]["lr"]))
                before = self.model(pool.x, pool.task)
                after = functional_call(self.model, dict(zip(self._parameters, moved, strict=True)), (pool.x, pool.task))
        self.forwards += len(batch) + 2 * len(pool)
        self.backwards += len(batch)
        losses = (functional.cross_entropy(logits, pool.y, reduction="none") for logits in (after, before))
        return torch.sub(*losses)

    def describe(self) -> dict[str, object]:
        """Name and options."""
        options = {"size": self.size, "memory": self.kind, "batch_size": self.batch_size, "candidates": self.candidates}
        return {"part": "MIR", "name": self.name, "options": options}

    def _too_few(self, count: int) -> OptionError:
        rule = f"at least the number of samples to recall, {count}"
        return bad_option("candidates", rule, self.candidates, f"Give candidates={max(50, 5 * count)}, or a smaller batch_size.")


def _rows(batch: Batch, rows: Tensor) -> Batch:
    """Some rows of a batch."""
    weight, task, mass = (None if column is None else column[rows] for column in (batch.weight, batch.task, batch.mass))
    return Batch(batch.x[rows], batch.y[rows], batch.index[rows.cpu()], weight, task, mass=mass)
