"""Seeds addressed by name, so that adding a part, a metric or an experience moves no other random number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn


def seed_for(root: int, *names: str | int) -> int:
    """A 63-bit seed: blake2b(root, name_1, ..., name_k), independent for different names.

    Args:
        root: the seed of the run.
        names: the address of the consumer, such as ("order", experience, epoch).

    Example:
        >>> seed_for(0, "order", 3, 1) == seed_for(0, "order", 3, 1)
        True
        >>> seed_for(0, "order", 3, 1) == seed_for(0, "order", 31)
        False
    """
    key = "\x1f".join([str(int(root)), *(f"{type(n).__name__}:{n}" for n in names)])
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") >> 1


def rng(root: int, *names: str | int) -> np.random.Generator:
    """A numpy generator of its own for the named consumer.

    Example:
        >>> int(rng(0, "subset").integers(1000)) == int(rng(0, "subset").integers(1000))
        True
    """
    return np.random.Generator(np.random.PCG64(seed_for(root, *names)))


def generator(root: int, *names: str | int) -> torch.Generator:
    """A torch generator (on the CPU) of its own for the named consumer; its state is a plain tensor."""
    import torch

    return torch.Generator().manual_seed(seed_for(root, *names))


def global_state() -> dict[str, Any]:
    """The state of torch's global generators (CPU and every CUDA device): plain tensors."""
    import torch

    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_global_state(state: dict[str, Any]) -> None:
    """Put back what `global_state` returned."""
    import torch

    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def seeded(root: int, *names: str | int) -> Iterator[None]:
    """Inside, torch's global generator begins with the seed of the named consumer; after, it is as it was.

    Example:
        >>> import torch
        >>> with seeded(0, "weights"):
        ...     first = torch.nn.Linear(2, 2).weight
        >>> with seeded(0, "weights"):
        ...     bool((torch.nn.Linear(2, 2).weight == first).all())
        True
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(root, *names))
        yield


@contextmanager
def isolated(*modules: nn.Module) -> Iterator[None]:
    """Measure without leaving a trace: evaluation mode and no gradients inside, every mode and generator put back after.

    In evaluation mode normalisation layers do not touch their buffers and dropout draws nothing; should a model draw
    all the same, the global generators are restored, so training goes on as if nobody had looked.

    Args:
        modules: the modules whose training flags are set to False and then restored one by one.
    """
    import torch

    changed = [m for module in modules for m in module.modules() if m.training]
    state = global_state()
    for m in changed:
        m.training = False
    try:
        with torch.inference_mode():
            yield
    finally:
        for m in changed:
            m.training = True
        set_global_state(state)
