"""Experience replay with asymmetric cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from clframe.strategies.loss import total_weight
from clframe.strategies.part import View
from clframe.strategies.replay import Replay

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class ERACE(Replay):
    """ER-ACE: experience replay in which new samples compete only with the classes of their own batch.

    In ER, new classes are learned by pushing down the scores of all others, and the features of old classes are abruptly moved to
    make room. Here new samples leave the absent classes alone; only recalled samples tell old and new classes apart.

        loss = mean_{i in new} CE_{C_new}(f(x_i), y_i) + mean_{j in recalled} CE_{C_seen}(f(x_j), y_j)
        CE_S(z, y) = -z_y + log sum_{c in S} exp z_c

    with C_new the classes that are present in the new batch and C_seen those of all batches so far. No sample says anything about
    classes to come: until then, their scores are what the first weights make of the features.

    Args:
        size: samples in the memory.
        memory: how it is filled, such as "reservoir"; see `er`.
        batch_size: samples to recall at each update; as many as the new batch by default.

    Raises:
        OptionError: a size below the number of classes, a batch size that is not positive, an unknown memory.

    Logs:
        - er-ace/criterion: the loss above

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "er-ace(size=200)")
        >>> sorted(result.terms.term.unique())
        ['er-ace/criterion']

    Reference: Caccia, Aljundi, Asadi, Tuytelaars, Pineau and Belilovsky, "New insights on reducing abrupt representation change in
        online continual learning", 2022, the loss of ER-ACE.
    Differences:
        1. Recalled samples compete with the classes seen so far, as in the paper. In the authors' code, Mammoth and Avalanche they
           compete with all outputs, those of classes to come included.
        2. New samples compete with the classes present in the batch, as in the paper and in Avalanche. The authors' code and
           Mammoth keep every class with a number of at least the largest one seen, too: classes to come, if they come in order.
        3. New samples are masked from the first update on. Mammoth and Avalanche mask and recall from the second experience on, and
           use the plain cross-entropy before.
        4. Avalanche's loss is half of this sum, and its memory holds samples of the experience in progress from its beginning.
        5. With sample weights the means are weighted. Samples that other parts recall count as recalled.
    """

    name = "er-ace"
    state = ("memory", "seen")

    def __init__(self, size: int = 500, memory: str = "reservoir", batch_size: int | None = None) -> None:
        super().__init__(size, memory, batch_size, new_share=0.5)

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """Make the memory; no class has been seen."""
        super().bind(model, generator)
        self.seen = torch.zeros(model.num_classes, dtype=torch.bool, device=next(model.parameters()).device)

    def criterion(self, view: View) -> Tensor:
        """The cross-entropy of every row (B,), each over the classes that it competes with.

        The Learner takes the weighted mean over all rows, in which `new_share` gives both groups the same weight; the factor makes
        it the sum of the two means.
        """
        logits, y, new = view.logits, view.batch.y, view.new
        present = torch.zeros_like(self.seen)
        present[y[new]] = True
        among = torch.cat([present.expand_as(logits[new]), (self.seen | present).expand_as(logits[view.recalled])])
        each = functional.cross_entropy(logits.masked_fill(~among, -torch.inf), y, reduction="none")
        divisor = view.batch.divisor
        return each if divisor is None else each * (divisor.sum() / total_weight(divisor[new]))

    def absorb(self, view: View) -> None:
        """Offer the new samples to the memory; their classes have been seen."""
        super().absorb(view)
        self.seen[view.batch.y[view.new]] = True

    def describe(self) -> dict[str, object]:
        """Name and options."""
        options = {"size": self.size, "memory": self.kind, "batch_size": self.batch_size}
        return {"part": "ERACE", "name": self.name, "options": options}
