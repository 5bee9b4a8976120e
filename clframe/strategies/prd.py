"""PRD: prototypes that follow the representation, without stored samples."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn import functional

from clframe.data.transforms import random_crop, random_flip
from clframe.errors import bad_option
from clframe.models import Head
from clframe.strategies.part import Part, View
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network

BASE_TEMPERATURE = 0.07


class PRD(Part):
    """PRD: contrastive features, a prototype for each class, and relations of old prototypes to new samples that are kept.

        l_i = -tau / 0.07 * mean_{j: y_j = y_i, j != i} log softmax_{j != i}( z_i . z_j / tau )            (contrastive)
        prototypes = strength_p * mean_i ( 1 - cos( stopgrad(phi_i), P_{y_i} ) )
        relation   = strength_r * sum_{s} mean_{c in s} KL( softmax_i( cos(phi*_i, P*_c) / T ) || softmax_i( cos(phi_i, P_c) / T ) )
        answer     = argmax_c cos( phi(x), P_c )

    over the new samples i in two views each: as the stream brings them, and once more, cropped and mirrored at random where they
    are images (a plain copy otherwise). phi are the features, z the unit-norm output of a projection of three layers on phi, P the
    prototypes (C, d), s the earlier experiences with their classes; phi* and P* are those at the end of the last experience. Old
    prototypes are trained by the relation alone: they move along with the features. The linear head is not trained.

    With relation_axis="prototypes" the softmax runs over the prototypes of an experience instead, for each sample, with scores
    phi . P / ||P||, features not normalised:  relation = strength_r * sum_s mean_i KL( softmax_{c in s} || softmax_{c in s} ).

    Args:
        strength: weight of the relations, strength_r.
        prototype_strength: weight of the prototypes' own term, strength_p.
        prototype_lr: learning rate of the prototypes.
        temperature: tau of the contrastive loss.
        relation_temperature: T of the relations.
        relation_axis: "samples" (the paper) or "prototypes" (the released code).
        hidden, width: of the projection's hidden layers, and of its output.
        crop: pixels by which the second view is padded before it is cropped; an eighth of the height by default.
        flip: mirror the second view left to right, half of the time.

    Raises:
        OptionError: a negative strength, learning rate or crop, a temperature that is not positive, an unknown axis, an empty
            layer; a model without a head.

    Logs:
        - prd/criterion: the mean of l over all rows; recalled samples of other parts take part in it, in one view
        - prd/prototypes: the prototypes' own term
        - prd/relation: the relations, from the second experience on

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "prd", evaluate="boundaries")
        >>> sorted(result.terms.term.unique())
        ['prd/criterion', 'prd/prototypes', 'prd/relation']

    Reference: Asadi, Davari, Mudur, Aljundi, Belilovsky, "Prototype-sample relation distillation: towards replay-free continual
        learning", 2023. The contrastive loss: Khosla et al., "Supervised contrastive learning", 2020, equation 2.
    Differences:
        1. The released code takes the relations over prototypes instead of samples: `relation_axis`.
        2. The released code sets the learning rate of the prototypes to that of the model at every epoch, and keeps the old network
           in training mode. Here `prototype_lr` is kept, and the old network is in evaluation mode.
        3. The projection is trained by SGD with the learning rate, momentum (0.9 if it has none) and weight decay that the model's
           optimizer has at each update; the prototypes by plain SGD.
        4. The first view is the stream's own batch: it is augmented only where the stream augments.
        5. Classes of the experience in progress are new even if they were met before: no relation holds them.
    """

    name = "prd"
    recalls = "view"
    trains_head = False
    state = ("prototypes", "projection", "steps", "teacher", "old_prototypes", "met")
    requires = frozenset({"boundaries", "classes"})

    def __init__(
        self,
        strength: float = 4.0,
        prototype_strength: float = 2.0,
        prototype_lr: float = 0.01,
        temperature: float = 0.1,
        relation_temperature: float = 1.0,
        relation_axis: Literal["samples", "prototypes"] = "samples",
        hidden: int = 512,
        width: int = 128,
        crop: int | None = None,
        flip: bool = False,
    ) -> None:
        numbers = {"strength": strength, "prototype_strength": prototype_strength, "prototype_lr": prototype_lr, "crop": crop or 0}
        for name, value in numbers.items():
            if not value >= 0:
                raise bad_option(name, "zero or positive", value, "Leave it out for the default.")
        for name, value in {"temperature": temperature, "relation_temperature": relation_temperature}.items():
            if not value > 0:
                raise bad_option(name, "positive", value, "Leave it out for the default.")
        for name, value in {"hidden": hidden, "width": width}.items():
            if value < 1:
                raise bad_option(name, "a positive integer", value, "Leave it out for the default.")
        if relation_axis not in ("samples", "prototypes"):
            raise bad_option("relation_axis", "'samples' or 'prototypes'", relation_axis, "Give relation_axis='samples'.")
        self.strength, self.prototype_strength, self.prototype_lr = strength, prototype_strength, prototype_lr
        self.temperature, self.relation_temperature, self.relation_axis = temperature, relation_temperature, relation_axis
        self.hidden, self.width, self.crop, self.flip = hidden, width, crop, flip
        self.met: list[list[int]] = []

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """Prototypes on the unit sphere, the projection, and their optimizer."""
        super().bind(model, generator)
        if not isinstance(model.head, Head):
            raise bad_option("head", "other than 'none', because prd reads the features below it", "none", "Use head='single'.")
        device, features = next(model.parameters()).device, model.head.num_features
        drawn = torch.randn(model.num_classes, features, generator=generator)
        self.prototypes = nn.Embedding(model.num_classes, features, _weight=functional.normalize(drawn).to(device))
        self.old_prototypes = self.prototypes.weight.detach().clone()
        self.projection = _projection((features, self.hidden, self.hidden, self.width), generator).to(device)
        self.teacher = copy.deepcopy(model).requires_grad_(False).eval()
        groups: list[dict[str, Any]] = [
            {"params": list(self.projection.parameters()), **self._as_the_model()},
            {"params": [self.prototypes.weight]},
        ]
        self.steps = torch.optim.SGD(groups, lr=self.prototype_lr)

    def begin(self, train: Train) -> None:
        """New classes: no relation holds them."""
        assert train.classes is not None
        self._current = set(train.classes)

    def recall(self, batch: Batch) -> Batch:
        """The second view of the new samples."""
        x = batch.x
        if x.dim() == 4:
            x = random_crop(x, self.generator, x.shape[2] // 8 if self.crop is None else self.crop)
            x = random_flip(x, self.generator) if self.flip else x
        return Batch(x, batch.y, batch.index, batch.weight, batch.task, mass=batch.mass)

    def criterion(self, view: View) -> Tensor:
        """The contrastive loss of every row."""
        z = functional.normalize(self.projection(view.features))
        return self.temperature / BASE_TEMPERATURE * contrast(z, view.batch.y, self.temperature)

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        """The prototypes' own term, and the relations."""
        x, y, phi = (torch.cat([t[view.new], t[view.groups[self.name]]]) for t in (view.batch.x, view.batch.y, view.features))
        apart = 1 - functional.cosine_similarity(phi.detach(), self.prototypes(y))
        terms = {"prototypes": self.prototype_strength * apart.mean()}
        old = [kept for classes in self.met if (kept := [c for c in classes if c not in self._current])]
        if old:
            with torch.no_grad():
                before = self.teacher.features(x)
            self.forwards += len(x)
            total = torch.zeros((), device=x.device)
            for classes in old:
                total = total + self._relation(phi, self.prototypes.weight[classes], before, self.old_prototypes[classes])
            terms["relation"] = self.strength * total
        return terms

    def absorb(self, view: View) -> None:
        """Step the projection and the prototypes."""
        self.steps.param_groups[0].update(self._as_the_model())
        self.steps.step()
        self.steps.zero_grad()

    def end(self, train: Train) -> None:
        """Model and prototypes become the old ones."""
        self.teacher.load_state_dict(self.model.state_dict())
        self.old_prototypes = self.prototypes.weight.detach().clone()
        known = {c for classes in self.met for c in classes}
        fresh = sorted(self._current - known)
        self.met = [*self.met, fresh] if fresh else self.met

    def read(self, features: Tensor, logits: Tensor, task: Tensor | None) -> Tensor:
        """The cosines; what the linear head rules out (another task's classes) stays so."""
        cosine = functional.normalize(features) @ functional.normalize(self.prototypes.weight.detach()).T
        return cosine.masked_fill(logits.isneginf(), -torch.inf)

    def _relation(self, phi: Tensor, prototypes: Tensor, old_phi: Tensor, old_prototypes: Tensor) -> Tensor:
        return relation(phi, prototypes, old_phi, old_prototypes, self.relation_temperature, self.relation_axis)

    def _as_the_model(self) -> dict[str, float]:
        group = self.optimizer.param_groups[0]
        return {"lr": float(group["lr"]), "momentum": group.get("momentum", 0.9), "weight_decay": group.get("weight_decay", 0.0)}


