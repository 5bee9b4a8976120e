"""The memory that favours hard samples: unbiased, of fixed size, a reservoir where scores are equal, exact after a stop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

import clframe
from clframe.errors import OptionError
from clframe.models import build
from clframe.scenarios import class_incremental
from clframe.selection import Reservoir, VarOpt, memory
from clframe.selection.draws.varopt import Kept, keep
from clframe.strategies import Learner, Replay
from clframe.types import Batch

SKEWED = np.random.default_rng(7).permutation(np.concatenate([np.geomspace(0.01, 5, 50), [40.0, 90.0]]))
LATER = 0.3 * SKEWED + np.random.default_rng(8).random(len(SKEWED))
"""Losses of the model to come: like those that the scores were made of, but others."""


def offered(size: int, seed: int, loss: np.ndarray, batch: int = 10, made: VarOpt | None = None, start: int = 0) -> VarOpt:
    made = made or VarOpt(size, torch.Generator().manual_seed(seed))
    for low in range(start, len(loss), batch):
        index = torch.arange(low, min(low + batch, len(loss)))
        made.offer(index, torch.zeros_like(index), torch.from_numpy(loss[low : low + batch]))
    return made


def scores(loss: np.ndarray, mixture: float = 0.5, batch: int = 10) -> np.ndarray:
    parts = [loss[low : low + batch] for low in range(0, len(loss), batch)]
    return np.concatenate([(1 - mixture) * part / part.mean() + mixture for part in parts])


def importance(held: VarOpt, slots: torch.Tensor) -> torch.Tensor:
    found = held.importance(slots)
    assert found is not None
    return found


def replayed(held: VarOpt, count: int) -> float:
    """The mean loss of what is recalled: what the Learner computes where the mass of every sample is 1."""
    slots = held.slots(count)
    return float((torch.from_numpy(LATER)[held.index[slots]] * importance(held, slots)).mean())


def test_the_replayed_loss_is_unbiased_over_2000_streams_of_skewed_scores() -> None:
    whole, part = [], []
    for seed in range(2000):
        held = offered(12, seed, SKEWED)
        whole.append(replayed(held, 12))
        part.append(replayed(held, 4))  # fewer than are held: drawn alike
    for found in (whole, part):
        error = np.std(found, ddof=1) / np.sqrt(len(found))
        assert abs(np.mean(found) - LATER.mean()) < 4 * error
    by_chance = [LATER[np.random.default_rng(seed).permutation(len(LATER))[:12]].mean() for seed in range(2000)]
    assert np.std(whole) < 0.8 * np.std(by_chance)  # a reservoir is a uniform sample


def test_inclusion_probabilities_are_those_of_the_scores() -> None:
    often, size, repeats = np.zeros(len(SKEWED)), 12, 2000
    for seed in range(repeats):
        held = offered(size, seed, SKEWED)
        often[held.selection().index] += 1
    q = scores(SKEWED)
    expected = keep(size, np.random.default_rng(0), Kept(np.arange(len(q)), q))
    tau = expected.weight.min()
    p = np.minimum(1, q / tau)
    assert np.abs(often / repeats - p).max() < 5 * np.sqrt(0.25 / repeats)
    assert held.selection().probability == pytest.approx(p[held.selection().index])
    assert (held.selection().weight * held.selection().probability) == pytest.approx(np.ones(size))


def merged(seed: int, size: int = 12, score: str = "loss", then: int = 0) -> VarOpt:
    """Three experiences with other losses each time, of new samples and of those held; the last `then` samples one by one."""
    made = VarOpt(size, torch.Generator().manual_seed(seed), score=score)
    for part, ids in enumerate(np.array_split(np.arange(len(SKEWED) - then), 3)):
        now = torch.from_numpy(np.random.default_rng(part).permutation(SKEWED))
        index = torch.from_numpy(ids)
        slots = made.merge(index, torch.zeros_like(index), now[index], now[made.index[: made.filled]])
        assert torch.equal(made.index[slots[slots >= 0]], index[slots >= 0])
    return offered(size, seed, SKEWED, batch=3, made=made, start=len(SKEWED) - then) if then else made


@pytest.mark.parametrize("then", [0, 12])
def test_merges_with_new_scores_are_unbiased_too(then: int) -> None:
    found = []
    for seed in range(2000):
        held = merged(seed, then=then)
        assert len(set(held.selection().index.tolist())) == len(held) == 12
        found.append(replayed(held, 12))
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - LATER.mean()) < 4 * error


def test_merges_with_equal_scores_are_a_uniform_sample() -> None:
    often, repeats = np.zeros(len(SKEWED)), 1000
    for seed in range(repeats):
        held = merged(seed, score="equal")
        often[held.selection().index] += 1
        assert held.selection().probability == pytest.approx(np.full(12, 12 / 52))
    assert np.abs(often / repeats - 12 / 52).max() < 5 * np.sqrt(12 / 52 * 40 / 52 / repeats)


def test_what_is_kept_beside_stays_with_the_sample_in_a_merge() -> None:
    made, loss = VarOpt(9, torch.Generator().manual_seed(0)), torch.from_numpy(SKEWED)
    for ids in torch.arange(52).reshape(4, 13):
        made.keep(made.merge(ids, ids % 3, loss[ids], loss[made.index[: made.filled]]), double=2.0 * ids)
        again = VarOpt(9, torch.Generator())
        again.load_state_dict(made.state_dict())
        assert again.extra["double"].tolist() == (2.0 * again.index).tolist()
        assert again.selection().weight.tolist() == made.selection().weight.tolist()


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_it_is_the_same_sample_as_that_of_one_draw_from_everything(size: int) -> None:
    loss = np.random.default_rng(size).pareto(0.8, 300) + 0.01
    held, q = offered(size, 3, loss), scores(loss)
    at_once = keep(size, np.random.default_rng(0), Kept(np.arange(len(q)), q))
    certain = np.flatnonzero(q >= at_once.weight.min() * (1 + 1e-9))
    found = held.selection()
    assert set(certain) <= set(found.index.tolist())
    assert (found.weight * q[found.index]).sum() == pytest.approx(q.sum())
    assert np.sort(found.weight * q[found.index]) == pytest.approx(np.sort(at_once.weight))


def test_with_equal_scores_it_is_reservoir_sampling() -> None:
    n, size, repeats = 60, 12, 3000
    often, together, same = np.zeros(n), 0, 0
    for seed in range(repeats):
        held = offered(size, seed, np.full(n, 2.0))
        ids = held.selection().index
        often[ids] += 1
        together += {3, 50} <= set(ids.tolist())
        same += importance(held, torch.arange(size)).tolist() == pytest.approx([1.0] * size)
    p, pair = size / n, size * (size - 1) / (n * (n - 1))
    assert ((often - repeats * p) ** 2 / (repeats * p)).sum() * (n - 1) / (n - size) < 110  # 59 degrees of freedom, 99.99 %
    assert abs(together / repeats - pair) < 5 * np.sqrt(pair / repeats)
    assert same == repeats
    equal, reservoir = memory("varopt(score=equal)", 5, torch.Generator()), Reservoir(5, torch.Generator())
    for made in (equal, reservoir):
        made.offer(torch.arange(20), torch.zeros(20, dtype=torch.int64), torch.rand(20))
        assert made.importance(torch.arange(5)) is None
    assert equal.selection().probability == pytest.approx(reservoir.selection().probability)


@pytest.mark.parametrize("cut", [10, 30, 200])
def test_a_memory_that_was_stopped_goes_on_exactly(cut: int) -> None:
    loss = np.random.default_rng(0).pareto(1.0, 400) + 0.01
    whole, stopped = offered(15, 0, loss), offered(15, 0, loss[:cut])
    again = VarOpt(15, torch.Generator().manual_seed(9))
    again.load_state_dict(stopped.state_dict())
    again = offered(15, 0, loss, made=again, start=cut)
    assert torch.equal(whole.index, again.index)
    assert whole.selection().probability.tolist() == again.selection().probability.tolist()
    assert torch.equal(importance(whole, torch.arange(15)), importance(again, torch.arange(15)))


def test_slots_and_what_is_kept_there_belong_to_the_sample() -> None:
    loss, made = np.random.default_rng(1).pareto(1.0, 300) + 0.01, VarOpt(9, torch.Generator().manual_seed(0))
    for low in range(0, 300, 7):
        index = torch.arange(low, min(low + 7, 300))
        made.keep(made.offer(index, index % 3, torch.from_numpy(loss[low : low + 7])), double=2.0 * index)
    assert made.extra["double"].tolist() == (2.0 * made.index).tolist()


def test_losses_that_are_not_finite_count_as_the_mean_one_and_zeros_are_kept_too() -> None:
    odd = offered(3, 0, np.array([1.0, np.nan, 3.0, np.inf]))
    plain = offered(3, 0, np.array([1.0, 2.0, 3.0, 2.0]))
    assert odd.selection().probability.tolist() == plain.selection().probability.tolist()
    nothing = offered(3, 0, np.zeros(10))
    assert nothing.selection().probability == pytest.approx(np.full(3, 0.3))


def test_the_weights_of_recalled_samples_divide_nothing() -> None:
    stream = class_incremental("digits", class_order="sorted").walked(batch_size=10)
    model = build("mlp", (1, 8, 8), 10, options={"hidden": (16,)})
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), Replay(size=40, memory="varopt"))
    seen = []
    for experience in stream.experiences[:2]:
        made.begin(experience.train)
        for _, batch in experience.steps():
            joined, groups, _ = made._union(batch)
            if "er" in groups:
                seen.append((joined, groups["er"]))
            made.observe(batch)
    joined, rows = seen[-1]
    assert joined.weight is not None
    assert joined.mass is not None
    assert set(joined.mass.tolist()) == {1.0}
    assert joined.weight[rows].std() > 0.1
    each = functional.cross_entropy(model(joined.x), joined.y, reduction="none")
    new = rows.start
    expected = (each[:new].sum() + (each[rows] * joined.weight[rows]).sum()) / len(joined)
    term = made._terms(made_view(made, joined, rows))["ce"]
    assert term.item() == pytest.approx(expected.item(), rel=1e-6)


def made_view(made: Learner, joined: Batch, rows: slice) -> clframe.strategies.View:
    features = made.model.features(joined.x)
    return clframe.strategies.View(
        made.model, joined, {"new": slice(0, rows.start), "er": rows}, features, made.model.head(features, joined.task)
    )


def test_shares_and_filling_at_the_end_work_with_it() -> None:
    for words in ("er(size=40,memory=varopt,new_share=0.5)", "er(size=40,memory=varopt(mixture=0.2),fill=experience)"):
        acc = clframe.run("split-digits(experiences=2)", words, evaluate="boundaries").metrics.acc
        assert acc is not None
        assert acc > 0.3
    forwards = {words: clframe.run("split-digits(experiences=2)", words, evaluate="boundaries").budget.forwards
                for words in ("er(size=40,fill=experience)", "er(size=40,memory=varopt,fill=experience)")}  # fmt: skip
    plain, scored = forwards.values()
    assert scored == plain + 1438 + 40  # one more pass over all samples, and over those held at the second merge


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("varopt(score=margin)", "score must be 'loss' or 'equal'; got 'margin'"),
        ("varopt(mixture=0)", r"mixture must be a share in \(0, 1\]; got 0"),
        ("varopt(mixtur=0.5)", "Did you mean 'mixture'"),
        ("varop", "Did you mean 'varopt'"),
        ("reservoir(mixture=0.5)", "'reservoir'"),
    ],
)
def test_wrong_options_are_refused(words: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        memory(words, 20, torch.Generator())
