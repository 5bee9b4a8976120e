"""Every global random generator that code of others may draw from: torch's, Python's and NumPy's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from clframe.seeding import global_state, seed_for, set_global_state


class Generators:
    """States of the global generators that belong to somebody: inside `inside`, they are the global ones.

    Args:
        root: seed of the run.
        names: address of whom they belong to.

    Example:
        >>> own, before = Generators(0, "somebody"), torch.get_rng_state()
        >>> with own.inside():
        ...     first = torch.rand(1), random.random()
        >>> bool((torch.get_rng_state() == before).all())
        True
        >>> with Generators(0, "somebody").inside():
        ...     first == (torch.rand(1), random.random())
        True
    """

    def __init__(self, root: int, *names: str | int) -> None:
        seed = seed_for(root, *names)
        before = _state()
        torch.default_generator.manual_seed(seed)
        if "cuda" in before["torch"]:
            torch.cuda.manual_seed_all(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        self.state = _state()
        _set(before)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Put these in place of the global ones; afterwards, keep where they stand and put the others back."""
        before = _state()
        _set(self.state)
        try:
            yield
        finally:
            self.state = _state()
            _set(before)


def _state() -> dict[str, Any]:
    return {"torch": global_state(), "python": random.getstate(), "numpy": np.random.get_state()}  # noqa: NPY002


def _set(state: dict[str, Any]) -> None:
    set_global_state(state["torch"])
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
