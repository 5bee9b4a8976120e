"""Embeddings that come in batches, or are made by a model: written to shards on disk, and gone on with where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clframe.errors import DataError, RunError
from clframe.selection.pool.vectors import Shards

if TYPE_CHECKING:
    import torch
    from torch import nn

SHARD = 65536
DONE = "done.json"


def spool(batches: Iterable[npt.NDArray[Any]], folder: str | Path, *, tell: Callable[[int], object] | None = None) -> Shards:
    """Write batches of embeddings (b, d) to `.npy` shards in a folder, and read them as one.

    A finished shard is never written again: given the same batches once more after it was stopped, it goes on behind the last one.
    A folder that is finished is only read.

    Args:
        batches: arrays or tensors (b, d), in order.
        folder: for the shards, 65,536 rows each, in the precision of the first batch.
        tell: progress, called with the rows written.

    Raises:
        DataError: no batch, or batches of several widths.
        RunError: the folder holds something else.

    Example:
        >>> from tempfile import mkdtemp
        >>> found = spool((np.full((3, 2), i, dtype=np.float16) for i in range(2)), mkdtemp())
        >>> found.shape, found.read(2, 4).tolist()
        ((6, 2), [[0.0, 0.0], [1.0, 1.0]])
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    shards = sorted(place.glob("part-*.npy"))
    if (place / DONE).exists():
        return Shards(shards)
    strange = [p.name for p in place.iterdir() if p not in shards and not p.name.startswith(".")]
    if strange:
        raise RunError(f"{place} must be empty, or what an earlier call left; got {strange[0]}. Give a folder of its own.")
    skipped, written, held, width = len(shards) * SHARD, 0, [], None
    for batch in batches:
        array = np.asarray(batch)
        array = array.reshape(len(array), -1)
        width = width or array.shape[1]
        if array.shape[1] != width:
            raise DataError(f"all batches must have {width} numbers a row; got {array.shape[1]}. Embed all of them with one model.")
        held.append(array[max(0, skipped - written) :] if written < skipped else array)
        written += len(array)
        while sum(map(len, held)) >= SHARD:
            joined = np.concatenate(held)
            _write(place, len(shards), joined[:SHARD])
            shards, held = [*shards, place / f"part-{len(shards):05d}.npy"], [joined[SHARD:]]
        if tell is not None:
            tell(written)
    rest = np.concatenate(held) if held else np.empty((0, 0))
    if len(rest):
        _write(place, len(shards), rest)
        shards.append(place / f"part-{len(shards):05d}.npy")
    if not shards:
        raise DataError("there must be at least one batch of embeddings; got none. Give some.")
    (place / DONE).write_text(json.dumps({"rows": written, "width": width}) + "\n")
    return Shards(shards)


def embed(
    model: nn.Module,
    batches: Iterable[torch.Tensor],
    folder: str | Path,
    *,
    device: str = "cpu",
    tell: Callable[[int], object] | None = None,
) -> Shards:
    """The outputs of a model for batches of inputs, as a pool's embeddings on disk (float16).

    Args:
        model: x (b, *input) -> (b, d), or longer, which is flattened; put in evaluation mode, and back.
        batches: inputs, in the order of the pool.
        folder, tell: as in `spool`.
        device: where to compute.

    Raises:
        DataError, RunError: as in `spool`.

    Example:
        >>> import torch
        >>> from tempfile import mkdtemp
        >>> embed(torch.nn.Linear(3, 2), [torch.zeros(4, 3), torch.ones(2, 3)], mkdtemp()).shape
        (6, 2)
    """
    import torch

    def outputs() -> Iterable[npt.NDArray[Any]]:
        for x in batches:
            with torch.inference_mode():
                yield model(x.to(device)).flatten(1).to(torch.float16).cpu().numpy()

    was = model.training
    model.eval().to(device)
    try:
        return spool(outputs(), folder, tell=tell)
    finally:
        model.train(was)


def _write(place: Path, number: int, values: npt.NDArray[Any]) -> None:
    name = f"part-{number:05d}.npy"
    with open(place / f".{name}", "wb") as file:
        np.save(file, np.ascontiguousarray(values))
    os.replace(place / f".{name}", place / name)
