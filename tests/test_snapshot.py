"""A snapshot keeps a moment, whatever comes after; the conformance suite holds every method to it."""

from __future__ import annotations

import pytest
import torch

from clframe import models, strategies
from clframe.scenarios import class_incremental
from clframe.snapshot import Snapshot
from clframe.testing.compare import difference


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_what_comes_after_leaves_the_snapshot_alone_and_restoring_does_too(optimizer: str) -> None:
    stream = class_incremental("digits", experiences=2).walked(batch_size=50)
    network = models.build("mlp", (1, 8, 8), 10)
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    made = strategies.build(
        "er(size=20)+lwf", strategies.Setup(network, lambda p: getattr(torch.optim, optimizer)(p, lr=0.01, **options))
    )
    first, second = stream.experiences

    def train(experience: object) -> None:
        made.begin(experience.train)  # type: ignore[attr-defined]
        for _, batch in experience.steps():  # type: ignore[attr-defined]
            made.observe(batch)
        made.end(experience.train)  # type: ignore[attr-defined]

    train(first)
    here = Snapshot.of(made)
    held = Snapshot.of(made)
    torch.rand(3)
    train(second)
    assert difference(here.state, made.state_dict()) is not None
    for _ in range(2):
        here.restore(made)
        assert difference(here.state, made.state_dict()) is None
        assert difference(here.state, held.state) is None
        drawn = torch.rand(3)
        here.restore(made)
        assert torch.equal(drawn, torch.rand(3))
        train(second)
    assert difference(here.state, held.state) is None
    assert here.bytes > 4 * sum(p.numel() for p in network.parameters())
