"""One run of the loop on real data: a generator under a policy with a seed; losses, alarms and samples of every generation."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from clframe.errors import DataError
from clframe.generations.alarms import Thresholds, check
from clframe.generations.alarms.from_pool import gather
from clframe.generations.ledger import Ledger
from clframe.generations.loop import Run
from clframe.generations.sources import source
from papers.measured import Steps

TEXTS = ("tinyshakespeare.txt", "text_tinyshakespeare.txt.gz")
LIMITS = Thresholds(exchanges=239, mauve=None, vendi_ratio=None, near_copies=None)
"""Eleven alarms at most, at level 0.05."""
HARD = 0.1
"""Share of the held-out rows that counts as hard: those with the largest loss under the first model."""
SHOWN = 12
"""Samples of each generation that are kept to be looked at."""


def measure(
    tell: Steps,
    data_dir: str | None,
    *,
    data: str,
    generator: str,
    policy: str,
    seed: int,
    rows: int,
    heldout: int,
    generations: int,
) -> dict[str, Any]:
    """A `Run` of clframe in a directory of its own, which is not kept.

    Args:
        data: "shakespeare", pieces of some 220 letters, or a data set of clframe.
        generator, policy, seed, rows, heldout, generations: of the run.

    Returns:
        By generation: loss, mean over the held-out real rows; hard, over the tenth of these that the first model predicts worst;
        variance of the samples over that of held-out rows; rows trained on; real_share of the weight; alarms, a list by name;
        rings, names of those that ring; samples, the first of them, and before all some real rows.
    """
    with TemporaryDirectory() as folder:
        words = _shakespeare(data_dir) if data == "shakespeare" else data
        run = Run(words, generator, policy, generations, seed, rows, heldout, data_dir=data_dir, out=folder)

        def asked(done: int, whole: int) -> bool:
            tell(done, whole)
            return False

        found = run(asked)
        outside = source(words)(rows, heldout, seed, data_dir).heldout
        hard = np.argsort(-found[0].loss, kind="stable")[: max(1, round(HARD * len(found[0].loss)))]
        told: dict[str, Any] = {
            "loss": [float(g.loss.mean()) for g in found],
            "hard": [float(g.loss[hard].mean()) for g in found],
            "variance": [None if np.isnan(g.variance) else g.variance for g in found],
            "rows": [g.rows for g in found],
            "real_share": [g.real_share for g in found],
        }
        pool = Ledger(run.pool)
        return told | _alarms(pool, generations, outside) | {"samples": [_first(pool, n) for n in range(generations + 1)]}


def _shakespeare(data_dir: str | None) -> str:
    places = [Path(data_dir or ".") / name for name in TEXTS]
    there = next((place for place in places if place.exists()), None)
    if there is None:
        raise DataError(f"the folder of data must hold {' or '.join(TEXTS)}; got {data_dir!r}. Give another --data-dir.")
    return f"text(path={there},letters=200)"


def _alarms(pool: Ledger, generations: int, outside: Any) -> dict[str, Any]:
    checked = [check(gather(pool, n, outside), LIMITS).alarms for n in range(1, generations + 1)]
    names = sorted({alarm.name for alarms in checked for alarm in alarms})
    values = [{alarm.name: alarm.value for alarm in alarms} for alarms in checked]
    return {
        "alarms": {name: [found.get(name) for found in values] for name in names},
        "rings": [[alarm.name for alarm in alarms if alarm.rings] for alarms in checked],
    }


def _first(pool: Ledger, generation: int) -> list[Any]:
    """Some samples of a generation, or real rows for 0: images as numbers, texts as they are."""
    record = next(r for r in pool.records() if r.generation == generation)
    columns = pool.read(record.id)
    shown: list[Any] = np.asarray(columns["text" if "text" in columns else "x"][:SHOWN]).tolist()
    return shown
