"""iCaRL: exemplars, distillation of sigmoids, and the nearest mean of exemplars."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from clframe import selection
from clframe.errors import bad_option
from clframe.strategies.class_means import ClassMeans, class_means, in_chunks
from clframe.strategies.filling import enough_for_every_class, fill_from
from clframe.strategies.part import Part, View
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class ICaRL(Part):
    """iCaRL: every class is a yes or no, old classes answer as they did, and the nearest mean of exemplars decides.

        l_i = sum_{c in new} BCE(s_c(x_i), [y_i = c]) + strength * sum_{c in old} BCE(s_c(x_i), sigmoid(t_c(x_i)))

    for every new and every recalled sample, with s the network's scores, t those of the network at the end of the last
    experience, BCE(s, p) = -p log sigmoid(s) - (1 - p) log(1 - sigmoid(s)), new the classes of the experience and old those of
    earlier ones. At the end of an experience the exemplars of its classes are chosen by herding, size / (classes seen) of each.

        answer = argmin_c || phi(x) - mu_c ||,    mu_c = mean of phi over the exemplars of c,    phi and mu of unit norm

    with phi the features under the network as it is now. While an experience is in progress its classes have no exemplars yet:
    their means are over their newest samples, as many as a class will keep at the end of the stream.

    Args:
        size: K, exemplars in all.
        batch_size: exemplars recalled beside each new batch; as many as are new by default.
        strength: weight of the distillation; 1 in the paper.

    Raises:
        OptionError: a size below the number of classes, a batch size below 1, a negative strength.

    Logs:
        - icarl/criterion: the mean of l over new and recalled samples.

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "icarl(size=200)", evaluate="boundaries")
        >>> sorted(result.terms.term.unique())
        ['icarl/criterion']

    Reference: Rebuffi, Kolesnikov, Sperl, Lampert, "iCaRL: incremental classifier and representation learning", 2017,
        algorithms 1 to 5.
    Differences:
        1. The paper trains on the new data and all exemplars, shuffled together; here a batch of exemplars is recalled beside each
           new batch, so their share does not depend on how many there are.
        2. l is a sum over classes, as in the paper's equation. Avalanche takes the mean over all outputs, those of classes not yet
           met included: its learning rate is larger by the number of classes.
        3. Avalanche's old network is in training mode, so that dropout draws and the statistics of batch normalisation move; here
           it is in evaluation mode.
        4. Avalanche keeps ceil(K / classes) exemplars of a class, so more than K; when herding picks a sample twice, it counts the
           sample twice and keeps it once. Here floor(K / classes), each picked once.
        5. Avalanche works the means out at the end of an experience, over the exemplars and their mirror images. Here they follow
           the weights, so that the answer can be measured at any update, and images are not mirrored.
        6. PyCIL replaces the sigmoids: cross-entropy plus a distillation with a softmax.
        7. Classes of the experience in progress are learned from labels even if they were met before; the paper has none such.
           With separate heads, each sample's loss is over the classes of its own task.
        8. Until an experience ends, the means of its classes are taken over its newest samples, which are at hand then: the paper
           answers between experiences only. They are counted in the memory as ids, not as samples.
    """

    name = "icarl"
    state = ("memory", "recent", "teacher", "known", "ready")
    requires = frozenset({"boundaries", "classes"})

    def __init__(self, size: int = 500, batch_size: int | None = None, strength: float = 1.0) -> None:
        if batch_size is not None and batch_size < 1:
            raise bad_option("batch_size", "a positive integer or None", batch_size, "Leave it out to recall as many as are new.")
        if not strength >= 0:
            raise bad_option("strength", "zero or positive", strength, "Give strength=1.0.")
        selection.memory("herding", size, torch.Generator())
        self.size, self.batch_size, self.strength = size, batch_size, strength
        self.ready = False
        self._sample_bytes = 0
        self._means: ClassMeans | None = None

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """The teacher has the model's shape from the start; its weights count once there is something to teach."""
        super().bind(model, generator)
        enough_for_every_class(self.size, model)
        self.memory = selection.memory("herding", self.size, generator)
        self.recent = selection.memory("ring", 1, torch.Generator())
        self.teacher = copy.deepcopy(model).requires_grad_(False).eval()
        self.known = torch.zeros(model.num_classes, dtype=torch.bool, device=next(model.parameters()).device)
        self._current = self.known

    def begin(self, train: Train) -> None:
        """New classes: nothing of them is remembered yet."""
        assert train.classes is not None
        self._fetch, self._sample_bytes, self._means = train.fetch, train.sample_bytes, None
        self._current = torch.zeros_like(self.known)
        self._current[list(train.classes)] = True
        self.recent = selection.memory("ring", self.size // train.num_classes * len(train.classes), torch.Generator())

    def recall(self, batch: Batch) -> Batch | None:
        """Exemplars, drawn at random."""
        return self._fetch(self.memory.draw(self.batch_size or len(batch))) if self.memory.filled else None

    def criterion(self, view: View) -> Tensor:
        """Binary cross-entropies, summed over the classes met; a class that the head rules out counts nothing."""
        batch, ruled_out = view.batch, view.logits.isneginf()
        target = functional.one_hot(batch.y, self.model.num_classes).to(view.logits.dtype)
        weight = (self.known | self._current).to(target.dtype)
        if self.ready:
            old = self.known & ~self._current
            with torch.no_grad():
                taught = self.teacher(batch.x, batch.task).sigmoid()
            self.forwards += len(batch)
            target = torch.where(old, taught, target)
            weight = torch.where(old, self.strength, weight)
        logits = view.logits.masked_fill(ruled_out, 0)
        each = functional.binary_cross_entropy_with_logits(logits, target, weight, reduction="none")
        return each.masked_fill(ruled_out, 0).sum(1)

    def absorb(self, view: View) -> None:
        """The weights have moved, and so have the means."""
        self._means = None
        self.recent.update(view.batch.index[view.new], view.batch.y[view.new])

    def end(self, train: Train) -> None:
        """Choose the exemplars; the model becomes the teacher."""
        self.forwards += fill_from(train, self.memory, self.model)
        self.recent = selection.memory("ring", self.recent.size, torch.Generator())
        self.teacher.load_state_dict(self.model.state_dict())
        self.known = self.known | self._current
        self.ready, self._means = True, None

    def read(self, features: Tensor, logits: Tensor, task: Tensor | None) -> Tensor:
        """The nearest mean; the means are worked out when they are first asked for after an update."""
        remembered = torch.cat([m.index[: m.filled] for m in (self.memory, self.recent)])
        if not len(remembered):
            return torch.full_like(logits, -torch.inf)
        if self._means is None:
            self._means = class_means(self.model, in_chunks(self._fetch, remembered), normalised=True)
        return self._means.scores(features).masked_fill(logits.isneginf(), -torch.inf)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        super().load_state_dict(state)
        self._means = None

    def state_bytes(self) -> int:
        """The exemplars as they are stored in the source, with their labels, and the rest of the state.

        The newest samples of the experience in progress are its training data, which is at hand until its end; their ids count.
        """
        return self.memory.filled * (self._sample_bytes + 8) + super().state_bytes()
