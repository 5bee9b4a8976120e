"""Gradient projection on top of replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch

from clframe.strategies.gradients import mean_gradient, take_out
from clframe.strategies.part import Part, Recipe, View
from clframe.strategies.replay import Replay
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network

EPS = 1e-7


class GradientProjection(Part):
    """Gradient projection on top of replay: the step may not raise the loss on the samples that are replayed with it.

    Replay adds the loss of recalled samples to that of the new ones; this part, composed with it (`er+gradient-projection`),
    treats the same recalled samples as A-GEM treats its memory too. With the gradient g of the whole loss and the gradient g_ref
    of the recalled samples' cross-entropy, taken in evaluation mode,

        g <- g - <g, g_ref> / (<g_ref, g_ref> + 1e-7) g_ref      if <g, g_ref> < 0

    from the second experience on. Recalled samples count in g_ref as they do in the loss; where none of them does (a method that
    recalls them for a penalty only), all count the same. It has no options and no memory: something beside it must recall.

    Logs:
        - gradient-projection/projected: 1 where the gradient was projected, 0 where it did not need to be
        - gradient-projection/change: norm of the change of the gradient
        - gradient-projection/reference: norm of g_ref

    Example:
        >>> import clframe
        >>> plain, projected = (
        ...     clframe.run("split-digits", words) for words in ("er(size=100)", "er(size=100)+gradient-projection")
        ... )
        >>> projected.budget.forwards > plain.budget.forwards
        True

    Reference: Hess, Tuytelaars and van de Ven, "Two complementary perspectives to continual learning: ask not only what to
        optimize, but also how", 2023 (ER + A-GEM). Their result: no clear and consistent benefit over replay alone.
    Differences:
        1. Their loss weighs new and recalled samples by 1/k and 1 - 1/k in the k-th experience; that is `er-agem`. Here the weights
           are those of the part that recalls.
        2. The whole network is in evaluation mode for g_ref, dropout included; in their code only batch normalisation is.
        3. `er` fills its memory after every update, so that some of the recalled samples are of the experience in progress;
           `er(fill=experience)` recalls those of the past only.
        4. Where boundaries are not revealed, it projects from the first recalled batch on.
    """

    name = "gradient-projection"
    needs_head = True
    partners = frozenset({"recall"})

    def __init__(self) -> None:
        self._log: Mapping[str, Tensor] = {}

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """The parameters whose gradients are projected."""
        super().bind(model, generator)
        self._parameters = [p for p in model.parameters() if p.requires_grad]

    def begin(self, train: Train) -> None:
        """In the first experience there is no past to protect."""
        self._first = train.experience == 0

    def project(self, view: View) -> None:
        """Take out of the gradient what would raise the loss on the recalled samples."""
        self._log = {}
        recalled = recalled_of(view)
        if self._first or not len(recalled):
            return
        reference = mean_gradient(self.model, self._parameters, [recalled])
        self.forwards += len(recalled)
        self.backwards += len(recalled)
        self._log = take_out(self._parameters, reference, EPS)

    def absorb(self, view: View) -> Mapping[str, Tensor]:
        """The terms to log."""
        return self._log


def recalled_of(view: View) -> Batch:
    """The recalled rows of the union, with the weights that they have in the loss; without weights where these are all 0."""
    batch, rows = view.batch, view.recalled
    weight, task, mass = (None if column is None else column[rows] for column in (batch.weight, batch.task, batch.mass))
    if weight is not None and not weight.any():
        weight = mass = None
    return Batch(batch.x[rows], batch.y[rows], batch.index[rows], weight, task, mass=mass)


def er_agem(
    size: int = 500,
    memory: str = "reservoir",
    batch_size: int | None = None,
    fill: Literal["step", "experience"] = "experience",
) -> Recipe:
    """ER + A-GEM: replay in which every experience counts the same, and `gradient-projection` on top of it.

        g = gradient of  1/k L_new + (1 - 1/k) L_recalled
        g <- g - <g, g_ref> / (<g_ref, g_ref> + 1e-7) g_ref      if <g, g_ref> < 0

    in the k-th experience, with g_ref the gradient of L_recalled in evaluation mode.

    Args:
        size: samples in the memory.
        memory: which samples it keeps: see `er`.
        batch_size: samples to recall at each update; as many as the new batch by default.
        fill: when samples enter the memory: at the end of an "experience", or after every "step".

    Raises:
        OptionError: a size or batch size out of range, an unknown memory or time to fill it.

    Logs:
        - gradient-projection/projected: 1 where the gradient was projected, 0 where it did not need to be
        - gradient-projection/change: norm of the change of the gradient
        - gradient-projection/reference: norm of g_ref

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "er-agem(size=100)")
        >>> result.budget.state_bytes["er"] > 100 * 64
        True

    Reference: Hess, Tuytelaars and van de Ven, "Two complementary perspectives to continual learning: ask not only what to
        optimize, but also how", 2023 (ER + A-GEM).
    Differences: 1. The whole network is in evaluation mode for g_ref, dropout included; in their code only batch normalisation is.
    """
    return Recipe((Replay(size, memory, batch_size, "1/k", fill), GradientProjection()))
