"""`steps` fetches several batches at once; what it yields is what `batch` gives for each."""

from __future__ import annotations

import pytest
import torch

from clframe.scenarios import class_incremental, permuted, task_incremental


@pytest.mark.parametrize("kind", [class_incremental, task_incremental, permuted])
@pytest.mark.parametrize("batch_size", [7, 64])
def test_steps_yield_what_batch_gives(kind: object, batch_size: int) -> None:
    stream = kind("digits", experiences=3).walked(batch_size=batch_size, epochs=2)  # type: ignore[operator]
    for experience in stream.experiences:
        for (step, batch), (walked, index) in zip(experience.steps(), experience.walk(), strict=True):
            alone = stream.batch(index)
            assert step == walked
            assert torch.equal(batch.index, index)
            assert torch.equal(batch.x, alone.x)
            assert torch.equal(batch.y, alone.y)
            assert (batch.task is None) == (alone.task is None)
            assert batch.task is None or (alone.task is not None and torch.equal(batch.task, alone.task))
