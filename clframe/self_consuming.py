"""A stream in which a model's own outputs become the next experience's data.

It stands above the scenarios and above the generations of synthetic data, neither of which knows the other.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch

from clframe.checkpoint import disk_error
from clframe.data import Dataset, TensorSource
from clframe.data.hashing import spaced
from clframe.errors import DataError, bad_option
from clframe.generations.generators import Columns
from clframe.generations.ledger import Ledger
from clframe.generations.loop import Run
from clframe.generations.sources import Real
from clframe.scenarios import Stream
from clframe.scenarios.build import dataset, held_out
from clframe.scenarios.joined import Joined
from clframe.seeding import rng
from clframe.types import Ids, Reveals, Source

HELD_OUT = 1000
"""Test samples at most that the loop measures its models on; nothing is chosen by them."""


def self_consuming(
    data: Dataset | str = "digits",
    *,
    generator: str = "vae(conditional=true)",
    policy: str = "accumulate",
    generations: int = 5,
    rows: int = 0,
    samples: int = 0,
    out: str | Path | None = None,
    validation: float = 0.0,
    seed: int = 0,
    name: str = "self-consuming",
) -> Stream:
    """Experience 0 is real data; experience t is what generator t made, which was fitted to what the policy chose of all before it.

        E_0 = real samples,   E_t ~ generator fitted to policy(E_0, ..., E_{t-1}),   t = 1, ..., generations

    Every experience is tested on the whole real test set. It is the loop of `clframe.generations`, with the same policies and
    generators. The label of a generated sample is the one that a conditional generator was told; for a generator that makes none,
    that of the nearest real sample of experience 0. The generators are fitted when the stream is built, on one thread of the CPU:
    it is a function of data, options and seed on one kind of machine.

    Args:
        data: the real data: a data set or the name of one.
        generator: a generator of `clframe.generations`, in words. Images are given to it as whole numbers from 0 to 255.
        policy: what the next generator is fitted to, in words.
        generations: generators, one after another; there is one experience more.
        rows: real samples, drawn by the seed; 0 for all.
        samples: that each generator makes; 0 for as many as there are real ones.
        out: a folder in which the loops are kept, each under a hash of what it is, with the pool and what was measured: a stream
            that was built before is read from there. By default nothing is kept.
        validation: share of the real samples held out; neither trained on nor shown to a generator.
        seed: root of all random numbers.
        name: name in reports.

    Raises:
        OptionError: an unknown generator or policy, a policy that collapses and is not allowed to, a number out of range.
        DataError: data that the generator cannot learn.

    Example:
        >>> stream = self_consuming("digits", generator="gaussian", generations=2, rows=200)
        >>> [len(ids) for ids in stream.segments], len(stream.experiences[2].test)
        ([200, 200, 200], 359)

    Reference: the loop: Alemohammad et al., "Self-consuming generative models go MAD", ICLR 2024; Gerstgrasser et al., "Is model
        collapse inevitable?", COLM 2024. As a stream for a classifier it is this project's own.
    """
    data = dataset(data)
    for option, value, least in (("generations", generations, 1), ("rows", rows, 0), ("samples", samples, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise bad_option(option, f"a whole number from {least}", value, f"Give {option}={max(least, 5)}.")
    (real,), held = held_out([np.arange(len(data.train))], data.train.y, validation, seed)
    if rows > len(real):
        raise bad_option("rows", f"at most the {len(real):,} real training samples", rows, "Give fewer.")
    real = np.sort(rng(seed, "self-consuming").choice(real, rows, replace=False)) if rows else real
    values = _Values.of(data.train, real)
    tested = spaced(len(data.test), HELD_OUT)
    given = Real(values.columns(data.train, real), values.columns(data.test, tested))
    run = Run(data.name, generator, policy, generations, seed, rows=rows, samples=samples)
    with _one_thread():
        made = _made(run, given, None if out is None else Path(out))
    x = np.concatenate([values.inputs(one["x"]) for one in made])
    y = np.concatenate([_labels(one, given.train) for one in made])
    source = TensorSource(x, y, name=f"generated {data.name}", class_names=data.train.class_names)
    starts = len(data.train) + np.cumsum([0, *(len(one["x"]) for one in made)])
    segments = [real, *(np.arange(a, b) for a, b in pairwise(starts.tolist()))]
    tests = [np.arange(len(data.test))] * len(segments)
    whole = replace(data, train=Joined([data.train, source]))
    return Stream(name, whole, segments, tests, Reveals(), validation=held * len(segments), seed=seed)


self_consuming.known_failures = {  # type: ignore[attr-defined]
    "building reads no data": "the generators are fitted to the data when the stream is built",
}


@final
@dataclass(frozen=True)
class _Values:
    """Between inputs and what generators learn: images (n, h, w) or (n, h, w, 3) of whole numbers from 0 to 255; others as is.

    Attributes:
        low, high: of each channel in the real samples, black and white (C, 1, 1); None for what is no image.
    """

    low: npt.NDArray[np.float32] | None
    high: npt.NDArray[np.float32] | None

    @classmethod
    def of(cls, source: Source, ids: Ids) -> _Values:
        """Those of some evenly spaced samples; real ones beyond are cut off."""
        if len(source.input_shape) != 3 or source.input_shape[0] not in (1, 3):
            return cls(None, None)
        x = _fetched(source, ids[spaced(len(ids), 2000)])
        low, high = x.min(axis=(0, 2, 3))[:, None, None], x.max(axis=(0, 2, 3))[:, None, None]
        if (low == high).any():
            raise DataError(f"{source.name}: images must vary in every channel; got one value, {low.min():g}. Take other data.")
        return cls(low, high)

    def columns(self, source: Source, ids: Ids) -> Columns:
        """What generators learn, with the labels."""
        x = _fetched(source, ids)
        if self.low is not None and self.high is not None:
            x = (np.clip((x - self.low) / (self.high - self.low), 0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
            x = x[..., 0] if x.shape[3] == 1 else x
        return {"x": x, "label": np.asarray(source.y)[ids]}

    def inputs(self, made: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Inputs of what was made (n, ...), float32."""
        x = made.astype(np.float32)
        if self.low is None or self.high is None:
            return x
        x = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)
        found: npt.NDArray[np.float32] = (self.low + x / 255 * (self.high - self.low)).astype(np.float32)
        return found