def contrast(z: Tensor, y: Tensor, temperature: float) -> Tensor:
    """-mean_{j: y_j = y_i, j != i} log softmax_{j != i}(z_i . z_j / temperature) of each row i (B,); 0 for a class of one row.

    Example: one pair among two orthogonal rows of another class; -log(e / (e + 2)) of each.
        >>> z = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0]])
        >>> contrast(z, torch.tensor([0, 0, 1, 1]), 1.0)
        tensor([0.5514, 0.5514, 0.5514, 0.5514])
    """
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    positive = (y[:, None] == y) & ~itself
    log_p = (z @ z.T / temperature).masked_fill(itself, -torch.inf).log_softmax(1)
    return -log_p.masked_fill(~positive, 0).sum(1) / positive.sum(1).clamp_min(1)


def relation(phi: Tensor, prototypes: Tensor, old_phi: Tensor, old_prototypes: Tensor, temperature: float, axis: str) -> Tensor:
    """mean KL(softmax(old / T) || softmax(new / T)): over samples for each prototype, or over prototypes for each sample.

    Args:
        phi, old_phi: features (B, d), now and of the old network.
        prototypes, old_prototypes: of one experience's classes (k, d).
        temperature: T.
        axis: "samples": cosines, softmax over the B samples, mean over prototypes; "prototypes": features not normalised, softmax
            over the k prototypes, mean over samples.
    """
    over_samples = axis == "samples"
    log_p = []
    for f, p in ((old_phi, old_prototypes), (phi, prototypes)):
        f = functional.normalize(f) if over_samples else f
        scores = functional.normalize(p) @ f.T if over_samples else f @ functional.normalize(p).T
        log_p.append((scores / temperature).log_softmax(1))
    old, now = log_p
    return functional.kl_div(now, old, reduction="batchmean", log_target=True)


def _projection(widths: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    """Linear layers with ReLU between them, drawn from the generator as torch draws them from its global one."""
    layers: list[nn.Module] = []
    for low, high in pairwise(widths):
        layer: nn.Linear = nn.utils.skip_init(nn.Linear, low, high)  # type: ignore[no-untyped-call]
        bound = 1 / math.sqrt(low)
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
