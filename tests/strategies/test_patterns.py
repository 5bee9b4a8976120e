"""Masks in patterns: as many in each row, two of every four; reservations and what is left hold through every exchange."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from clframe import pieces
from clframe.errors import OptionError
from clframe.scenarios.catalog import build as build_stream
from clframe.strategies import Setup, build
from clframe.strategies.sparse.pattern import Rows, pattern_of, whole_rows

GROWTHS = ("random", "unfired", "gradient", "momentum")


def made(words: str, backbone: Any = "mlp(hidden=(40, 32))") -> tuple[Any, Any]:
    stream = build_stream("task-incremental", options={}, seed=0).walked(batch_size=20, seed=0)
    model = pieces.network(backbone, "multi", stream, 0)
    return build(words, Setup(model, lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9), seed=0)), stream


def exchanges(strategy: Any, stream: Any, tasks: int) -> Any:
    """Every update with an exchange, after it; yields (task, masks before)."""
    for task, experience in enumerate(stream.experiences[:tasks]):
        strategy.begin(experience.train)
        yield task, strategy.masks
        for _, batch in experience.steps():
            before = {n: m.clone() for n, m in strategy.masks.items()}
            strategy.observe(batch)
            yield task, before
        strategy.end(experience.train)


@pytest.mark.parametrize("growth", GROWTHS)
@pytest.mark.parametrize("further", ["", ",share=false", ",reserve=true"])
def test_every_row_keeps_its_count(growth: str, further: str) -> None:
    strategy, stream = made(f"dst(density=0.15,init=uniform,period=2,pattern=fan-in,growth={growth}{further})")
    changed, full = 0, "reserve" not in further
    for _, before in exchanges(strategy, stream, 3):
        for n, mask in strategy.masks.items():
            rows = mask.flatten(1).sum(1)
            assert rows.equal(before[n].flatten(1).sum(1))
            assert not full or set(rows.tolist()) == {max(1, round(0.15 * mask[0].numel()))}
            changed += int((mask ^ before[n]).any())
            assert not strategy._weights[n].detach()[~mask].any()
    assert changed > 10


def test_two_of_every_four_and_half_of_a_row_that_fours_do_not_divide() -> None:
    backbone = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 32))
    strategy, stream = made("dst(density=0.5,pattern=2:4,period=2)", backbone)
    changed = 0
    for _, before in exchanges(strategy, stream, 2):
        for i, (n, mask) in enumerate(strategy.masks.items()):
            rows = mask.reshape(-1, 9 if i == 0 else 4).sum(1)
            assert set(rows.tolist()) == {4 if i == 0 else 2}, n
            changed += int((mask ^ before[n]).any())
    assert changed > 10


def test_the_largest_of_each_row_grow() -> None:
    draw = torch.Generator().manual_seed(0)
    signal, candidates = torch.randn(6, 10, generator=draw), torch.rand(6, 10, generator=draw) < 0.6
    need = torch.tensor([0, 1, 2, 3, 10, 1])
    new = Rows(10).grow(candidates, need, "gradient", draw, None, signal)
    assert not (new & ~candidates).any() and new.sum(1).equal(need.minimum(candidates.sum(1)))
    for row in range(1, 6):
        left = signal[row].abs()[candidates[row] & ~new[row]]
        assert not len(left) or signal[row].abs()[new[row]].min() >= left.max()
    fired = torch.rand(6, 10, generator=draw) < 0.5
    new = Rows(10).grow(candidates, need, "unfired", draw, fired, None)
    assert (new & fired).sum(1).equal((need.minimum(candidates.sum(1)) - (candidates & ~fired).sum(1)).clamp(min=0))


@pytest.mark.parametrize("growth", GROWTHS)
@pytest.mark.parametrize("pattern", ["free", "fan-in"])
def test_a_reservation_holds_through_every_exchange(growth: str, pattern: str) -> None:
    strategy, stream = made(f"dst(density=0.5,period=2,reserve=true,growth={growth},pattern={pattern})")
    own: dict[str, int] = {}
    task_before = -1
    for task, _ in exchanges(strategy, stream, 4):
        now = {n: int((m & ~strategy.used[n]).sum()) for n, m in strategy.masks.items()}
        if task != task_before:
            own, task_before = now, task
            for n, k in own.items():
                assert k <= max(len(strategy.masks[n]), strategy.free[n] // (5 - task))
        assert now == own


def test_the_rest_is_enough_for_all_tasks_in_whole_rows() -> None:
    strategy, stream = made("dst(density=rest,share=false,pattern=fan-in,period=5)")
    for task, _ in exchanges(strategy, stream, 5):
        for mask in strategy.masks.values():
            assert len(set(mask.flatten(1).sum(1).tolist())) == 1, task
    assert strategy.tasks == 5


@pytest.mark.parametrize("share", ["true", "false"])
def test_a_density_of_the_rest_divides_what_is_free_by_the_tasks_to_come(share: str) -> None:
    strategy, stream = made(f"dst(density=rest,share={share},period=5)")
    for task, experience in enumerate(stream.experiences):
        free = strategy.free
        strategy.begin(experience.train)
        for n, mask in strategy.masks.items():
            assert int(mask.sum()) == free[n] // (5 - task)
        for _, batch in experience.steps():
            strategy.observe(batch)
        strategy.end(experience.train)
    assert share == "true" or not any(strategy.free.values())


@pytest.mark.parametrize("words", ["density=rest,share=false", "density=rest,reserve=true,pattern=fan-in,growth=unfired"])
def test_a_run_is_resumed_with_what_was_left_for_its_task(words: str) -> None:
    strategy, stream = made(f"dst(period=5,{words})")
    for task, experience in enumerate(stream.experiences[:2]):
        strategy.begin(experience.train)
        for _, batch in experience.steps():
            strategy.observe(batch)
        if task == 0:
            strategy.end(experience.train)
    again, other = made(f"dst(period=5,{words})")
    again.begin(other.experiences[1].train)
    again.load_state_dict(strategy.state_dict())
    for _ in range(6):
        for one in (again, strategy):
            one.observe(batch)
    assert all(torch.equal(again.masks[n], m) for n, m in strategy.masks.items())


def test_counts_are_whole_rows() -> None:
    assert whole_rows(pattern_of("free", (10, 8)), (10, 8), 17) == 17
    assert whole_rows(pattern_of("fan-in", (10, 8)), (10, 8), 1) == 10
    assert whole_rows(pattern_of("2:4", (10, 8)), (10, 8), 40) == 40


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("dst(pattern=blocks)", "pattern must be one of free, fan-in, 2:4; got 'blocks'"),
        ("dst(pattern=2:4)", "density must be 0.5 with pattern='2:4', two of every four; got 0.1"),
        ("dst(density=all)", "density must be in (0, 1]"),
    ],
)
def test_bad_patterns_are_refused(words: str, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        made(words)
    assert said in str(caught.value)
