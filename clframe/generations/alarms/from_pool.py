"""What the alarms look at, from a pool of generations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clframe.errors import DataError, bad_option
from clframe.generations.alarms.alarm import Floats
from clframe.generations.alarms.data import Data, Embeddings
from clframe.generations.ledger import Ledger, Record

EMBEDDING, TEXT = "embedding", "text"
NOT_EMBEDDED = ("label", "loss", "tokens", "generation")
"""Columns of numbers that describe a row and are no part of it."""

Columns = Mapping[str, npt.NDArray[Any]]


def gather(pool: Ledger, generation: int | None = None, outside: Columns | None = None) -> Data:
    """Real rows and those of one generation.

    Embeddings are the column "embedding", else all columns of numbers side by side, without "label", "loss", "tokens" and
    "generation"; texts the column "text". Held-out losses are those of the records: a list, or {"heldout": a list}, one number for
    each held-out row, the same rows in every generation. The model's training rows are those of the parents.

    Args:
        pool: with real and synthetic shards.
        generation: the newest by default.
        outside: real rows that no model was trained on.

    Memory: embeddings and texts of all real rows, and of the generation's.

    Raises:
        OptionError: a generation without synthetic rows.
        DataError: no real rows; a shard that is missing or was changed; shards with different columns; outside rows without
            numbers.

    Example:
        >>> import tempfile
        >>> pool = Ledger(tempfile.mkdtemp())
        >>> real = pool.append({"x": np.eye(3)}, kind="real")
        >>> made = pool.append({"x": np.eye(3)[:2]}, kind="synthetic", parents=[real.id], model={"weights": "5f2c"}, losses=[0.5])
        >>> data = gather(pool)
        >>> data.real.shape, data.made.shape, data.trained, {g: loss.tolist() for g, loss in data.losses.items()}
        ((3, 3), (2, 3), 3, {1: [0.5]})
    """
    records = pool.records()
    real = [r for r in records if r.kind == "real"]
    made, ages = [r for r in records if r.kind == "synthetic"], sorted({r.generation for r in records if r.kind == "synthetic"})
    if not ages:
        raise DataError(f"{pool.folder} must have synthetic rows to be checked; got none. Append some first.")
    generation = ages[-1] if generation is None else generation
    if generation not in ages:
        raise bad_option("generation", f"one with synthetic rows: {', '.join(map(str, ages))}", generation, "See clframe pool log.")
    here = [r for r in made if r.generation == generation]
    if not real and outside is None:
        raise DataError(f"{pool.folder} must have real rows to compare with; got none. Append some, or give --real FILE.")
    parents = [pool.record(name) for name in sorted({name for r in here for name in r.parents})]
    own, theirs = _columns(pool, here), _columns(pool, real) if real else outside
    assert theirs is not None
    made_x, real_x = embeddings(own), embeddings(theirs)
    beside = None if outside is None else embeddings(outside)
    if outside is not None and beside is None and made_x is not None:
        raise DataError(
            f"real rows must have numbers, as the generated ones do; got columns {', '.join(outside)}. Give a file with embeddings."
        )
    return Data(
        generation=generation,
        trained=sum(r.rows for r in parents),
        losses={g: found for g in ages if (found := _losses(r for r in made if r.generation == g)) is not None},
        real=real_x,
        made=made_x,
        outside=beside if real else None,
        real_texts=texts(theirs if outside is None else outside),
        made_texts=texts(own),
        training=_hashes(pool, parents),
        rows=_hashes(pool, here),
    )


def embeddings(columns: Columns) -> Embeddings | None:
    """(n, d), or None where no column has numbers.

    Example:
        >>> embeddings({"x": np.ones((2, 3)), "y": np.zeros(2), "label": np.zeros(2), "text": np.array(["a", "b"])}).shape
        (2, 4)
    """
    names = [k for k in sorted(columns) if np.asarray(columns[k]).dtype.kind in "iufb" and k not in NOT_EMBEDDED]
    names = [EMBEDDING] if EMBEDDING in names else names
    if not names:
        return None
    found: Embeddings = np.concatenate([np.asarray(columns[k]).reshape(len(columns[k]), -1) for k in names], axis=1).astype(
        np.float32
    )
    return found


def texts(columns: Columns) -> Sequence[str]:
    """The column "text", or nothing."""
    return [str(text) for text in columns.get(TEXT, ())]


def _columns(pool: Ledger, records: Sequence[Record]) -> dict[str, npt.NDArray[Any]]:
    """The columns that all shards have, one below the other."""
    shared = [name for name in records[0].columns if all(name in r.columns for r in records)]
    names = [name for name in shared if name in (EMBEDDING, TEXT)] if EMBEDDING in shared else shared
    if not names:
        told = " and ".join(sorted({", ".join(r.columns) for r in records})[:2])
        raise DataError(f"shards of one kind must have a column in common to be compared; got {told}. Name them alike.")
    parts = [pool.read(r.id, names) for r in records]
    for name in names:
        if len({part[name].shape[1:] for part in parts}) > 1:
            raise DataError(f"column {name!r} must have one width in all shards; got several. Make them again with one model.")
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _losses(records: Iterable[Record]) -> Floats | None:
    """The first found: all shards of a model say the same."""
    for record in records:
        given = record.losses.get("heldout") if isinstance(record.losses, Mapping) else record.losses
        if isinstance(given, list) and given and all(isinstance(v, int | float) for v in given):
            return np.asarray(given, dtype=np.float64)
    return None


def _hashes(pool: Ledger, records: Sequence[Record]) -> npt.NDArray[np.uint64]:
    return np.concatenate([np.zeros(0, np.uint64), *(pool.row_hashes(r.id) for r in records)])
