"""The record table: what was measured, one immutable row a measurement. Every metric is a pure function of it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from clframe.errors import DivergedError

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from clframe.types import Ids, Step

SUBSETS = ("full", "curve")
_FLUSH = 64


class Row(NamedTuple):
    """One measurement: the model after `n` updates on (a subset of) the test set of one experience.

    Attributes:
        n: updates completed since the start of the stream; 0 is the initial model.
        trained: the experience being trained at `n`; -1 at n = 0.
        evaluated: the experience whose test set was measured.
        correct: correct predictions.
        total: samples measured.
        subset: "full" (the whole test set) or "curve" (the subset drawn once per run).
        seconds: this row's share of the time that the measurement took.
        bits: per-sample correctness, packed (`numpy.packbits`), in the order of the test ids; empty where not asked for.
        head: the evaluation head that was measured; "" is the strategy's answer.
    """

    n: int
    trained: int
    evaluated: int
    correct: int
    total: int
    subset: str
    seconds: float
    bits: bytes = b""
    head: str = ""


class ClassRow(NamedTuple):
    """Correct and total of one class in one experience's whole test set, at n = 0 and at boundaries."""

    n: int
    evaluated: int
    label: int
    correct: int
    total: int
    head: str = ""


class _Table:
    """The rows of one head."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.classes: list[ClassRow] = []

    def state_dict(self) -> dict[str, Any]:
        """All rows, as tensors."""
        return {
            "rows": _ints([(*r[:5], SUBSETS.index(r.subset), len(r.bits)) for r in self.rows], 7),
            "seconds": torch.tensor([r.seconds for r in self.rows], dtype=torch.float64),
            "bits": torch.from_numpy(np.frombuffer(b"".join(r.bits for r in self.rows), dtype=np.uint8).copy()),
            "classes": _ints([r[:5] for r in self.classes], 5),
        }

    def load_state_dict(self, state: Mapping[str, Any], head: str) -> None:
        """Put back what `state_dict` returned."""
        bits, start = state["bits"].numpy().tobytes(), 0
        self.rows = []
        for counts, seconds in zip(state["rows"].tolist(), state["seconds"].tolist(), strict=True):
            n, trained, evaluated, correct, total, subset, length = counts
            packed = bits[start : start + length]
            self.rows.append(Row(n, trained, evaluated, correct, total, SUBSETS[subset], seconds, packed, head))
            start += length
        self.classes = [ClassRow(*r)._replace(head=head) for r in state["classes"].tolist()]


class Records:
    """Collects rows and loss terms of one run; its state goes into the checkpoint, its tables into Parquet.

    Args:
        run: name of the run (the strategy as the user wrote it).
        seed: seed of the run.

    Example:
        >>> records = Records("er", seed=0)
        >>> records.eval([Row(0, -1, 0, 7, 70, "full", 0.01)])
        >>> records.rows()[["n", "correct", "total"]].values.tolist()
        [[0, 7, 70]]
    """

    def __init__(self, run: str, seed: int) -> None:
        self.run, self.seed = run, seed
        self._tables = {"": _Table()}
        self._terms: list[tuple[int, str, float]] = []
        self._pending: list[tuple[int, Mapping[str, Tensor]]] = []

    def train(self, step: Step, terms: Mapping[str, Tensor]) -> None:
        """Keep the loss terms of one update. They are read from the device in blocks of 64 updates, not one by one.

        Raises:
            RunError: a term is not finite.
        """
        self._pending.append((step.n, terms))
        if len(self._pending) >= _FLUSH:
            self.flush()

    def eval(self, rows: Iterable[Row], classes: Iterable[ClassRow] = ()) -> None:
        """Append measurements, those of each head to its own table."""
        for row in rows:
            self._table(row.head).rows.append(row)
        for count in classes:
            self._table(count.head).classes.append(count)

    def flush(self) -> None:
        """Read the pending loss terms from the device and check that they are finite."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        tensors = [v for _, terms in pending for v in terms.values()]
        values = torch.stack(tensors).tolist() if tensors else []
        position = 0
        for n, terms in pending:
            for name in terms:
                value = values[position]
                position += 1
                if not math.isfinite(value):
                    raise DivergedError(
                        f"loss term {name!r} must be finite; got {value} at update {n}. "
                        "Lower the learning rate (lr) or the strengths of the penalties; the last checkpoint is intact."
                    )
                self._terms.append((n, name, value))

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads that were measured beside the answer."""
        return tuple(head for head in self._tables if head)

    def rows(self, head: str = "") -> pd.DataFrame:
        """The record table of the answer, or of a head: run, seed, n, trained, evaluated, correct, total, subset, seconds, bits."""
        import pandas as pd

        types = {**dict.fromkeys(("n", "trained", "evaluated", "correct", "total"), "int64"), "seconds": "float64"}
        frame = pd.DataFrame(self._tables[head].rows, columns=list(Row._fields)).drop(columns="head").astype(types)
        frame.insert(0, "run", self.run)
        frame.insert(1, "seed", self.seed)
        return frame

    def classes(self, head: str = "") -> pd.DataFrame:
        """Per-class counts at n = 0 and at boundaries, of the answer or of a head: n, evaluated, label, correct, total."""
        import pandas as pd

        return pd.DataFrame(self._tables[head].classes, columns=list(ClassRow._fields)).drop(columns="head").astype("int64")

    def head_rows(self) -> pd.DataFrame | None:
        """`rows` of all heads beside the answer, with a column head; None where there are none."""
        return _stacked({head: self.rows(head) for head in self.heads})

    def head_classes(self) -> pd.DataFrame | None:
        """`classes` of all heads beside the answer, with a column head; None where there are none."""
        return _stacked({head: self.classes(head) for head in self.heads})

    def terms(self) -> pd.DataFrame:
        """Loss terms of every update: n, term, value."""
        import pandas as pd

        self.flush()
        return pd.DataFrame(self._terms, columns=["n", "term", "value"]).astype({"n": "int64", "value": "float64"})

    def between(self, after: int, until: int) -> tuple[list[Row], list[tuple[int, str, float]]]:
        """Rows of the answer and of all heads, and loss terms read from the device, with after < n <= until."""
        found: list[Row] = []
        for table in self._tables.values():
            low, high = (bisect_right(table.rows, n, key=attrgetter("n")) for n in (after, until))
            found += table.rows[low:high]
        low, high = (bisect_right(self._terms, n, key=itemgetter(0)) for n in (after, until))
        return found, self._terms[low:high]

    def state_dict(self) -> dict[str, Any]:
        """Everything collected, as tensors and lists of strings."""
        self.flush()
        names = sorted({t[1] for t in self._terms})
        code = {name: i for i, name in enumerate(names)}
        return {
            **self._tables[""].state_dict(),
            "heads": {head: self._tables[head].state_dict() for head in self.heads},
            "term_names": names,
            "terms": _ints([(n, code[name]) for n, name, _ in self._terms], 2),
            "values": torch.tensor([v for _, _, v in self._terms], dtype=torch.float64),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self._tables = {"": _Table()}
        for head, table in {"": state, **state.get("heads", {})}.items():
            self._table(head).load_state_dict(table, head)
        names = state["term_names"]
        self._terms = [(n, names[c], v) for (n, c), v in zip(state["terms"].tolist(), state["values"].tolist(), strict=True)]
        self._pending = []

    def _table(self, head: str) -> _Table:
        return self._tables.setdefault(head, _Table())


def _ints(rows: Iterable[tuple[int, ...]], width: int) -> Tensor:
    table: Ids = np.asarray(list(rows), dtype=np.int64).reshape(-1, width)
    return torch.from_numpy(table)


def _stacked(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame | None:
    import pandas as pd

    return pd.concat([table.assign(head=head) for head, table in tables.items()], ignore_index=True) if tables else None
