"""Which task a sample is of, where nobody says: the task whose network is surest of it, as its whole box of weights sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models.interval import Box


def weighted_entropy(scores: Box) -> Tensor:
    """The entropy of the softmax of the centres of the bounds, each class weighted by how narrow its bounds are (B,).

        H_i = - sum_c p_ic log(p_ic) / (u_ic - l_ic + 1e-8),   p_i = softmax((l_i + u_i) / 2)

    Args:
        scores: bounds [l, u] of the scores (B, K) of one task's network.

    Example:
        >>> import torch
        >>> from clframe.models.interval import Box
        >>> sure = Box(torch.tensor([[4.0, 0.0]]), torch.tensor([[5.0, 1.0]]))
        >>> unsure = Box(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
        >>> bool(weighted_entropy(sure) < weighted_entropy(unsure))
        True

    Reference: Krukowski et al., "HINT", 2024, as its code has it (entropy.py).
    """
    log = scores.centre.log_softmax(1)
    return -(log.exp() * log / (scores.width + 1e-8)).sum(1)
