"""How many weights each layer keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from clframe.errors import bad_option, unknown_name

Shape = Sequence[int]


def uniform(shapes: Sequence[Shape], density: float) -> list[float]:
    """The same share of every layer.

    Example:
        >>> uniform([(4, 4), (8, 4)], 0.25)
        [0.25, 0.25]
    """
    return [density for _ in shapes]


def erk(shapes: Sequence[Shape], density: float) -> list[float]:
    """The Erdos-Renyi-Kernel share of every layer: narrow layers keep more.

        raw_l = sum(shape_l) / prod(shape_l)
        eps   = (sum_{l not dense} d N_l - sum_{l dense} (1 - d) N_l) / sum_{l not dense} raw_l N_l
        share = eps raw_l, or 1 for a dense layer

    where layers whose share would exceed 1 are made dense, those with the largest raw_l first, until none does. Over all layers
    the share is exactly d.

    Args:
        shapes: of the weights: (out, in) or (out, in, height, width).
        density: d in (0, 1].

    Example: the narrow layer is kept whole.
        >>> [round(share, 3) for share in erk([(2, 2), (20, 20)], 0.2)]
        [1.0, 0.192]

    Reference: Evci, Gale, Menick, Castro and Elsen, "Rigging the lottery: making all tickets winners", 2020, after Mocanu et al.,
        "Scalable training of artificial neural networks with adaptive sparse connectivity", 2018.
    """
    sizes, dense = [math.prod(s) for s in shapes], set[int]()
    raw = [sum(s) / n for s, n in zip(shapes, sizes, strict=True)]
    while len(dense) < len(shapes):
        wanted = sum(density * n for i, n in enumerate(sizes) if i not in dense)
        wanted -= sum((1 - density) * sizes[i] for i in dense)
        eps = wanted / sum(raw[i] * sizes[i] for i in range(len(shapes)) if i not in dense)
        largest = max(raw[i] for i in range(len(shapes)) if i not in dense)
        if eps * largest <= 1:
            return [1.0 if i in dense else eps * raw[i] for i in range(len(shapes))]
        dense |= {i for i in range(len(shapes)) if i not in dense and raw[i] == largest}
    return [1.0 for _ in shapes]


ALLOCATIONS: dict[str, Callable[[Sequence[Shape], float], list[float]]] = {"erk": erk, "uniform": uniform}


def counts(how: str, shapes: Sequence[Shape], density: float) -> list[int]:
    """Weights that each layer keeps, whole numbers that add up to round(density x all weights); at least one in each.

    Shares are rounded down, and what is missing goes to the layers with the largest remainders.

    Raises:
        OptionError: an unknown allocation, or a density outside (0, 1].

    Example:
        >>> counts("uniform", [(3, 3), (5, 3)], 0.5)
        [5, 7]
    """
    if how not in ALLOCATIONS:
        raise unknown_name("init", how, ALLOCATIONS)
    if isinstance(density, str) or not 0 < density <= 1:
        raise bad_option("density", "in (0, 1]", density, "Give density=0.1.")
    sizes = [math.prod(s) for s in shapes]
    exact = [share * n for share, n in zip(ALLOCATIONS[how](shapes, density), sizes, strict=True)]
    found = [min(n, max(1, math.floor(e + 1e-9))) for e, n in zip(exact, sizes, strict=True)]
    missing = round(density * sum(sizes)) - sum(found)
    for i in sorted(range(len(found)), key=lambda i: found[i] - exact[i]):
        if missing > 0 and found[i] < sizes[i]:
            found[i] += 1
            missing -= 1
    return found


def listed(names: Sequence[str]) -> str:
    """Layers for a message: without what they all begin and end with, at most five."""
    short = [n.removeprefix("backbone.").removesuffix(".weight") for n in names]
    return ", ".join(short[:5]) + (f" and {len(short) - 5} more" if len(short) > 5 else "")
