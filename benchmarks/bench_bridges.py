"""An Avalanche script measured after every update: by clframe's plugin, and by Avalanche's own `eval_every=1`.

Both sides are Avalanche's Naive on the same samples; what differs is who measures. Avalanche's set-up is that of
`bench_avalanche.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from benchmarks.bench_avalanche import BATCH, LAST, Make, Samples, classic, fastest, images, naive, same_accuracy, tensors
from benchmarks.measure import Row, alternate
from benchmarks.setting import Setting, twin

UPDATES = 4


def rows(setting: Setting) -> Iterator[Row]:
    """Samples of both forms, in both of Avalanche's data sets; and its default evaluation batch, which is 1."""
    if find_spec("avalanche") is None:
        yield Row("bridges: Avalanche", "", "not installed: pip install 'clframe[avalanche]'")
        return
    with warnings.catch_warnings():
        warnings.showwarning = lambda *_, **__: None  # its own deprecations, which it shows whatever the filters say
        for samples, form, floor in ((tensors, "tensors", 3), (images, "images, ToTensor, Normalize", 7)):
            yield measured(setting, f"{form}, by nc_benchmark", samples, classic, floor)
            yield measured(setting, f"{form}, its fastest data set", samples, fastest, None)
        yield measured(setting, "tensors, by nc_benchmark, its default evaluation batch", tensors, classic, None, eval_mb_size=1)


def measured(setting: Setting, what: str, samples: Samples, make: Make, floor: float | None, eval_mb_size: int = 256) -> Row:
    """One update and one evaluation of all test samples, again and again, in Avalanche's loop on both sides.

    Avalanche also evaluates before and after each call of `train`; its time is divided by its evaluations, not by its updates.
    The first measurement of the plugin reads every test sample through Avalanche's transforms; it is not timed.
    """
    from avalanche.evaluation.metrics import accuracy_metrics

    from clframe.bridges.avalanche import ContinualEvaluationPlugin

    stream, network = setting.stream(BATCH, experiences=5), setting.network()
    made = make(setting, samples, [ids[: UPDATES * BATCH] for ids in stream.segments], list(stream.tests))
    metrics = (accuracy_metrics(experience=True),)
    theirs = naive(twin(network), BATCH, metrics, eval_every=1, peval_mode="iteration")
    theirs.eval_mb_size = eval_mb_size
    plugin = ContinualEvaluationPlugin(made, subset=0)
    ours = naive(twin(network), BATCH, plugins=[plugin])
    found = theirs.eval(made.test_stream)

    def avalanche(n: int) -> None:
        theirs.train(made.train_stream[LAST], eval_streams=[made.test_stream])

    def bridge(n: int) -> None:
        ours.train(made.train_stream[LAST])

    bridge(UPDATES)
    same_accuracy(found, at_the_start(plugin))
    pair = alternate(bridge, avalanche, UPDATES, 9 if setting.full else 3, their_size=UPDATES + 2)
    return pair.at_least(f"bridges: plugin, update + evaluation of 10,000 samples; {what}", floor, "eval_every=1")


def at_the_start(plugin: Any) -> list[Any]:
    """The plugin's rows before the first update."""
    rows = plugin.result().rows
    return list(rows[rows.n == 0].sort_values("evaluated").itertuples())
