"""clframe: continual learning under per-iteration evaluation, and curation of training data.

>>> import clframe
>>> result = clframe.run("split-digits", "er(size=100)", seed=0)
>>> result.accuracy.shape == (len(result.updates), 5)
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clframe import data, scenarios, selection, strategies
    from clframe.comparison import compare
    from clframe.eval.result import Result, Results
    from clframe.experiment import run
    from clframe.exporting import export
    from clframe.rundir import load

__version__ = "0.1.0"

_WHERE = {
    "run": "clframe.experiment",
    "compare": "clframe.comparison",
    "export": "clframe.exporting",
    "load": "clframe.rundir",
    "Result": "clframe.eval.result",
    "Results": "clframe.eval.result",
}
_ROOMS = ("data", "scenarios", "selection", "strategies")

__all__ = ["Result", "Results", "compare", "data", "export", "load", "run", "scenarios", "selection", "strategies"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import clframe` costs next to nothing."""
    if name in _ROOMS:
        return importlib.import_module(f"clframe.{name}")
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'clframe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