def _fetched(source: Source, ids: Ids) -> npt.NDArray[Any]:
    return source.fetch(torch.from_numpy(ids)).cpu().numpy()


def _labels(made: Columns, real: Columns) -> npt.NDArray[np.int64]:
    """The labels that were made, or those of the nearest real samples (n,)."""
    if "label" in made:
        return made["label"].astype(np.int64)
    from sklearn.neighbors import KNeighborsClassifier

    flat = [one["x"].reshape(len(one["x"]), -1).astype(np.float32) for one in (real, made)]
    found: npt.NDArray[np.int64] = KNeighborsClassifier(n_neighbors=1).fit(flat[0], real["label"]).predict(flat[1])
    return found


def _made(run: Run, real: Real, out: Path | None) -> list[Columns]:
    """What each generator made, in order; from the folder where it is there."""
    if out is None:
        with TemporaryDirectory() as place:
            return _read(replace(run, out=place), real)
    kept = out / f"{run.key}-{real.fingerprint()[:12]}-{run.generations}"
    if not kept.exists():
        try:
            out.mkdir(parents=True, exist_ok=True)
            working = Path(mkdtemp(prefix=".making-", dir=out))
        except OSError as error:
            raise disk_error(out, error) from error
        try:
            _read(replace(run, out=str(working)), real)
            if not kept.exists():  # another process may have been faster, with the same
                os.replace(working, kept)
        finally:
            shutil.rmtree(working, ignore_errors=True)
    return _read(replace(run, out=str(kept)), real)


def _read(run: Run, real: Real) -> list[Columns]:
    """Make the generations that are not there, and read all."""
    run.on(real)
    pool = Ledger(run.pool)
    return [pool.read(record.id) for record in pool.records() if record.kind == "synthetic"]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums come out the same whatever the number of threads outside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
