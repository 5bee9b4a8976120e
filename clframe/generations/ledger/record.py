"""What the pool knows of a shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, final

from clframe.errors import bad_option

KINDS = ("real", "synthetic", "edited")
SHORT = 12
"""Letters of an id that are printed."""


@final
@dataclass(frozen=True, slots=True)
class Record:
    """One shard of the pool: what it holds, what it was made from, and by what.

    Attributes:
        id: SHA-256 of the bytes of the Parquet file, in hexadecimal.
        kind: "real", "synthetic" (a model made the rows) or "edited" (made from rows of the parents).
        generation: 0 for real rows; above that of every parent otherwise.
        rows, bytes: of the shard.
        tokens: of all rows together; None where they are not counted.
        columns: type of each column, such as {"embedding": "float[128]", "text": "string"}.
        parents: ids of the shards that the model was trained on, or that were edited.
        model: what made the rows: any plain values, such as hashes of weights, configuration and code.
        sampler: its settings: temperature, top_p, seed, hash of the prompts, longest output.
        filter: {"rule": ..., "generated": rows before, "accepted": rows after}.
        licence: of the rows.
        embedding_model: what made the embeddings.
        cells: rows in each cell of k-means.
        losses: a summary of the losses, or all of them.
        created: time of appending, UTC, ISO 8601.

    Example:
        >>> Record("ab12" * 16, "real", 0, 3, 500, None, {"x": "double[2]"}).short
        'ab12ab12ab12'
    """

    id: str
    kind: str
    generation: int
    rows: int
    bytes: int
    tokens: int | None
    columns: Mapping[str, str]
    parents: tuple[str, ...] = ()
    model: Mapping[str, Any] | None = None
    sampler: Mapping[str, Any] | None = None
    filter: Mapping[str, Any] | None = None
    licence: str | None = None
    embedding_model: Any = None
    cells: Any = None
    losses: Any = None
    created: str = ""

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def short(self) -> str:
        """The first letters of the id."""
        return self.id[:SHORT]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"parents": list(self.parents)}

    def differs(self, other: Record) -> list[str]:
        """Names of the fields, apart from the time, that differ.

        Example:
            >>> made = Record("ab", "real", 0, 3, 500, None, {"x": "double"}, licence="cc0")
            >>> made.differs(Record("ab", "real", 0, 3, 500, None, {"x": "double"}, created="later"))
            ['licence']
        """
        return [f.name for f in fields(self) if f.name != "created" and getattr(self, f.name) != getattr(other, f.name)]


def record_of(found: Mapping[str, Any]) -> Record:
    """A record from plain values.

    Raises:
        TypeError: names that a record does not have, or too few.
    """
    return Record(**{**found, "parents": tuple(found["parents"])})


def plain(name: str, value: Any) -> Any:
    """The value as JSON holds it: numbers of numpy become Python's, tuples and arrays lists.

    Raises:
        OptionError: a value that JSON cannot hold, such as NaN.

    Example:
        >>> import numpy as np
        >>> plain("losses", {"mean": np.float32(0.5), "all": np.arange(2)})
        {'mean': 0.5, 'all': [0, 1]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(f"{name}[{key!r}]", each) for key, each in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(name, each) for each in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and abs(value) < float("inf"):
        return value
    raise bad_option(name, "text, a finite number, None, or lists and mappings of these", value, "Give plain values.")
