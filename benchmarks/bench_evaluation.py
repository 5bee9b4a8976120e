"""One evaluation of everything seen against the bare forward passes over the same cached tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.bench_iteration import learner_of
from benchmarks.measure import Advance, Row, alternate, cpu
from benchmarks.setting import Setting, twin
from clframe.eval.evaluator import Evaluator
from clframe.eval.plan import Every
from clframe.types import Step

CHUNKS = (64, 128, 256, 512, 1000, 10_000)


def rows(setting: Setting) -> Iterator[Row]:
    """All 10,000 test samples, five experiences, exact."""
    stream, network = setting.stream(10, experiences=5), setting.network()
    plain, learner = twin(network), learner_of(network)
    evaluator = Evaluator(stream, Every(1), subset=0)
    step = Step(n=1, experience=4, epoch=0, iteration=0, since=1, last=False)
    x = setting.data.test.fetch(torch.from_numpy(evaluator.full.ids)).flatten(1)
    y = torch.from_numpy(setting.data.test.y)[evaluator.full.ids]
    per_experience = [len(test) for test in stream.tests]

    if [row.correct for row in evaluator(learner, step)] != bare(plain, x, y, per_experience, 256):
        raise RuntimeError("evaluation: both sides must count the same correct predictions.")
    chunk = min(CHUNKS, key=lambda size: min(cpu(lambda: bare(plain, x, y, per_experience, size)) for _ in range(3)))
    ours = repeat(lambda: evaluator(learner, step))
    theirs = repeat(lambda: bare(plain, x, y, per_experience, chunk))
    pair = alternate(ours, theirs, 1, 41 if setting.full else 15)
    yield pair.at_most(f"one evaluation, {len(y):,} samples, 5 experiences", 1.05, f"bare forward, chunks of {chunk},")


def bare(model: nn.Module, x: Tensor, y: Tensor, sizes: list[int], chunk: int) -> list[int]:
    """Correct predictions of each experience."""
    with torch.inference_mode():
        hits = torch.cat([model(part).argmax(1) for part in x.split(chunk)]) == y
        return [int(part.sum()) for part in hits.split(sizes)]


def repeat(work: Callable[[], object]) -> Advance:
    """Do it n times."""

    def advance(n: int) -> None:
        for _ in range(n):
            work()

    return advance
