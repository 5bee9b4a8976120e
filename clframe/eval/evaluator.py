"""Measure a strategy on every experience's test set, without leaving a trace in its training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from clframe.errors import bad_option
from clframe.eval.plan import Plan
from clframe.eval.records import ClassRow, Row
from clframe.seeding import isolated, rng
from clframe.types import Experience, Ids, Reveals, Source, Step, Strategy

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

CACHE_BYTES = 1 << 30


class Testable(Protocol):
    """What the evaluator asks of a scenario."""

    @property
    def reveals(self) -> Reveals: ...

    @property
    def experiences(self) -> Sequence[Any]: ...


@dataclass(frozen=True)
class Probe:
    """Test samples of all experiences, one after the other, ready to be predicted.

    A sample that stands in several test sets is predicted once and counted in each, where no task label tells them apart.

    Attributes:
        source: where they lie.
        ids: their ids (n,), those of experience k at offsets[k]:offsets[k+1].
        offsets: (N+1,).
        task: task label of each (n,), or None where the test does not reveal it.
        device: where they are predicted.
    """

    source: Source
    ids: Ids
    offsets: Ids
    task: Tensor | None
    device: torch.device

    @cached_property
    def place(self) -> Ids | None:
        """Where each of the n samples stands among the distinct ones (in order of appearance); None where all are distinct."""
        distinct, first, inverse = np.unique(self.ids, return_index=True, return_inverse=True)
        if self.task is not None or len(distinct) == len(self.ids):
            return None
        rank = np.empty(len(distinct), dtype=np.int64)
        rank[np.argsort(first)] = np.arange(len(distinct))
        return rank[inverse]

    @cached_property
    def distinct(self) -> Ids:
        """Ids to predict, in order of appearance."""
        return self.ids if self.place is None else self.ids[np.unique(self.place, return_index=True)[1]]

    @cached_property
    def y(self) -> Tensor:
        """Labels of the distinct samples, on the device."""
        return torch.from_numpy(np.ascontiguousarray(self.source.y[self.distinct])).to(self.device)

    @cached_property
    def x(self) -> Tensor | None:
        """Inputs of the distinct samples, on the device, fetched once; None where they would take more than 1 GiB."""
        return self.source.fetch(torch.from_numpy(self.distinct)) if self.bytes <= CACHE_BYTES else None

    @property
    def bytes(self) -> int:
        """Memory of the inputs as float32."""
        return 4 * len(self.distinct) * int(np.prod(self.source.input_shape))

    def correct(self, strategy: Strategy, stop: int, chunk: int) -> npt.NDArray[np.bool_]:
        """Whether each of the first `stop` samples is predicted right. A row without any finite score is wrong."""
        if self.place is None:
            return self._predicted(strategy, stop, chunk)
        return self._predicted(strategy, int(self.place[:stop].max()) + 1, chunk)[self.place[:stop]]

    def _predicted(self, strategy: Strategy, stop: int, chunk: int) -> npt.NDArray[np.bool_]:
        found = []
        for low in range(0, stop, chunk):
            high = min(low + chunk, stop)
            x = self.source.fetch(torch.from_numpy(self.distinct[low:high])) if self.x is None else self.x[low:high]
            best = strategy.predict(x, None if self.task is None else self.task[low:high]).max(1)
            found.append((best.indices == self.y[low:high]) & (best.values > -torch.inf))
        return torch.cat(found).cpu().numpy()


class Evaluator:
    """Counts correct predictions, after the updates that the plan names and at every boundary.

    At n = 0 and at boundaries every experience is measured on its whole test set, those not yet trained included; in between,
    the experiences whose training has begun, on a subset drawn once per run, stratified by class, by its own generator.
    Where the subset is no smaller than every test set, there is one kind of row, "full".

    Args:
        scenario: the stream.
        plan: when, between boundaries.
        subset: samples an experience between boundaries; 0 for all of them.
        seed: root of the subset's draw; the same for all methods that are compared.
        device: where to predict.
        bits: keep the correctness of every sample, so that other metrics and intervals can be computed later.

    Attributes:
        samples: samples measured so far, for the budget.
        seconds: time spent measuring so far.
    """

    def __init__(
        self,
        scenario: Testable,
        plan: Plan,
        *,
        subset: int = 1000,
        seed: int = 0,
        device: torch.device | str = "cpu",
        bits: bool = False,
    ) -> None:
        if not isinstance(subset, int) or subset < 0:
            raise bad_option("subset", "zero (all test samples) or a positive integer", subset, "Give subset=1000.")
        self.plan, self.bits = plan, bits
        self.samples, self.seconds = 0, 0.0
        device = torch.device(device)
        self._chunk = 256 if device.type == "cpu" else 8192
        experiences: Sequence[Experience] = scenario.experiences
        tests = [np.asarray(e.test, dtype=np.int64) for e in experiences]
        source = experiences[0].test_source.to(device)  # type: ignore[attr-defined]
        tasks = [e.task for e in experiences] if scenario.reveals.task_test else None  # type: ignore[attr-defined]
        self.full = _probe(source, tests, tasks, device)
        chosen = [_stratified(source.y[ids], subset, rng(seed, "subset", k)) for k, ids in enumerate(tests)]
        self.positions = np.concatenate([p + start for p, start in zip(chosen, self.full.offsets[:-1], strict=True)])
        self.whole = len(self.positions) == len(self.full.ids)
        self.curve = self.full
        if not self.whole:
            self.curve = _probe(source, [ids[p] for ids, p in zip(tests, chosen, strict=True)], tasks, device)

    def due(self, step: Step) -> bool:
        """Whether to evaluate after this update; the last of an experience is left to the boundary."""
        return not step.last and self.plan.due(step)

    def __call__(self, strategy: Strategy, step: Step) -> list[Row]:
        """Measure the experiences whose training has begun, on the curve's samples."""
        start = time.perf_counter()
        count = step.experience + 1
        with isolated(*modules(strategy)):
            correct = self.curve.correct(strategy, int(self.curve.offsets[count]), self._chunk)
        return self._rows(correct, self.curve, count, step.n, step.experience, "full" if self.whole else "curve", start)

    def everything(self, strategy: Strategy, n: int, trained: int) -> tuple[list[Row], list[ClassRow]]:
        """Measure every experience on its whole test set, as at n = 0 (trained = -1) and at the end of experience `trained`."""
        start, count = time.perf_counter(), len(self.full.offsets) - 1
        with isolated(*modules(strategy)):
            correct = self.full.correct(strategy, len(self.full.ids), self._chunk)
        rows = self._rows(correct, self.full, count, n, trained, "full", start)
        if not self.whole:
            rows += self._rows(correct[self.positions], self.curve, count, n, trained, "curve", None)
        return rows, self._classes(correct, n)

    @property
    def bytes(self) -> int:
        """Memory that the cached test samples will take."""
        return sum(probe.bytes for probe in {id(p): p for p in (self.full, self.curve)}.values() if probe.bytes <= CACHE_BYTES)

    def chosen(self) -> pd.DataFrame:
        """The curve's samples: evaluated, id (in the test source)."""
        import pandas as pd

        experience = np.repeat(np.arange(len(self.curve.offsets) - 1), np.diff(self.curve.offsets))
        return pd.DataFrame({"evaluated": experience, "id": self.curve.ids})

    def state_dict(self) -> dict[str, Any]:
        """What the ledger counts."""
        return {"samples": self.samples, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.samples, self.seconds = state["samples"], state["seconds"]

    def _rows(
        self, correct: npt.NDArray[np.bool_], probe: Probe, count: int, n: int, trained: int, subset: str, start: float | None
    ) -> list[Row]:
        hits = np.add.reduceat(correct, probe.offsets[:count], dtype=np.int64)
        totals = np.diff(probe.offsets[: count + 1])
        seconds = 0.0
        if start is not None:
            seconds = time.perf_counter() - start
            self.seconds += seconds
            self.samples += len(correct)
        rows = []
        for k, (hit, total) in enumerate(zip(hits.tolist(), totals.tolist(), strict=True)):
            bits = b""
            if self.bits:
                bits = np.packbits(correct[probe.offsets[k] : probe.offsets[k + 1]]).tobytes()
            rows.append(Row(n, trained, k, hit, total, subset, seconds * total / len(correct), bits))
        return rows

    def _classes(self, correct: npt.NDArray[np.bool_], n: int) -> list[ClassRow]:
        width = int(self._labels.max()) + 1
        found = np.bincount(self._keys, weights=correct, minlength=(len(self.full.offsets) - 1) * width)
        seen = np.bincount(self._keys, minlength=len(found))
        return [ClassRow(n, int(c // width), int(c % width), int(found[c]), int(seen[c])) for c in np.flatnonzero(seen)]

    @cached_property
    def _labels(self) -> Ids:
        return np.asarray(self.full.source.y[self.full.ids], dtype=np.int64)

    @cached_property
    def _keys(self) -> Ids:
        experience = np.repeat(np.arange(len(self.full.offsets) - 1), np.diff(self.full.offsets))
        return experience * (int(self._labels.max()) + 1) + self._labels


def modules(strategy: Strategy) -> list[torch.nn.Module]:
    """The modules whose modes an evaluation sets and restores: every attribute of the strategy that is a module."""
    return [value for value in vars(strategy).values() if isinstance(value, torch.nn.Module)]


def _probe(source: Source, ids: Sequence[Ids], tasks: Sequence[int] | None, device: torch.device) -> Probe:
    offsets = np.cumsum([0, *(len(i) for i in ids)])
    task = None
    if tasks is not None:
        task = torch.from_numpy(np.repeat(np.asarray(tasks, dtype=np.int64), np.diff(offsets))).to(device)
    return Probe(source, np.concatenate(ids), offsets, task, device)


def _stratified(y: Ids, size: int, draw: np.random.Generator) -> Ids:
    """Positions (<= size,) of a random subset in which every class keeps its share, by largest remainders; ascending."""
    if size == 0 or size >= len(y):
        return np.arange(len(y))
    labels, counts = np.unique(y, return_counts=True)
    exact = counts * (size / len(y))
    quota = np.floor(exact).astype(np.int64)
    most = np.argsort(quota - exact, kind="stable")[: size - quota.sum()]
    quota[most] += 1
    chosen = [draw.permutation(np.flatnonzero(y == label))[:q] for label, q in zip(labels, quota, strict=True)]
    return np.sort(np.concatenate(chosen))
