"""The methods in the order in which they are listed."""

from __future__ import annotations

from clframe.registry import parse, split

FAMILIES: dict[str, list[str]] = {
    "Baselines": ["finetune", "cumulative", "joint"],
    "Replay": [
        "er",
        "mir",
        "er-ace",
        "der",
        "der++",
        "generative-replay",
        "gem",
        "agem",
        "gradient-projection",
        "er-agem",
        "gdumb",
        "icarl",
        "bic",
    ],
    "Regularisation": ["ewc", "si", "mas", "rwalk"],
    "Distillation": ["lwf", "feature-distillation", "prd"],
    "Exemplar-free and streaming": ["ncm", "slda", "ranpac", "fecam", "fetril"],
    "Architecture": ["hat", "progressive"],
    "Hypernetworks and intervals": ["hnet", "hypermask", "hyperinterval", "intercontinet"],
    "Sparse": ["dst", "packnet", "wsn", "spacenet", "rigl", "set"],
    "Across methods": ["ema", "nmc-head", "nap"],
}


def family_of(strategy: str, method: str) -> tuple[int, int, int]:
    """Where a line of the table stands: by the first method of its strategy; compositions after what they are made of.

    Example:
        >>> family_of("er(size=200)+ema", "er+ema") > family_of("er(size=200)", "er")
        True
    """
    names = [parse(piece)[0] for piece in split(strategy, "+")]
    order = [name for members in FAMILIES.values() for name in members]
    family = next(k for k, members in enumerate(FAMILIES.values()) if names[0] in members)
    return family, order.index(names[0]), len(names)
