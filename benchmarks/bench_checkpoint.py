"""What keeping a run safe costs: the size of a checkpoint, the time of a save, and its share of a run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks.bench_iteration import learner_of
from benchmarks.measure import Row, cpu, quartiles, seconds
from benchmarks.setting import Setting
from clframe.checkpoint import Checkpoint
from clframe.eval.evaluator import Evaluator
from clframe.eval.plan import Every
from clframe.eval.records import Records
from clframe.eval.records import Row as Measured
from clframe.strategies import Replay
from clframe.types import Stateful

EVERY_SECONDS = 30.0
"""The default time between two saves."""


def rows(setting: Setting) -> Iterator[Row]:
    """ER with 500 samples, at the start of a run and after 30,000 evaluated updates on five experiences."""
    stream, network = setting.stream(10, experiences=5), setting.network()
    learner = learner_of(network, Replay(size=500))
    learner.begin(stream.experiences[0].train)
    for measured in (0, 30_000):
        records = Records("benchmark", 0)
        for step, batch in islice(stream.experiences[0].steps(), 100):
            records.train(step, learner.observe(batch))
        records.eval(Measured(n, 4, k, 900, 1000, "curve", 0.01) for n in range(measured) for k in range(5))
        members: dict[str, Stateful] = {"strategy": learner, "records": records, "evaluator": Evaluator(stream, Every(1))}
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Checkpoint(Path(folder) / "checkpoint.pt", "", members)
            start = time.perf_counter()
            times = [cpu(partial(checkpoint.save, step)) for _ in range(15 if setting.full else 7)]
            wall = (time.perf_counter() - start) / len(times)
            size = (Path(folder) / "checkpoint.pt").stat().st_size
        low, middle, high = quartiles(times)
        yield Row(
            f"checkpoint of ER after {5 * measured:,} measured rows: {size / 1e6:.1f} MB",
            f"{seconds(middle)} of CPU a save ({seconds(low)} to {seconds(high)}), {seconds(wall)} by the clock",
            f"a save every {EVERY_SECONDS:g} s: {wall / EVERY_SECONDS:.2%} of a run",
        )
