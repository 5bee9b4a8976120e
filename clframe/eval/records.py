"""The record table: what was measured, one immutable row a measurement. Every metric is a pure function of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from clframe.errors import RunError

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
    """

    n: int
    trained: int
    evaluated: int
    correct: int
    total: int
    subset: str
    seconds: float
    bits: bytes = b""


class ClassRow(NamedTuple):
    """Correct and total of one class in one experience's whole test set, at n = 0 and at boundaries."""

    n: int
    evaluated: int
    label: int
    correct: int
    total: int


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
        self._rows: list[Row] = []
        self._classes: list[ClassRow] = []
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
        """Append measurements."""
        self._rows.extend(rows)
        self._classes.extend(classes)

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
                    raise RunError(
                        f"loss term {name!r} must be finite; got {value} at update {n}. "
                        "Lower the learning rate (lr) or the strength of that term; the last checkpoint is intact."
                    )
                self._terms.append((n, name, value))

    def rows(self) -> pd.DataFrame:
        """The record table: run, seed, n, trained, evaluated, correct, total, subset, seconds, bits."""
        import pandas as pd

        frame = pd.DataFrame(self._rows, columns=list(Row._fields)).astype(
            {"n": "int64", "trained": "int64", "evaluated": "int64", "correct": "int64", "total": "int64", "seconds": "float64"}
        )
        frame.insert(0, "run", self.run)
        frame.insert(1, "seed", self.seed)
        return frame

    def classes(self) -> pd.DataFrame:
        """Per-class counts at n = 0 and at boundaries: n, evaluated, label, correct, total."""
        import pandas as pd

        return pd.DataFrame(self._classes, columns=list(ClassRow._fields)).astype("int64")

    def terms(self) -> pd.DataFrame:
        """Loss terms of every update: n, term, value."""
        import pandas as pd

        self.flush()
        return pd.DataFrame(self._terms, columns=["n", "term", "value"]).astype({"n": "int64", "value": "float64"})

    def state_dict(self) -> dict[str, Any]:
        """Everything collected, as tensors and lists of strings."""
        self.flush()
        names = sorted({t[1] for t in self._terms})
        code = {name: i for i, name in enumerate(names)}
        return {
            "rows": _ints([(*r[:5], SUBSETS.index(r.subset), len(r.bits)) for r in self._rows], 7),
            "seconds": torch.tensor([r.seconds for r in self._rows], dtype=torch.float64),
            "bits": torch.from_numpy(np.frombuffer(b"".join(r.bits for r in self._rows), dtype=np.uint8).copy()),
            "classes": _ints(self._classes, 5),
            "term_names": names,
            "terms": _ints([(n, code[name]) for n, name, _ in self._terms], 2),
            "values": torch.tensor([v for _, _, v in self._terms], dtype=torch.float64),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        bits, start = state["bits"].numpy().tobytes(), 0
        self._rows = []
        for counts, seconds in zip(state["rows"].tolist(), state["seconds"].tolist(), strict=True):
            n, trained, evaluated, correct, total, subset, length = counts
            row = Row(n, trained, evaluated, correct, total, SUBSETS[subset], seconds, bits[start : start + length])
            self._rows.append(row)
            start += length
        self._classes = [ClassRow(*r) for r in state["classes"].tolist()]
        names = state["term_names"]
        self._terms = [(n, names[c], v) for (n, c), v in zip(state["terms"].tolist(), state["values"].tolist(), strict=True)]
        self._pending = []


def _ints(rows: Iterable[tuple[int, ...]], width: int) -> Tensor:
    table: Ids = np.asarray(list(rows), dtype=np.int64).reshape(-1, width)
    return torch.from_numpy(table)
