"""Building and walking a stream: 1,000 experiences of 50,000 samples in memory, ids only."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from clframe.data import Dataset, from_arrays
from clframe.scenarios import Stream, data_incremental

SAMPLES = 50_000
FLOOR_SECONDS = 0.02
FLOOR_GROWTH = 10.0


def rows() -> list[dict[str, object]]:
    """One row a measurement: what, measured seconds, reference, ratio, floor (of the seconds, or of the ratio)."""
    data = _data()
    hundred, thousand = (_best(partial(_build_and_walk, data, k)) for k in (100, 1000))
    lean = _best(_lean)
    seek = _best(lambda: list(_stream(data, 1000).experiences[999].walk()))
    return [
        _row("build and walk 1,000 experiences, ids only", thousand, lean, "np.split and a permutation each", FLOOR_SECONDS),
        _row("the same, against 100 experiences (linear: 10x)", thousand, hundred, "100 experiences", FLOOR_GROWTH),
        _row("build 1,000 experiences and seek to the last", seek, lean, "np.split and a permutation each", FLOOR_SECONDS),
    ]


def _row(what: str, seconds: float, reference: float, against: str, floor: float) -> dict[str, object]:
    return {
        "what": what,
        "measured": seconds,
        "reference": reference,
        "against": against,
        "ratio": seconds / reference,
        "floor": floor,
        "met": (seconds if floor == FLOOR_SECONDS else seconds / reference) <= floor,
    }


def _data() -> Dataset:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 100, SAMPLES)
    x = np.zeros((SAMPLES, 8), dtype=np.float32)
    return from_arrays(x, y, x[:10_000], np.arange(10_000) % 100, class_names=[str(c) for c in range(100)])


def _stream(data: Dataset, experiences: int) -> Stream:
    return data_incremental(data, experiences=experiences).walked(batch_size=10)


def _build_and_walk(data: Dataset, experiences: int) -> int:
    """Ids of every experience in their order, as a walk delivers them."""
    stream = _stream(data, experiences)
    return sum(len(stream.order.ids(stream.segments, k, 0, 1, stream.seed)) for k in range(len(stream))) + stream.starts[-1]


def _lean() -> int:
    rng = np.random.default_rng(0)
    return sum(len(rng.permutation(ids)) for ids in np.split(rng.permutation(SAMPLES), range(50, SAMPLES, 50)))


def _best(work: Callable[[], object], repeats: int = 7) -> float:
    """CPU seconds of the fastest of some repeats."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


if __name__ == "__main__":
    for row in rows():
        print(", ".join(f"{k}: {v:.4g}" if isinstance(v, float) else f"{k}: {v}" for k, v in row.items()))
