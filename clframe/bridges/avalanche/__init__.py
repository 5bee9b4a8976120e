"""Avalanche, both ways: its benchmarks as scenarios and the reverse, its strategies under clframe's evaluation, and
clframe's evaluator and parts in its scripts. See docs/bridges/avalanche.md.

>>> from clframe.bridges import avalanche
>>> sorted(avalanche.__all__)  # doctest: +ELLIPSIS
['AvalancheStrategy', 'ContinualEvaluationPlugin', 'avalanche', 'benchmark', 'penalty', 'scenario', 'strategy']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clframe.bridges.avalanche.benchmarks import benchmark
    from clframe.bridges.avalanche.penalties import penalty
    from clframe.bridges.avalanche.plugin import ContinualEvaluationPlugin
    from clframe.bridges.avalanche.scenarios import scenario
    from clframe.bridges.avalanche.strategies import AvalancheStrategy, strategy
    from clframe.bridges.avalanche.words import avalanche

_WHERE = {
    "AvalancheStrategy": "strategies",
    "ContinualEvaluationPlugin": "plugin",
    "avalanche": "words",
    "benchmark": "benchmarks",
    "penalty": "penalties",
    "scenario": "scenarios",
    "strategy": "strategies",
}

__all__ = [
    "AvalancheStrategy",
    "ContinualEvaluationPlugin",
    "avalanche",
    "benchmark",
    "penalty",
    "scenario",
    "strategy",
]


def need() -> None:
    """Import Avalanche.

    Raises:
        MissingExtraError: it is not installed, or a version that this bridge was not tested with.
    """
    from clframe.bridges.extra import bring

    bring("avalanche", __name__, "avalanche", package="avalanche-lib", at_least="0.6", below="0.7")


def __getattr__(name: str) -> Any:
    """Import on first use, with a sentence where Avalanche is missing or of another version."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name != "avalanche":  # which says so when it is called, so that `clframe list` does not need Avalanche
        need()
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
