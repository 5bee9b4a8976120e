"""The loop: fit on what the policy chooses, measure on real data, sample, and put the samples into the pool."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from clframe.checkpoint import Interrupted, disk_error
from clframe.data.hashing import fingerprint
from clframe.errors import RunError
from clframe.executors import Tell
from clframe.generations.generators import Columns, Generator, generator
from clframe.generations.generators.interface import checked_scores, embedding, model_hash, rows_of
from clframe.generations.ledger import Ledger, Record
from clframe.generations.policies import Policy, Scores, Training, policy
from clframe.generations.sources import Real, source
from clframe.seeding import seed_for

FORMAT = 1


@final
@dataclass(frozen=True)
class Generation:
    """What was measured of one generation.

    Attributes:
        number: 1 for the first model, which trains on real data.
        loss: of each held-out real row under its model (m,).
        rows: rows that it trained on.
        real_share: share of the loss's weight that was on real rows.
        variance: trace of the covariance of its samples over that of the held-out rows; NaN for data without numbers.
        seconds: for fitting, measuring and sampling.
        model: hash of the fitted model.
    """

    number: int
    loss: npt.NDArray[np.float64]
    rows: int
    real_share: float
    variance: float
    seconds: float
    model: str


@final
@dataclass(frozen=True)
class Run:
    """One generator under one policy with one seed: a task for any executor.

    Args:
        data, generator, policy: in words.
        generations: how many models, one after another.
        seed: root of all random numbers.
        rows, heldout: of real data, to train and to measure on; 0 for all or the usual number.
        samples: rows that each model makes; 0 for as many as there are real ones.
        data_dir: folder of data sets.
        out: directory of the run: spec.json, the pool, and a file for each generation.

    Example:
        >>> from tempfile import mkdtemp
        >>> run = Run("normal(d=1)", "gaussian", "accumulate", generations=2, seed=0, rows=50, out=mkdtemp())
        >>> [(g.number, g.rows) for g in run(None)]
        [(1, 50), (2, 100)]
    """

    data: str
    generator: str
    policy: str
    generations: int
    seed: int
    rows: int = 0
    heldout: int = 0
    samples: int = 0
    data_dir: str | None = None
    out: str = ""

    @property
    def name(self) -> str:
        """For progress and messages."""
        return f"{self.generator}, {self.policy}, seed {self.seed}"

    @property
    def key(self) -> str:
        """A hash of what the run is, whatever its number of generations: more of them go on from those there are."""
        asked = {k: v for k, v in asdict(self).items() if k not in ("generations", "out", "data_dir")}
        return fingerprint("generations", FORMAT, json.dumps(asked, sort_keys=True))

    @property
    def pool(self) -> Path:
        """Where its pool is."""
        return Path(self.out) / "pool"

    def __call__(self, tell: Tell | None) -> list[Generation]:
        """Do what is not done yet; what was measured of all generations.

        Killed at any instant, the same call goes on from the last whole generation and ends with the same pool.

        Raises:
            RunError: the directory holds another run, or cannot be written.
            Interrupted: it was asked to stop, after a generation.
        """
        return self.on(source(self.data)(self.rows, self.heldout, self.seed, self.data_dir), tell)

    def on(self, real: Real, tell: Tell | None = None) -> list[Generation]:
        """The same, on real data that is at hand; `data` is then only a name for it."""
        made, choose = generator(self.generator), policy(self.policy)
        pool = self._opened(real)
        if hasattr(made, "prepare"):
            made.prepare(real.train)
        for number in range(self.finished(pool) + 1, self.generations + 1):
            self._generation(number, made, choose, real, pool)
            if tell is not None and tell(number, self.generations):
                raise Interrupted
        if tell is not None:
            tell(self.generations, self.generations)
        return self.measured(pool)

    def finished(self, pool: Ledger) -> int:
        """How many generations are in the pool."""
        return max((record.generation for record in pool.records()), default=0)

    def measured(self, pool: Ledger) -> list[Generation]:
        """What was measured of the generations that are in the pool, up to those asked for."""
        return [_read(self._file(number)) for number in range(1, min(self.finished(pool), self.generations) + 1)]

    def _opened(self, real: Real) -> Ledger:
        spec = {**asdict(self), "key": self.key, "real": real.fingerprint()}
        place = Path(self.out) / "spec.json"
        try:
            (Path(self.out) / "generations").mkdir(parents=True, exist_ok=True)
            if not place.exists():
                _write(place, json.dumps(spec, indent=1).encode())
        except OSError as error:
            raise disk_error(place, error) from error
        found = json.loads(place.read_text())
        if (found["key"], found["real"]) != (spec["key"], spec["real"]):
            what = "other real data" if found["key"] == spec["key"] else f"another run, {found['generator']}, {found['policy']}"
            raise RunError(f"{self.out} must be empty or hold this run; it holds one on {what}. Give another --out.")
        pool = Ledger(self.pool)
        if not pool.records():
            pool.append(real.train, kind="real", generation=0)
        return pool

    def _generation(self, number: int, made: Generator, choose: Policy, real: Real, pool: Ledger) -> None:
        """One turn. The file is written before the pool's line, and the line makes the generation count."""
        begun = time.monotonic()
        records = pool.records()
        scores = _read_scores(self._file(number - 1)) if choose.needs_scores and number > 1 else None
        chosen = choose(records, seed_for(self.seed, "policy", number), scores)
        data = _taken(pool, chosen, real)
        made.fit(data, chosen.weight, seed_for(self.seed, "fit", number))
        loss = checked_scores(made, real.heldout)
        drawn = seed_for(self.seed, "sample", number)
        new = {name: np.asarray(v) for name, v in made.sample(self.samples or rows_of(real.train), drawn).items()}
        rows_of(new)
        measured = {
            "number": number,
            "rows": len(chosen),
            "real_share": _real_share(records, chosen),
            "variance": variance_ratio(new, real.heldout),
            "model": model_hash(made),
        }
        arrays = {"loss": loss, **(_scored(made, pool, real, new) if choose.needs_scores else {})}
        _save(self._file(number), measured | {"seconds": time.monotonic() - begun}, arrays)
        pool.append(
            new,
            kind="synthetic",
            generation=number,
            parents=chosen.ids,
            model={"generator": self.generator, "policy": self.policy, "hash": measured["model"]},
            sampler={"seed": drawn},
            losses={"heldout": [round(float(v), 6) for v in loss]},
        )

    def _file(self, number: int) -> Path:
        return Path(self.out) / "generations" / f"{number:03d}.npz"


