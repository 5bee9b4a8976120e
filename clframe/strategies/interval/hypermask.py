"""HyperMask: one network for all tasks, and a hypernetwork that makes a mask over its weights for each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call

from clframe.errors import bad_option
from clframe.models import Head
from clframe.strategies.build import Setup
from clframe.strategies.interval.options import Options
from clframe.strategies.interval.points import Points
from clframe.strategies.loss import classification_loss
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

NORMS = {"l1": 1, "l2": 2}
WHERE = ("never", "current", "earlier")


def semi_binary(scores: Tensor, sparsity: float) -> Tensor:
    """A mask of any shape: the share `sparsity` of its entries is 0, those of the least |score|; the others are |tanh(score)|.

    The number of zeros is rounded, and at least one entry stays; so do all that are as large as the least one that does. The
    gradient flows through the entries that stay.

    Example:
        >>> [f"{entry:.2f}" for entry in semi_binary(torch.tensor([0.1, -30.0, 0.2, 0.5]), 0.5).tolist()]
        ['0.00', '1.00', '0.00', '0.46']
    """
    size = scores.abs()
    zeros = min(round(sparsity * scores.numel()), scores.numel() - 1)
    least = size.detach().flatten().kthvalue(zeros + 1).values
    return torch.where(size >= least, torch.tanh(size), 0.0)


class HyperMask(Points):
    """HyperMask: one network for all tasks, of which each task answers with those weights that a mask of its own lets through.

        h_t  = H(e_t)                                     a score for each weight, by the hypernetwork, from the task's embedding
        m_t  = |tanh(h_t)| * 1[|h_t| >= q]                a "semi-binary" mask; of each layer, the share `sparsity` is 0
        w_t  = w * m_t, and w in the last layer           w: the weights that all tasks share, trained with each of them
        loss = CE(f(x; w_t), y) + strength * sum_l |c_l (w_l - w_l*)|_p
               + beta * mean_{j != t} |H(e_j) - H*(e_j)|^2 + fisher * sum_{j != t} |sqrt(F_j) (H(e_j) - H*(e_j))|^2

    with * as the task began, l over layers, and F_j the diagonal Fisher information of the scores of task j when it ended: that of
    w_j times (dw_j / dh_j)^2. `masked` says which weights are held: c_l is 1 everywhere ("never"), where the mask of any earlier
    task is not 0 ("earlier"), or m_t itself ("current"); in the last layer it is always 1.

    A layer here is one tensor of parameters, so biases have masks, too. Gradients flow through what a mask lets through; a weight
    that is masked out gets none, and neither does its score. A weight may serve several tasks. What a task answers with is its mask
    by the hypernetwork of now, times the shared weights of now: nothing is stored for it but its embedding, so it can be forgotten
    as either moves, and the terms above are what holds it.

    Args:
        setup: what every strategy is made from.
        sparsity: share of each layer that is masked out, in [0, 1).
        strength: how strongly the shared weights are held, from the second task on.
        norm: "l1" or "l2", the norm p (not its square).
        masked: where they are held: "earlier", "current", or "never", for everywhere.
        adaptive: let the share rise from 0 in a line over the first task.
        infer: "none" where the task is told; "entropy" or "energy" to take, for each sample, the mask that is surest.
        embedding, hidden, chunk, chunk_embedding: of the hypernetwork (see `Hypernetwork`).
        beta: how strongly earlier scores are held.
        fisher: how strongly, beyond that, weighted by what each task's answers depended on, summed over tasks; 0: not at all.
        samples: training samples of a task that this is measured on.
        sampled: earlier tasks that are compared in an update; 0: all.
        lookahead: take the gradient of the terms with beta and fisher after a step on the rest.
        warmup: share of a task's updates, at its start, in which the learning rate rises.
        decay: share of a task's updates, at its end, in which the learning rate falls to 0.

    Raises:
        OptionError: an option breaks its rule; a model with layers other than Linear and Conv.

    Logs:
        - ce: the cross-entropy of the batch.
        - hypermask/distance: strength times the distance of the shared weights, from the second task on.
        - hypermask/drift: beta times the mean squared change of earlier scores, from the second task on.
        - hypermask/fisher: fisher times its weighted sum, where that is asked for.

    Example:
        >>> import clframe
        >>> adam = {"optimizer": "adam", "lr": 0.003, "epochs": 4}
        >>> result = clframe.run("task-incremental", "hypermask", model="mlp(hidden=[100])", evaluate="boundaries", **adam)
        >>> result.metrics.acc > 0.9
        True

    Reference: Książek and Spurek, "HyperMask: adaptive hypernetwork-based masks for continual learning", 2023; its code,
        gmum/HyperMask.

    Differences:
        1. The last layer, weights and bias, is not masked. In the published code the last tensor is not: with biases, as in all its
           settings, only the last layer's bias.
        2. The mean over earlier tasks is weighted by beta; there it is divided by their number a second time.
        3. Shared weights are held, by default, where an earlier task uses them, which the published code does not offer; there,
           everywhere (masked=never), or times the mask of the task that is learned (masked=current; there, the last bias times
           its |tanh(h)|).
        4. Embeddings of earlier tasks are fixed; there the optimizer goes on training them, by the term with beta.
        5. The zeros are counted, by rank of |h|, so that scores whose tanh rounds to 1 are told apart; there, all below a
           percentile of |tanh(h)| are 0.
        6. Scores come in chunks by default (chunk=0: in one piece, as there), by a network with ReLU (there: ELU); they begin
           with variance 1, and the shared weights as those of the model.
        7. The learning rate rises and falls within a task; there it is constant on MNIST, and elsewhere it falls where validation
           accuracy stands still, and the weights of the best validation accuracy are kept.
        8. Normalisation is refused; there its scales and shifts are shared, unmasked and not held.
        9. The terms with fisher, and `sampled` and `lookahead`, have no counterpart there.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        sparsity: float = 0.5,
        strength: float = 0.01,
        norm: str = "l1",
        masked: str = "earlier",
        adaptive: bool = True,
        infer: str = "none",
        embedding: int = 24,
        hidden: Sequence[int] = (50, 50),
        chunk: int = 4000,
        chunk_embedding: int = 8,
        beta: float = 0.0001,
        fisher: float = 0.0,
        samples: int = 256,
        sampled: int = 0,
        lookahead: bool = False,
        warmup: float = 0.1,
        decay: float = 0.5,
    ) -> None:
        if not 0 <= sparsity < 1:
            raise bad_option("sparsity", "a share in [0, 1)", sparsity, "Give sparsity=0.5.")
        if not strength >= 0:
            raise bad_option("strength", "zero or positive", strength, "Give strength=0.01.")
        if norm not in NORMS:
            raise bad_option("norm", f"one of {', '.join(NORMS)}", norm, "Give norm=l1.")
        if masked not in WHERE:
            raise bad_option("masked", f"one of {', '.join(WHERE)}", masked, "Give masked=earlier.")
        sizes = (infer, embedding, hidden, chunk, chunk_embedding)
        super().__init__(setup, "hypermask", Options(*sizes, beta, fisher, samples, sampled, lookahead, warmup, decay))
        self.sparsity, self.strength, self.norm, self.masked, self.adaptive = sparsity, strength, norm, masked, adaptive
        self.net.scale.fill_(1.0)  # scores of a mask have no fan-in
        self.shared = dict(self.target.named_parameters())
        self._begin_head(setup)
        self._risen = not adaptive

    @torch.no_grad()
    def _begin_head(self, setup: Setup) -> None:
        """The last layer begins as the first rows of that of the model."""
        head = setup.model.head
        assert isinstance(head, Head) and head.bias is not None
        outputs = self.target.head.out_features
        self.target.head.weight.copy_(head.weight[:outputs])
        self.target.head.bias.copy_(head.bias[:outputs])

    def share(self, updates: int) -> float:
        """The share of a layer that is masked out after so many updates of the task in progress."""
        return self.sparsity if self._risen else self.sparsity * min(1.0, updates / self.updates)

    def masks(self, scores: Tensor, sparsity: float) -> dict[str, Tensor]:
        """The mask of each parameter before the last layer, by name, from the scores (P,) of all."""
        parts = self.net.split(scores).items()
        return {name: semi_binary(part, sparsity) for name, part in parts if not name.startswith("head.")}

    def effective(self, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The shared weights, each times its mask."""
        return {name: w * masks[name] if name in masks else w for name, w in self.shared.items()}

    def trained(self, task: int) -> list[torch.nn.Parameter]:
        """The embedding, and the shared weights."""
        return [self.embeddings[task], *self.shared.values()]

    def aim(self) -> None:
        """What the hypernetwork puts out for the other tasks, and the shared weights."""
        super().aim()
        self._before = {name: w.detach().clone() for name, w in self.shared.items()}
        masks = [self.masks(scores, self.sparsity) for scores in self._goal.values()] if self.masked == "earlier" else []
        self._used = {name: torch.stack([m[name] != 0 for m in masks]).any(0) for name in (masks[0] if masks else ())}

    def distance(self, masks: Mapping[str, Tensor]) -> Tensor:
        """How far the shared weights are from where they were when the task began: a norm of each layer, added up."""
        where = {"never": {}, "current": masks, "earlier": self._used}[self.masked]
        moved = ((w - self._before[name]) * where.get(name, 1.0) for name, w in self.shared.items())
        return torch.stack([torch.linalg.vector_norm(m, NORMS[self.norm]) for m in moved]).sum()

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The cross-entropy of the masked network, and the distance of the shared weights."""
        scores = self.net(self.embeddings[self._task][None])[0]
        masks = self.masks(scores, self.share(self._steps + 1))
        logits: Tensor = functional_call(self.target, self.effective(masks), (batch.x,))
        own = logits[:, : len(self._classes[self._task])]
        terms = {"ce": classification_loss(own, self._output[batch.y], batch.weight, batch.mass)}
        if self.strength and self.others:
            terms["hypermask/distance"] = self.strength * self.distance(masks)
        return terms

    def make(self, task: int) -> dict[str, Tensor]:
        """The shared weights of now, times the mask of the task by the hypernetwork of now."""
        made = self.effective(self.masks(self.net(self.embeddings[task][None])[0], self.share(self._steps)))
        return {name: w.detach() for name, w in made.items()}

    def end(self, train: Train) -> None:
        """The task is over: masks are as sparse as they will be."""
        self._risen = True
        super().end(train)
        if self.options.fisher:
            self.information[self._task] *= self.slope(self._task).square()

    def slope(self, task: int) -> Tensor:
        """The derivative (P,) of each weight that answers by its score."""
        with torch.no_grad():
            scores = self.net(self.embeddings[task][None])[0]
        with torch.enable_grad():
            scores.requires_grad_()
            made = self.effective(self.masks(scores, self.share(self._steps)))
            found: Tensor = torch.autograd.grad(torch.cat([w.flatten() for w in made.values()]).sum(), scores)[0]
        return found

    def kept(self) -> object:
        """The shared weights as the task began, too; those of now are the network that answers."""
        return [super().kept(), self._before]

    def state_dict(self) -> dict[str, Any]:
        """And the shared weights now and when the task began."""
        shared = {name: w.detach().clone() for name, w in self.shared.items()}
        return {**super().state_dict(), "shared": shared, "before": dict(self._before), "risen": self._risen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self._risen = state["risen"]
        self._put(state["before"])
        super().load_state_dict(state)
        self._put(state["shared"])

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, w in self.shared.items():
            w.copy_(weights[name])

    def describe(self) -> Mapping[str, Any]:
        """Name and options, for the resolved spec."""
        return self.described("HyperMask", "sparsity", "strength", "norm", "masked", "adaptive")
