"""Hypernetworks for continual learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch.func import functional_call

from clframe.strategies.build import Setup
from clframe.strategies.interval.options import Options
from clframe.strategies.interval.points import Points
from clframe.strategies.loss import classification_loss
from clframe.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


class HNET(Points):
    """HNET: a hypernetwork makes a network for each task from its embedding, and must go on making the earlier ones.

        w_t  = H(e_t)                                                    all weights of the network that solves task t
        loss = CE(f(x; w_t), y) + beta * mean_{j != t} |H(e_j) - H*(e_j)|^2 + fisher * sum_{j != t} |sqrt(F_j) (H(e_j) - H*(e_j))|^2

    with H* the hypernetwork as it was when the task began, and F_j the diagonal Fisher information of w_j when task j ended.

    So what is kept for an earlier task is an embedding of a few numbers, and a penalty on weights instead of stored samples. Where
    the task is not told, the network whose answer is surest is taken ("entropy").

    Args:
        setup: what every strategy is made from.
        infer: "none" where the task is told; "entropy" or "energy" to take, for each sample, the network that is surest.
        embedding: length of e_t.
        hidden: widths of the hypernetwork.
        chunk: weights that it puts out at a time; 0: all at once, a last layer of hidden[-1] rows for each weight.
        chunk_embedding: length of what tells the chunks apart.
        beta: how strongly earlier outputs are held.
        fisher: how strongly, beyond that, weighted by what each task's answers depended on, summed over tasks; 0: not at all.
        samples: training samples of a task that this is measured on.
        sampled: earlier tasks that are compared in an update; 0: all.
        lookahead: take the gradient of the penalty after a step on the task's loss.
        warmup: share of a task's updates, at its start, in which the learning rate rises.
        decay: share of a task's updates, at its end, in which the learning rate falls to 0.

    Raises:
        OptionError: an option breaks its rule; a model with layers other than Linear and Conv.

    Logs:
        - ce: the cross-entropy of the batch.
        - hnet/drift: beta times the mean squared change of earlier outputs, from the second task on.
        - hnet/fisher: fisher times its weighted sum, where that is asked for.

    Example:
        >>> import clframe
        >>> options = {"model": "mlp(hidden=(50,))", "optimizer": "adam", "lr": 0.003, "epochs": 6, "batch_size": 32}
        >>> result = clframe.run("task-incremental", "hnet", evaluate="boundaries", **options)
        >>> result.metrics.acc > 0.9
        True

    Reference: von Oswald, Henning, Grewe and Sacramento, "Continual learning with hypernetworks", 2020; its code, hypercl, and its
        successor hypnettorch.

    Differences:
        1. Without a look-ahead by default, as in hypnettorch, where it is called a marginal improvement; with it, the step is
           that of plain gradient descent, where the paper takes the optimizer's own.
        2. Initial weights: see `Hypernetwork`.
        3. The learning rate rises in the first tenth of a task and falls in its second half.
        4. No task inference by a second network, and no replay by a generated model (HNET+TIR, HNET+R).
        5. A task that comes back trains its embedding again; the others are held meanwhile.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        infer: str = "none",
        embedding: int = 24,
        hidden: Sequence[int] = (50, 50),
        chunk: int = 4000,
        chunk_embedding: int = 8,
        beta: float = 0.01,
        fisher: float = 0.0,
        samples: int = 256,
        sampled: int = 0,
        lookahead: bool = False,
        warmup: float = 0.1,
        decay: float = 0.5,
    ) -> None:
        sizes = (infer, embedding, hidden, chunk, chunk_embedding)
        super().__init__(setup, "hnet", Options(*sizes, beta, fisher, samples, sampled, lookahead, warmup, decay))

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The cross-entropy of the network of this task."""
        made = self.net.split(self.net(self.embeddings[self._task][None])[0])
        logits: Tensor = functional_call(self.target, made, (batch.x,))
        own = logits[:, : len(self._classes[self._task])]
        return {"ce": classification_loss(own, self._output[batch.y], batch.weight, batch.mass)}

    def make(self, task: int) -> dict[str, Tensor]:
        """H(e_t)."""
        return self.net.split(self.net(self.embeddings[task][None])[0])

    def describe(self) -> Mapping[str, Any]:
        """Name and options, for the resolved spec."""
        return self.described("HNET")
