"""A coreset: ids with weights, what they say of the mean loss, and where all of it came from."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from clframe.errors import DataError, RunError
from clframe.selection.choice import Choice
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.engine_folder import discard
from clframe.selection.estimate import Estimate, effective

if TYPE_CHECKING:
    import pandas as pd

TABLE, MANIFEST = "coreset.parquet", "manifest.json"
FORMAT = 1
NUMBERS = ("row", "weight", "probability", "count", "stratum", "score")


@final
@dataclass(frozen=True)
class Coreset:
    """Chosen samples of a pool, by id. The data itself is where it was.

    Attributes:
        ids: of the chosen samples (m,).
        choice: their rows, weights, probabilities, strata and scores.
        manifest: how they were chosen, from what, and what was found: see `docs/selection.md`.
        work: the folder with the finished work that it was made from, which is removed when it is saved.

    Example:
        >>> from clframe.selection import pool_of, select
        >>> coreset = select(pool_of(np.zeros((10, 2))), size=4, method="uniform")
        >>> len(coreset), coreset.weights.tolist(), coreset.manifest["method"]
        (4, [2.5, 2.5, 2.5, 2.5], 'uniform')
    """

    ids: npt.NDArray[Any]
    choice: Choice
    manifest: Mapping[str, Any] = field(repr=False)
    work: Path | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> Rows:
        """The row of each in the pool (m,)."""
        return self.choice.rows

    @property
    def weights(self) -> Numbers:
        """How many samples of the pool each stands for (m,)."""
        return self.choice.weight

    @property
    def mean_loss(self) -> Estimate | None:
        """The mean loss over the pool, with its 95 % interval; None without losses, or where the choice is not random."""
        return self.choice.estimate

    def training_weights(self) -> Numbers:
        """w_i m / n, of mean 1 in expectation, so that a learning rate keeps its meaning (m,).

        The constant is no sum of the weights, which would make what is unbiased biased. Use them in the loss, or draw batches in
        proportion to them with equal weights; never both.

        Example:
            >>> from clframe.selection import pool_of, select
            >>> select(pool_of(np.zeros((10, 2))), size=4, method="uniform").training_weights().tolist()
            [1.0, 1.0, 1.0, 1.0]
        """
        found: Numbers = self.weights * (len(self.weights) / self.manifest["pool"]["rows"])
        return found

    def table(self) -> pd.DataFrame:
        """One row for each chosen sample: id, row, weight, probability, count, stratum, score."""
        import pandas as pd

        c = self.choice
        columns = {"id": self.ids, "row": c.rows, "weight": c.weight, "probability": c.expected}
        return pd.DataFrame({**columns, "count": c.count, "stratum": c.stratum, "score": c.score})

    def _repr_html_(self) -> str:
        """For notebooks: what was chosen, what it says of the mean loss, and the first samples."""
        from html import escape

        m, found = self.manifest, self.mean_loss
        lines = [f"{len(self):,} of {m['pool']['rows']:,} samples, chosen with <code>{escape(str(m['method']))}</code>"]
        lines += [f"effective size {m['effective_size']:,.1f}"] if "effective_size" in m else []
        lines += [] if found is None else [f"mean loss {found.mean:.4g}, 95 % interval {found.low:.4g} to {found.high:.4g}"]
        return f"<p>{'; '.join(lines)}</p>{self.table().to_html(max_rows=10, index=False)}"

    def save(self, folder: str | Path) -> Path:
        """Write coreset.parquet and manifest.json into a folder, whole or not at all.

        Raises:
            RunError: the folder holds another coreset, or cannot be written.
        """
        place = Path(folder)
        if (place / MANIFEST).exists():
            found = json.loads((place / MANIFEST).read_text()).get("key")
            if found != self.manifest.get("key"):
                raise RunError(
                    f"{place} holds another coreset, {found}; this one is {self.manifest.get('key')}. Give another --out."
                )
            self._clear()
            return place
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}-") as made:
                self.table().to_parquet(Path(made) / TABLE, index=False)
                (Path(made) / MANIFEST).write_text(json.dumps(self.manifest, indent=1, ensure_ascii=False, default=_plain) + "\n")
                place.mkdir(exist_ok=True)
                for name in (TABLE, MANIFEST):  # the manifest last: a folder with a manifest is whole
                    os.replace(Path(made) / name, place / name)
        except OSError as error:
            raise RunError(f"{place} must be a folder that can be written; got {error}. Give another --out.") from error
        self._clear()
        return place

    def _clear(self) -> None:
        if self.work is not None:
            discard(self.work)


def load(folder: str | Path) -> Coreset:
    """A coreset that was saved.

    Raises:
        DataError: no coreset is there, or its files do not belong together.
    """
    import pandas as pd

    place = Path(folder)
    try:
        manifest = json.loads((place / MANIFEST).read_text())
        table = pd.read_parquet(place / TABLE)
    except (OSError, ValueError) as error:
        raise DataError(f"{place} must hold {TABLE} and {MANIFEST}; got {error}. Give the folder that --out named.") from error
    if len(table) != manifest["rows"]:
        raise DataError(f"{place}: {TABLE} must have {manifest['rows']:,} rows; got {len(table):,}. Make the coreset again.")
    found = manifest.get("mean_loss")
    estimate = None if found is None else Estimate(found["mean"], _or_infinite(found["error"]), _or_infinite(found["freedom"]))
    row, weight, probability, count, stratum, score = (table[name].to_numpy() for name in NUMBERS)
    choice = Choice(row, weight, probability, count, stratum, score, estimate, manifest["facts"])
    return Coreset(table["id"].to_numpy(), choice, manifest)


def certificate(choice: Choice) -> dict[str, Any]:
    """What a choice says of the mean loss and of itself, for the manifest.

    Keys: mean_loss (mean, error, low, high, freedom), effective_size (Kish), largest_weight over the mean one.

    Example:
        >>> ones = np.ones(2, dtype=np.int64)
        >>> choice = Choice(np.arange(2), np.array([1.0, 3.0]), np.ones(2), ones, ones, np.ones(2), Estimate(2.0, 0.5, np.inf))
        >>> found = certificate(choice)
        >>> found["effective_size"], found["largest_weight"], found["mean_loss"]["freedom"]
        (1.6, 1.5, None)
    """
    weight = choice.weight
    found: dict[str, Any] = {
        "effective_size": round(effective(weight, np.ones(len(weight), dtype=np.int64)), 6),
        "largest_weight": round(float(weight.max() * len(weight) / weight.sum()), 6),
    }
    e = choice.estimate
    if e is not None:
        freedom = e.freedom if np.isfinite(e.freedom) else None
        low, high, error = (value if np.isfinite(value) else None for value in (e.low, e.high, e.error))
        found["mean_loss"] = {"mean": e.mean, "low": low, "high": high, "error": error, "freedom": freedom}
    return found


def _or_infinite(value: float | None) -> float:
    return np.inf if value is None else value


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} in a manifest")
