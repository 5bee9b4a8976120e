"""Means of features by class, and the distance to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from clframe.seeding import isolated
from clframe.strategies.filling import CHUNK

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network
    from clframe.types import Batch


@dataclass(frozen=True, slots=True)
class ClassMeans:
    """Where each class lies among the features.

    Attributes:
        means: mean feature of each class (C, d); zero where there is none.
        known: whether the class has a mean (C,).
        normalised: features count by their direction only: they have unit norm, and so have the means.

    Example:
        >>> means = ClassMeans(torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]), torch.tensor([True, True, False]), False)
        >>> means.scores(torch.tensor([[1.0, 1.0]]))
        tensor([[-1., -2., -inf]])
    """

    means: Tensor
    known: Tensor
    normalised: bool

    def scores(self, features: Tensor) -> Tensor:
        """-||phi - mean_c||^2 (B, C) of the features phi (B, d); -inf for a class without a mean."""
        phi = functional.normalize(features) if self.normalised else features
        distance = phi.square().sum(1, keepdim=True) - 2 * phi @ self.means.T + self.means.square().sum(1)
        return (-distance).masked_fill(~self.known, -torch.inf)


def in_chunks(fetch: Callable[[Tensor], Batch], ids: Tensor) -> Iterator[Batch]:
    """The samples with these ids, some at a time."""
    for low in range(0, len(ids), CHUNK):
        yield fetch(ids[low : low + CHUNK])


def class_means(model: Network, batches: Iterable[Batch], normalised: bool) -> ClassMeans:
    """The means of the samples' features under the model as it is, in evaluation mode; at least one batch.

    It leaves no trace in the model and in the random numbers, so that it can be worked out anew whenever it is asked for.
    """
    total = count = None
    with isolated(model), torch.inference_mode(False), torch.no_grad():
        for batch in batches:
            phi = model.features(batch.x)
            if normalised:
                phi = functional.normalize(phi)
            member = functional.one_hot(batch.y, model.num_classes).to(phi.dtype)
            total = member.T @ phi if total is None else total + member.T @ phi
            count = member.sum(0) if count is None else count + member.sum(0)
    assert total is not None
    assert count is not None
    means = total / count.clamp_min(1)[:, None]
    return ClassMeans(functional.normalize(means) if normalised else means, count > 0, normalised)
