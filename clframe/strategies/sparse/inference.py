"""Which task a sample is of, where nobody says: that of the subnet which is surest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clframe.errors import bad_option

if TYPE_CHECKING:
    from torch import Tensor

INFERENCES = ("none", "entropy", "energy")


def check_inference(how: str) -> str:
    """The name of a way to infer the task.

    Raises:
        OptionError: an unknown one.
    """
    if how not in INFERENCES:
        raise bad_option("infer", f"one of {', '.join(INFERENCES)}", how, "Leave it out where the task is told.")
    return how


def surest(each: Tensor, how: str) -> Tensor:
    """Of the scores (T, B, C) of T subnets those (B, C) of the surest, sample by sample; the first of equals.

    "entropy": the lowest entropy of the softmax over the subnet's own classes, whose scores are finite. "energy": the largest
    logsumexp.

    Example:
        >>> import torch
        >>> inf = torch.inf
        >>> each = torch.tensor([[[0.1, 0.0, -inf, -inf]], [[-inf, -inf, 3.0, 0.0]]])
        >>> surest(each, "entropy").tolist()
        [[-inf, -inf, 3.0, 0.0]]
    """
    if how == "energy":
        sure = each.logsumexp(-1)
    else:
        log = each.log_softmax(-1)
        sure = (log.exp() * log.masked_fill(log.isinf(), 0.0)).sum(-1)
    return chosen(each, sure)


def chosen(each: Tensor, sure: Tensor) -> Tensor:
    """Of the scores (T, B, C) those (B, C) of the subnet for which `sure` (T, B) is largest; the first of equals."""
    best = sure.argmax(0)
    return each.gather(0, best.view(1, -1, 1).expand(1, -1, each.shape[-1]))[0]
