"""Feature distillation."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from clframe.errors import bad_option
from clframe.strategies.part import Part, View
from clframe.types import Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class FeatureDistillation(Part):
    """Feature distillation: the new samples' features stay near those of the model at the end of the last experience.

        penalty = strength * mean_x || phi(x) - phi*(x) ||^2
        penalty = strength * mean_x ( 1 - <phi(x), phi*(x)> / (||phi(x)|| ||phi*(x)||) )        with normalised=True

    with phi the features that the head reads, and phi* those of the model when the last experience ended.

    Args:
        strength: weight of the penalty, lambda.
        normalised: compare directions only.

    Raises:
        OptionError: a negative strength.

    Logs:
        - feature-distillation/features: the penalty

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "feature-distillation(strength=0.1)")
        >>> sorted(result.terms.term.unique())
        ['ce', 'feature-distillation/features']

    Reference: Jung et al., "Less-forgetting learning in deep neural networks", 2016; normalised: Hou et al., "Learning a
        unified classifier incrementally via rebalancing", 2019 (the less-forget constraint).
    Differences:
        1. Jung et al. freeze the classifier while the features learn the new data; here the head is trained.
        2. Hou et al. apply it to recalled samples too, and let the strength grow with the share of old classes; here it is
           constant, and recalled samples are left out.
        3. Avalanche's plugin keeps the old model in training mode, so that dropout draws and the statistics of batch normalisation
           move; here it is in evaluation mode. Its "mse" mode raises a TypeError (0.6.0); "cosine" is `normalised` here.
    """

    name = "feature-distillation"
    state = ("teacher", "ready")
    requires = frozenset({"boundaries"})

    def __init__(self, strength: float = 0.1, normalised: bool = False) -> None:
        if not strength >= 0:
            raise bad_option("strength", "zero or positive", strength, "Give strength=0.1.")
        self.strength, self.normalised = strength, normalised
        self.ready = False

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """The teacher has the model's shape from the start; its weights count once there is something to teach."""
        super().bind(model, generator)
        self.teacher = copy.deepcopy(model).requires_grad_(False).eval()

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        """The distance to the old features, over the new samples."""
        if not self.ready:
            return {}
        x, features = view.batch.x[view.new], view.features[view.new]
        with torch.no_grad():
            old = self.teacher.features(x)
        self.forwards += len(x)
        if self.normalised:
            return {"features": self.strength * (1 - functional.cosine_similarity(features, old, dim=1)).mean()}
        return {"features": self.strength * (features - old).square().sum(1).mean()}

    def end(self, train: Train) -> None:
        """The model becomes the teacher."""
        self.teacher.load_state_dict(self.model.state_dict())
        self.ready = True
