"""Estimators as bytes in a checkpoint, read back without running any code but theirs."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clframe.errors import RunError

PACKAGES = ("sklearn", "scipy")
"""Whose classes may be in a state, besides those of the estimator's own package and of numpy's arrays and generators."""
BUILDERS = ("_reconstruct", "scalar", "_frombuffer", "__randomstate_ctor", "__bit_generator_ctor", "__generator_ctor")


def dumped(thing: object) -> Tensor:
    """The pickled object as a tensor (n,) of uint8, so that a checkpoint stays a file of plain tensors.

    Without pickle's memo, so that equal objects give equal bytes, whether or not two of their parts are one object in memory.

    Example:
        >>> loaded(dumped(np.arange(3)), "numpy").tolist()
        [0, 1, 2]
    """
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=5)
    pickler.fast = True
    pickler.dump(thing)
    return torch.from_numpy(np.frombuffer(file.getvalue(), dtype=np.uint8).copy())


def loaded(state: Tensor, module: str) -> Any:
    """The object; of functions, only those that make numpy's arrays and generators are called.

    Args:
        state: what `dumped` returned.
        module: the module of the estimator, whose package is trusted as its user trusts it.

    Raises:
        RunError: the state names anything else.
    """
    return _Reader(io.BytesIO(state.numpy().tobytes()), module.partition(".")[0]).load()


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, package: str) -> None:
        super().__init__(file)
        self._packages = (*PACKAGES, package)

    def find_class(self, module: str, name: str) -> Any:
        """A class or builder that may be in a state."""
        package, found = module.partition(".")[0], None
        if package in (*self._packages, "numpy"):
            found = super().find_class(module, name)
            builder = name.startswith("__pyx_unpickle_") or (package == "numpy" and name in BUILDERS)
            found = found if isinstance(found, type) or builder else None
        if found is None:
            raise RunError(
                f"the state of an estimator must hold nothing but itself and arrays; it names {module}.{name}. "
                "Do not use this checkpoint, unless you know who wrote it."
            )
        return found
