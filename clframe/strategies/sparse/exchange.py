"""Which weights a layer lets go, and which it takes up instead."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from clframe.errors import bad_option, unknown_name
from clframe.strategies.sparse.bits import members

if TYPE_CHECKING:
    from torch import Tensor

DROPS = ("magnitude", "set", "taylor")
GROWTHS = ("random", "unfired", "gradient", "momentum")


def rate(n: int, updates: int, highest: float = 0.5, lowest: float = 0.005) -> float:
    """The share of a layer's weights that is exchanged after update n of N: a cosine from the highest to the lowest.

        zeta_n = zeta_min + (alpha - zeta_min) / 2 (1 + cos(pi n / N))

    Example:
        >>> rate(0, 100), rate(50, 100), rate(100, 100)
        (0.5, 0.2525, 0.005)
    """
    share = min(1.0, n / max(updates, 1))
    return lowest + (highest - lowest) / 2 * (1 + math.cos(math.pi * share))


def every(period: int | None, updates: int) -> int:
    """Updates between exchanges: what was asked for; by default 100, or a tenth of the updates of a task where that is less.

    Example:
        >>> every(7, 50), every(None, 50), every(None, 5000)
        (7, 5, 100)
    """
    return period or max(1, min(100, updates // 10))


def check_period(period: int | None) -> None:
    """Raises:
    OptionError: it is no positive number of updates.
    """
    if period is not None and (not isinstance(period, int) or period < 1):
        raise bad_option("period", "a positive number of updates", period, "Leave it out, or give period=100.")


def draw_mask(candidates: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Exactly `count` of the candidates (bool, any shape), or all where there are fewer, uniformly at random.

    Example:
        >>> int(draw_mask(torch.ones(3, 4, dtype=torch.bool), 5, torch.Generator()).sum())
        5
    """
    return _some(candidates.flatten(), count, generator).view(candidates.shape)


def dropped(weight: Tensor, mask: Tensor, count: int, how: str = "magnitude", grad: Tensor | None = None) -> Tensor:
    """Exactly `count` of the active weights, the least important ones, as a mask; the first of equals.

    "magnitude": the smallest |w|. "set": the smallest positive and the largest negative ones, half of each as far as there are
    any. "taylor": the smallest (w g)^2.

    Args:
        weight: of the layer.
        mask: active weights, bool.
        count: how many, at most as many as are active.
        how: one of `DROPS`.
        grad: for "taylor".

    Raises:
        OptionError: an unknown criterion.

    Example:
        >>> w = torch.tensor([0.1, -0.2, 0.3, -0.4])
        >>> dropped(w, torch.ones(4, dtype=torch.bool), 2).tolist()
        [True, True, False, False]
    """
    if how not in DROPS:
        raise unknown_name("drop", how, DROPS)
    if how == "taylor":
        assert grad is not None
        return _lowest((weight * grad).square(), mask, count)
    if how == "magnitude":
        return _lowest(weight.abs(), mask, count)
    positive, negative = mask & (weight >= 0), mask & (weight < 0)
    half = min(count - count // 2, members(positive))
    half = max(half, count - members(negative))
    return _lowest(weight.abs(), positive, half) | _lowest(weight.abs(), negative, count - half)


def grown(
    candidates: Tensor,
    count: int,
    how: str,
    generator: torch.Generator,
    *,
    fired: Tensor | None = None,
    signal: Tensor | None = None,
) -> Tensor:
    """Exactly `count` of the candidates, or all where there are fewer, as a mask.

    "random": uniformly. "unfired": uniformly among those that were never active in this task, and when these are used up, among the
    others. "gradient", "momentum": the largest |signal|.

    Args:
        candidates: positions that may become active, bool.
        count: how many.
        how: one of `GROWTHS`.
        generator: for random draws.
        fired: positions that have been active in this task, for "unfired".
        signal: the dense gradient or the optimizer's momentum.

    Raises:
        OptionError: an unknown criterion.

    Reference: SET (Mocanu et al., 2018), ITOP (Liu et al., 2021), RigL (Evci et al., 2020), SNFS (Dettmers and Zettlemoyer, 2019).
    """
    if how == "random":
        return draw_mask(candidates, count, generator)
    if how == "unfired":
        assert fired is not None
        first = draw_mask(candidates & ~fired, count, generator)
        missing = count - members(first)
        return first | draw_mask(candidates & ~first, missing, generator) if missing else first
    if how in ("gradient", "momentum"):
        assert signal is not None
        return _lowest(-signal.abs(), candidates, count)
    raise unknown_name("growth", how, GROWTHS)


def _lowest(score: Tensor, among: Tensor, count: int) -> Tensor:
    """Exactly `count` of `among` with the lowest scores, the first of equals; all where there are fewer. NaN is the highest."""
    allowed, values = among.flatten(), score.flatten()
    size = members(allowed)
    if count >= size:
        return among.clone()
    if count <= 0:
        return torch.zeros_like(among)
    positions = _near(values, allowed, size, count).nonzero().flatten()
    near = values[positions]
    limit = _nth(near, count)
    chosen = positions[_up_to(limit, near, count)] if limit.isfinite() else positions[near.sort(stable=True).indices[:count]]
    return torch.zeros_like(allowed).index_fill_(0, chosen, True).view(among.shape)


def _near(values: Tensor, allowed: Tensor, size: int, count: int) -> Tensor:
    """Fewer of those allowed that still hold the `count` lowest: all below a bound that every 16th of them suggests."""
    sample = values[::16][allowed[::16]]
    rank = int(1.2 * count / size * len(sample)) + 50
    if rank >= len(sample):
        return allowed
    near = allowed & (values <= _nth(sample, rank))
    return near if members(near) >= count else allowed


def _nth(values: Tensor, count: int) -> Tensor:
    """The count-th lowest."""
    return values.topk(count, largest=False, sorted=False).values.max()


def _up_to(limit: Tensor, values: Tensor, count: int) -> Tensor:
    """Those below the limit, and as many equal to it, the first ones, as the count asks for."""
    below, equal = values < limit, values == limit
    need = count - members(below)
    return below | (equal & (equal.cumsum(0) <= need) if members(equal) > need else equal)


def _some(among: Tensor, count: int, generator: torch.Generator) -> Tensor:
    found = torch.zeros_like(among)
    positions = among.nonzero().flatten()
    if count > 0 and len(positions):
        order = torch.randperm(len(positions), generator=generator)[:count]
        found[positions[order.to(positions.device)]] = True
    return found