def variance_ratio(new: Columns, real: Columns) -> float:
    """tr Cov(new) / tr Cov(real) over the columns of numbers, without labels.

    NaN where there are none, where real rows do not vary, and for regression ("y"), whose inputs are given and not made.

    Example:
        >>> variance_ratio({"x": np.array([0.0, 1.0])}, {"x": np.array([0.0, 2.0])})
        0.25
    """
    names = [k for k, v in real.items() if v.dtype.kind in "iufb" and k != "label" and "y" not in real]
    below = sum(_trace(real[k]) for k in names)
    return sum(_trace(new[k]) for k in names) / below if below else float("nan")


def _trace(values: npt.NDArray[Any]) -> float:
    flat = values.reshape(len(values), -1).astype(np.float64)
    return float(flat.var(axis=0, ddof=1).sum()) if len(flat) > 1 else 0.0


def _real_share(records: Sequence[Record], chosen: Training) -> float:
    kind = {record.id: record.kind for record in records}
    real = sum(float(part.weight.sum()) for part in chosen.parts if kind[part.id] == "real")
    return real / float(chosen.weight.sum())


def _taken(pool: Ledger, chosen: Training, real: Real) -> Columns:
    """The rows of the choice, part after part, in the columns that all of them have."""
    parts = [(pool.read(part.id), part.rows) for part in chosen.parts]
    names = [name for name in real.train if all(name in columns for columns, _ in parts)]
    return {name: np.concatenate([columns[name][rows] for columns, rows in parts]) for name in names}


def _scored(made: Generator, pool: Ledger, real: Real, new: Columns) -> dict[str, npt.NDArray[Any]]:
    """Embedding and loss of every row that the next policy chooses from: of those in the pool, then of the new ones."""
    every = [*(pool.read(record.id) for record in pool.records()), new]
    return {
        "embeddings": np.concatenate([embedding(made, one) for one in every]),
        "losses": np.concatenate([checked_scores(made, one) for one in every]),
    }


def _save(path: Path, measured: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, measured=np.array(json.dumps(dict(measured))), **arrays)  # type: ignore[arg-type]
    _write(path, buffer.getvalue())


def _write(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(path, error) from error


def _read(path: Path) -> Generation:
    with np.load(path) as file:
        return Generation(loss=file["loss"], **json.loads(str(file["measured"])))


def _read_scores(path: Path) -> Scores:
    with np.load(path) as file:
        return Scores(file["embeddings"], file["losses"])
