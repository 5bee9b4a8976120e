"""Hard attention to the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from clframe.errors import bad_option
from clframe.models import Head
from clframe.seeding import generator
from clframe.strategies.build import Setup
from clframe.strategies.chain import Chain
from clframe.strategies.loss import classification_loss
from clframe.strategies.part import bytes_of
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

ACTIVE = 6.0
"""Embeddings stay in [-6, 6], where the sigmoid can still move."""
LARGEST = 50.0
"""What cosh is taken of at most."""


class HAT:
    """HAT: every task learns which units it uses, and a weight between units that earlier tasks use no longer moves.

        h_l      = a_l * layer_l(h_{l-1}),   a_l = sigmoid(s e_l)       for each layer l, with the embedding e_l of the task
        s        = 1/s_max + (s_max - 1/s_max) (b - 1) / (B - 1)        at batch b of the B of a pass; s_max in evaluation
        loss     = CE + strength * sum_i a_i (1 - A_i) / sum_i (1 - A_i)                over the units i of all layers
        grad e  <- grad e * s_max / s * (cosh(s e) + 1) / (cosh(e) + 1), then a step, then e is clamped to [-6, 6]
        step_ij <- step_ij * (1 - min(A_l,i, A_{l-1},j))                for the weight of layer l from unit j to unit i
        A       <- max(A, sigmoid(s_max e))                             at the end of an experience; at first, A = 0

    A, the cumulative attention, is 1 for the input. A weight between two units with A = 1 keeps its value, bit for bit; so
    where the attention of earlier tasks is 0 or 1 throughout, their outputs never change. sigmoid(s_max e) is exactly 1 in float32
    for e > 17.4 / s_max; it is 2e-9 for e = -20 / s_max, and through such a unit an earlier task sees what later ones do to it.

    HAT is a strategy by itself, on streams that tell the task at training and test, with a head for each task ("multi"). The
    backbone is a plain chain: 'mlp', 'cnn', or an nn.Sequential of Linear and Conv layers with activations, pooling, dropout,
    Flatten and batch normalisation. Its Linear and Conv layers all have attention; a unit of a Conv layer is a map.

    Args:
        setup: what every strategy is made from.
        strength: c, how much the use of free units costs.
        s_max: how hard the attention becomes.

    Raises:
        OptionError: a negative strength, an s_max that is not above 1, a backbone that is no such chain, another head than
            "multi", or an experience of several tasks.

    Logs:
        - ce: the cross-entropy of the batch, with the attention of the moment.
        - hat/sparsity: the second term of the loss.
        - hat/used: mean of A over all units, the share of the capacity that earlier tasks hold.

    Example:
        >>> import clframe
        >>> result = clframe.run("task-incremental", "hat")
        >>> sorted(result.terms.term.unique())
        ['ce', 'hat/sparsity', 'hat/used']

    Reference: Serra, Suris, Miron and Karatzoglou, "Overcoming catastrophic forgetting with hard attention to the task", 2018,
        section 2.

    Differences:
        1. The mask is applied to the step of the optimizer, not to the gradient: for plain SGD the same, and with momentum,
           weight decay or Adam still exact, where old gradients or the decay would move weights whose gradient is masked.
        2. The rows of the head that other tasks own do not move either, for the same reason; so with the scale of a cosine head
           after the first experience. The paper's heads are separate layers.
        3. Batch normalisation, which the paper's networks do not have, has parameters and statistics for each task.
        4. A pass is `size` samples of the experience, and B comes from the first batch, since nothing else is revealed;
           this is the paper's epoch. With one pass over an experience, s rises once.
        5. The authors' code also clips the norm of the gradient at 10,000; here nothing is clipped.
        6. A task that comes back trains its embedding and its rows again, but no weight that it, or another task, holds.
    """

    requires = frozenset({"task_train", "task_test", "boundaries"})
    grows = frozenset({"experiences"})  # an embedding, rows of the head and normalisation for each task

    def __init__(self, setup: Setup, *, strength: float = 0.75, s_max: float = 400.0) -> None:
        if not strength >= 0:
            raise bad_option("strength", "zero or positive", strength, "Give strength=0.75.")
        if not s_max > 1:
            raise bad_option("s_max", "above 1", s_max, "Give s_max=400.")
        self.strength, self.s_max = strength, s_max
        self.model, self.reset_optimizer = setup.model, setup.reset_optimizer
        self._chain = Chain(setup.model.backbone, "hat")
        self._units = self._chain.units
        tasks, device = getattr(setup.model.head, "num_tasks", 1), next(setup.model.parameters()).device
        draw = generator(setup.seed, "hat")
        start = [torch.randn(sum(self._units), generator=draw).to(device) for _ in range(tasks)]
        self.embedding = nn.ParameterList(nn.Parameter(e) for e in start)
        self.norms = nn.ModuleList(self._chain.fresh_norms() for _ in range(tasks))
        self.used = torch.zeros(sum(self._units), device=device)
        replaced = {id(p) for norm in self._chain.norms for p in norm.parameters()}
        shared = [p for p in setup.model.parameters() if id(p) not in replaced]
        self._trained = [*shared, *self.embedding.parameters(), *self.norms.parameters()]
        self.optimizer = setup.optimizer(self._trained)
        self.seen = self.batch_size = self.forwards = self.backwards = 0

    def begin(self, train: Train) -> None:
        """The rows of the task come into use; which weights may move is settled."""
        if not isinstance(self.model.head, Head) or self.model.head.kind != "multi":
            raise bad_option("head", "'multi' for 'hat', one for each task", self.model.head.kind, "Leave it out.")
        if train.task is None or train.size is None:
            raise bad_option("task", "one for each experience for 'hat'", train.task, "Use a task-incremental stream.")
        self.model.begin(train.classes, train.task)
        for module in (self.model, self.norms):
            module.train()
        if self.reset_optimizer:
            self.optimizer.state.clear()
        self._task, self._size, self._first = train.task, train.size, train.experience == 0
        self.seen = self.batch_size = 0
        self._settle()

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """One update. Returns the terms, detached."""
        s, embedding = self._steepness(len(batch)), self.embedding[self._task]
        attention = torch.sigmoid(s * embedding)
        logits = self.model.head(self._features(batch.x, attention, self._task), batch.task)
        free = 1 - self.used
        sparsity = self.strength * (attention * free).sum() / free.sum().clamp_min(torch.finfo(free.dtype).tiny)
        ce = classification_loss(logits, batch.y, batch.weight, batch.mass)
        for parameter in self._trained:
            parameter.grad = None
        (ce + sparsity).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            assert embedding.grad is not None
            embedding.grad *= compensation(embedding, s, self.s_max)
            before = [p.detach().clone() for p in self._held]
            self.optimizer.step()
            torch._foreach_lerp_(before, self._held, self._mobile)
            torch._foreach_copy_(self._held, before)
            embedding.clamp_(-ACTIVE, ACTIVE)
        self.seen = (self.seen + len(batch)) % self._size
        self.forwards += len(batch)
        self.backwards += len(batch)
        return {"ce": ce.detach(), "hat/sparsity": sparsity.detach(), "hat/used": self.used.mean()}

    def end(self, train: Train) -> None:
        """The units that the task uses are held from now on."""
        self.used = torch.maximum(self.used, self._attention(self._task))

    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Scores (B, C), each sample by the attention of its task.

        Raises:
            OptionError: the task is not told.
        """
        if task is None:
            raise bad_option("task", "known to predict with 'hat'", None, "Use a scenario that reveals the task.")
        scores = x.new_empty(len(x), self.model.num_classes)
        for one in torch.unique(task).tolist():
            rows = task == one
            scores[rows] = self.model.head(self._features(x[rows], self._attention(one), one), task[rows])
        return scores

    def state_dict(self) -> dict[str, Any]:
        """The network, the embeddings, the normalisations, what is held, and how far the pass has come."""
        modules: dict[str, Any] = {
            "model": self.model,
            "embedding": self.embedding,
            "norms": self.norms,
            "optimizer": self.optimizer,
        }
        counts = {name: getattr(self, name) for name in ("seen", "batch_size", "forwards", "backwards")}
        return {**{name: module.state_dict() for name, module in modules.items()}, **counts, "used": self.used.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        for name in ("model", "embedding", "norms", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        for name in ("seen", "batch_size", "forwards", "backwards"):
            setattr(self, name, state[name])
        self.used = state["used"].to(self.used.device)
        if hasattr(self, "_task"):
            self._settle()

    def ledger(self) -> dict[str, Any]:
        """Declared use: bytes of the optimizer and of what is kept beside the network, samples sent forward and backward."""
        kept = [self.embedding.state_dict(), self.norms.state_dict(), self.used]
        return {
            "optimizer_bytes": bytes_of(self.optimizer.state_dict()["state"]),
            "state_bytes": {"hat": bytes_of(kept)},
            "forwards": self.forwards,
            "backwards": self.backwards,
        }

    def describe(self) -> Mapping[str, Any]:
        """Name and options, for the resolved spec."""
        return {"strategy": "HAT", "options": {"strength": self.strength, "s_max": self.s_max}}

    def _features(self, x: Tensor, attention: Tensor, task: int) -> Tensor:
        norms = self.norms[task]
        assert isinstance(norms, nn.ModuleList)
        return self._chain.forward(x, torch.split(attention, self._units), norms)

    @torch.no_grad()
    def _attention(self, task: int) -> Tensor:
        """The attention of a task when it is measured, and when it is over."""
        return torch.sigmoid(self.s_max * self.embedding[task])

    def _steepness(self, size: int) -> float:
        """s of the next batch; the size of the first batch of an experience says how many there are in a pass."""
        self.batch_size = self.batch_size or size
        last = (self._size - 1) // self.batch_size * self.batch_size
        low = 1 / self.s_max
        return low + (self.s_max - low) * min(1.0, self.seen / last) if last else self.s_max

    @torch.no_grad()
    def _settle(self) -> None:
        """By how much each weight may move: 1 for all of the step, 0 for none of it."""
        self._held: list[Tensor] = []
        self._mobile: list[Tensor] = []
        used = torch.split(self.used, self._units)
        for layer, (pre, post) in zip(self._chain.layers, self._chain.pre_and_post(used), strict=True):
            mobile = 1 - torch.minimum(post[:, None], pre[None, :])
            self._hold(layer.weight, mobile.view(*mobile.shape, *[1] * (layer.weight.dim() - 2)))
            self._hold(layer.bias, 1 - post)
        head = self.model.head
        assert isinstance(head, Head)
        own = torch.zeros(len(head.weight), device=self.used.device)
        rows = head.table[self._task]
        own[rows[rows >= 0]] = 1.0
        self._hold(head.weight, own[:, None])
        self._hold(head.bias, own)
        self._hold(head.scale, own.new_tensor(float(self._first)))

    def _hold(self, parameter: Tensor | None, mobile: Tensor) -> None:
        if parameter is not None:
            self._held.append(parameter)
            self._mobile.append(mobile.expand_as(parameter).contiguous())


def compensation(embedding: Tensor, s: float, s_max: float) -> Tensor:
    """s_max / s (cosh(s e) + 1) / (cosh(e) + 1): what makes the gradient of e that of a sigmoid with s = 1, times s_max.

    Example:
        >>> compensation(torch.zeros(1), s=2.0, s_max=400.0).item()
        200.0
    """
    steep = torch.cosh((s * embedding).clamp(-LARGEST, LARGEST)) + 1
    return s_max / s * steep / (torch.cosh(embedding) + 1)
