"""HyperInterval and HNET: radii, overlap, schedules, what is frozen, and that nothing certified is ever lost."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from clframe import pieces
from clframe.errors import OptionError
from clframe.models.interval import Box
from clframe.scenarios import Stream
from clframe.scenarios.catalog import build as build_stream
from clframe.strategies import Setup, build
from clframe.strategies.interval.embeddings import nested, radii, universal
from clframe.strategies.loss import sum_in_name_order

TOLD, UNIVERSAL = "task-incremental(experiences=3)", "permuted-digits(experiences=3,samples_per_experience=360)"


def made(words: str, stream: str = TOLD, epochs: int = 2, model: str = "mlp(hidden=(20,))", **options: Any) -> tuple[Any, Stream]:
    walked = build_stream(stream, seed=0).walked(batch_size=30, seed=0, epochs=epochs)
    network = pieces.network(model, "auto", walked, 0)
    setup = Setup(network, lambda p: torch.optim.Adam(p, lr=0.005), seed=0, epochs=epochs, width=pieces.width(walked), **options)
    return build(words, setup), walked


def learn(strategy: Any, experience: Any) -> None:
    strategy.begin(experience.train)
    for _, batch in experience.steps():
        strategy.observe(batch)
    strategy.end(experience.train)


def test_radii_are_positive_and_add_up_to_gamma() -> None:
    found = radii(torch.randn(24), 1.5)
    assert bool((found > 0).all())
    torch.testing.assert_close(found.sum(), torch.tensor(1.5), atol=1e-6, rtol=0)


@pytest.mark.parametrize("how", ["cos", "tanh"])
def test_nested_boxes_have_a_box_in_common_however_many_there_are(how: str) -> None:
    d, gamma = 24, 2.0
    boxes = [nested(5 * torch.randn(d), gamma, how) for _ in range(200)]
    for box in boxes:
        torch.testing.assert_close(box.radius, torch.full((d,), gamma / d))
        assert float(box.centre.abs().max()) <= gamma / (2 * d) + 1e-6
    low, high = torch.stack([b.lower for b in boxes]).amax(0), torch.stack([b.upper for b in boxes]).amin(0)
    assert bool((high - low >= gamma / d - 1e-6).all())
    star = universal(boxes)
    assert all(bool(box.contains(star).all()) for box in boxes)


def test_without_overlap_the_universal_embedding_is_the_middle_of_the_gap() -> None:
    apart = [Box(torch.tensor([0.0]), torch.tensor([1.0])), Box(torch.tensor([3.0]), torch.tensor([4.0]))]
    assert universal(apart).tolist() == [2.0]


def test_schedules_begin_and_end_where_they_should() -> None:
    strategy, stream = made("hyperinterval(gamma=0.3,kappa=0.25,ramp=0.5)")
    strategy.begin(stream.experiences[0].train)
    steps = list(stream.experiences[0].steps())
    strategy._batch = len(steps[0][1])
    assert (strategy.risen, strategy.weight_of_centre) == (0.0, 1.0) and not strategy.box(0).radius.any()
    for _, batch in steps[: len(steps) // 2 + 1]:
        strategy.observe(batch)
    assert (strategy.risen, strategy.weight_of_centre) == (1.0, 0.25)
    torch.testing.assert_close(strategy.box(0).radius.sum().detach(), torch.tensor(0.3))


def test_the_reference_schedule_falls_slowly_and_jumps_at_half_time() -> None:
    strategy, stream = made("hyperinterval(kappa=0.5,reference_compat=True)")
    strategy.begin(stream.experiences[0].train)
    strategy._batch, half = 30, 0
    half = strategy.updates // 2
    strategy._steps = half - 1
    assert strategy.weight_of_centre == 1 - 5e-5 * (half - 1)
    strategy._steps = half
    assert strategy.weight_of_centre == 0.5


def test_the_loss_is_plain_cross_entropy_at_kappa_one_and_twice_the_same_at_gamma_zero() -> None:
    strategy, stream = made("hyperinterval(gamma=0.0,kappa=0.5,ramp=0.01)")
    strategy.begin(stream.experiences[0].train)
    (_, first), (_, second) = list(stream.experiences[0].steps())[:2]
    for batch, kappa in ((first, 1.0), (second, 0.5)):
        strategy._batch = 30
        terms = strategy.terms(batch)
        weights = strategy.net.split(strategy.net(strategy.embeddings[0][None])[0])
        plain = F.cross_entropy(functional_call(strategy.target, weights, (batch.x,)), strategy._output[batch.y])
        torch.testing.assert_close(sum_in_name_order(terms), plain)
        assert ("hyperinterval/worst" in terms) is (kappa < 1)
        strategy.observe(batch)


@pytest.mark.parametrize("words", ["hyperinterval", "hyperinterval(hard=True)", "hnet", "hnet(lookahead=True)"])
def test_embeddings_of_earlier_tasks_never_move_and_their_outputs_are_held_from_where_they_were(words: str) -> None:
    strategy, stream = made(words)
    learn(strategy, stream.experiences[0])
    kept = {t: e.detach().clone() for t, e in strategy.embeddings.items()}
    spread = {t: p.detach().clone() for t, p in getattr(strategy, "spread", {}).items()}
    strategy.begin(stream.experiences[1].train)
    assert not strategy.change([0]).any()
    drift = sum_in_name_order(strategy.drift([0]))
    gradient = torch.autograd.grad(drift, [*strategy.trained(1)], allow_unused=True)
    assert all(g is None or not g.any() for g in gradient)
    for _, batch in stream.experiences[1].steps():
        strategy.observe(batch)
    assert bool(strategy.change([0]).any())
    assert all(torch.equal(strategy.embeddings[t], e) for t, e in kept.items())
    assert all(torch.equal(strategy.spread[t], p) for t, p in spread.items())


def test_the_drift_is_a_mean_over_tasks_and_the_reference_divides_it_once_more() -> None:
    found = []
    for words in ("hyperinterval(infer=universal)", "hyperinterval(infer=universal,reference_compat=True)"):
        strategy, stream = made(words, UNIVERSAL, epochs=1)
        for experience in stream.experiences[:2]:
            learn(strategy, experience)
        strategy.begin(stream.experiences[2].train)
        with torch.no_grad():
            strategy.net.weights[-1].add_(0.01)
            both = float(strategy.drift([0, 1])["hyperinterval/drift"])
            each = [float(strategy.options.beta * strategy.change([t]).sum()) for t in (0, 1)]
        found.append((both, each))
    (ours, each), (theirs, each_theirs) = found
    assert ours == pytest.approx(sum(each) / 2)
    assert theirs == pytest.approx(sum(each_theirs) / 2 / 2)


def test_distances_are_weighted_by_what_answers_depend_on_and_summed_over_tasks() -> None:
    strategy, stream = made("hnet(beta=0.0,fisher=5.0)", epochs=1)
    for experience in stream.experiences[:2]:
        learn(strategy, experience)
    strategy.begin(stream.experiences[2].train)
    with torch.no_grad():
        strategy.net.biases[-1].add_(0.01)
        weighted = [float((strategy.information[t] * strategy.change([t])[0]).sum()) for t in (0, 1)]
        assert float(strategy.drift([0, 1])["hnet/fisher"]) == pytest.approx(5 * sum(weighted), rel=1e-4)
        assert float(strategy.drift([1])["hnet/fisher"]) == pytest.approx(5 * 2 * weighted[1], rel=1e-4)


def test_the_information_of_a_linear_network_is_that_of_the_formula() -> None:
    from clframe.strategies.interval.information import fisher_information

    _, stream = made("hnet", epochs=1)
    train, weights = stream.experiences[0].train, {"1.weight": torch.zeros(4, 64), "1.bias": torch.zeros(4)}
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
    found = fisher_information(net, weights, train, 10_000, torch.Generator().manual_seed(0), outputs=3)
    x = torch.cat([b.x for b in train.batches(64)]).flatten(1)
    expected = 2 / 9 * x.square().mean(0)  # p (1 - p) x^2 with p = 1/3
    ratio = found[: 3 * 64].view(3, 64).mean(0)[expected > 0] / expected[expected > 0]
    assert 0.9 < float(ratio.mean()) < 1.1
    assert not found[3 * 64 : 4 * 64].any()
    torch.testing.assert_close(found[-4:-1].mean(), torch.tensor(2 / 9), atol=0.02, rtol=0)


def test_a_sampled_task_is_one_of_the_others_and_the_draw_is_part_of_the_state() -> None:
    strategy, stream = made("hnet(sampled=1)", epochs=1)
    for experience in stream.experiences[:2]:
        learn(strategy, experience)
    strategy.begin(stream.experiences[2].train)
    state = copy.deepcopy(strategy.state_dict())
    drawn = [strategy._drawn() for _ in range(20)]
    assert {t for one in drawn for t in one} == {0, 1} and all(len(one) == 1 for one in drawn)
    strategy.load_state_dict(state)
    assert [strategy._drawn() for _ in range(20)] == drawn


def test_looking_ahead_takes_the_gradient_where_the_step_leads_and_puts_all_back() -> None:
    plain, ahead = (made(words, epochs=1) for words in ("hnet", "hnet(lookahead=True)"))
    for strategy, stream in (plain, ahead):
        learn(strategy, stream.experiences[0])
        strategy.begin(stream.experiences[1].train)
    _, batch = next(iter(plain[1].experiences[1].steps()))
    first = [strategy.observe(batch)["hnet/drift"] for strategy, _ in (plain, ahead)]
    assert float(first[0]) == 0.0 and float(first[1]) > 0


@pytest.mark.parametrize(
    ("words", "stream", "model"),
    [
        ("hyperinterval(hard=True,gamma=0.05)", TOLD, "mlp(hidden=(20,))"),
        ("hyperinterval(hard=True,gamma=0.05)", TOLD, "cnn(widths=(4, 8))"),
        ("hyperinterval(hard=True,infer=universal,gamma=0.02)", UNIVERSAL, "mlp(hidden=(20,))"),
    ],
)
def test_hard_containment_loses_no_certified_sample(words: str, stream: str, model: str) -> None:
    strategy, walked = made(words, stream, epochs=6, model=model)
    if "universal" in words:
        walked = replace(walked, segments=[ids[::2] for ids in walked.segments])
    certified = 0
    kept: dict[int, torch.Tensor] = {}
    for k, experience in enumerate(walked.experiences):
        learn(strategy, experience)
        x, y, task = samples_of(walked, k)
        promise = strategy.promise(k, task)
        kept[k] = promise.certify(x, y, "elided").certified
        certified += int(kept[k].sum())
        for j in range(k + 1):
            x, y, task = samples_of(walked, j)
            promise = strategy.promise(j, task)
            assert promise.kept and promise.containment == 1.0
            right = strategy.predict(x, None if task is None else torch.full((len(x),), task)).argmax(1) == y
            assert bool(right[kept[j]].all())
            assert torch.equal(promise.right(x, y), right)
            assert float(kept[j].double().mean()) <= float(right.double().mean())
    assert certified > 20


def samples_of(stream: Stream, k: int) -> tuple[torch.Tensor, torch.Tensor, int | None]:
    experience = stream.experiences[k]
    ids = torch.as_tensor(experience.test)
    y = torch.as_tensor(stream.data.test.y[experience.test])
    return experience.test_source.fetch(ids[:200]), y[:200], experience.task if stream.reveals.task_test else None


def test_every_new_box_lies_in_all_earlier_ones_where_containment_is_hard_and_one_network_answers() -> None:
    strategy, stream = made("hyperinterval(hard=True,infer=universal,gamma=0.02)", UNIVERSAL, epochs=2)
    for experience in stream.experiences:
        learn(strategy, experience)
    for earlier, later in ((0, 1), (1, 2), (0, 2)):
        assert bool(strategy.promises.boxes[earlier].contains(strategy.promises.boxes[later]).all())


def test_soft_promises_are_broken_and_said_to_be() -> None:
    strategy, stream = made("hyperinterval(beta=0.0,gamma=0.01)", epochs=4)
    for experience in stream.experiences[:2]:
        learn(strategy, experience)
    promise = strategy.promise(0, 0)
    assert not promise.kept and promise.containment < 1
    assert strategy.promise(1, 1).kept


def test_inferred_tasks_have_no_promise_and_neither_do_those_to_come() -> None:
    strategy, stream = made("hyperinterval(infer=entropy)", "class-incremental(experiences=3)", epochs=1)
    learn(strategy, stream.experiences[0])
    assert strategy.promise(0, None) is None
    told, stream = made("hyperinterval", epochs=1)
    learn(told, stream.experiences[0])
    assert told.promise(2, 2) is None


def test_tasks_of_different_widths_use_their_own_outputs() -> None:
    strategy, stream = made("hyperinterval(hard=True,gamma=0.05)", "task-incremental(experiences=3)", epochs=4)
    sizes = [len(e.classes) for e in stream.experiences]
    assert len(set(sizes)) > 1, "10 classes in 3 tasks"
    for k, experience in enumerate(stream.experiences):
        learn(strategy, experience)
        promise = strategy.promise(k, k)
        assert len(promise.classes) == sizes[k] == promise.boxes["head.bias"].lower.numel()
        x, _, _ = samples_of(stream, k)
        scores = strategy.predict(x, torch.full((len(x),), k))
        assert bool(scores[:, list(promise.classes)].isfinite().all()) and int(scores.isfinite().sum()) == len(x) * sizes[k]


@pytest.mark.parametrize(
    ("words", "model", "said"),
    [
        ("hyperinterval(gamma=-1.0)", "mlp", "gamma must be zero or positive; got -1.0"),
        ("hyperinterval(kappa=2.0)", "mlp", "kappa must be in"),
        ("hyperinterval(ramp=0.0)", "mlp", "ramp must be a share"),
        ("hyperinterval(nesting=sin)", "mlp", "nesting must be a known name"),
        ("hyperinterval(infer=magic)", "mlp", "infer must be one of none, universal, entropy, energy"),
        ("hyperinterval(infer=universal)", "mlp", "head must be 'single'"),
        ("hyperinterval", "mlp(dropout=0.1)", "Dropout has none"),
        ("hyperinterval", "mlp(norm=batch)", "Linear and Conv layers"),
        ("hyperinterval", "mlp(norm=layer)", "Linear and Conv layers"),
        ("hnet(beta=-1.0)", "mlp", "beta must be zero or positive"),
        ("hnet(sampled=-1)", "mlp", "sampled must be a number of tasks"),
        ("hnet(decay=2.0)", "mlp", "decay must be a share"),
        ("hnet", "slim-resnet18", "Linear and Conv layers"),
    ],
)
def test_what_does_not_fit_is_refused(words: str, model: str, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        made(words, model=model)
    assert said in str(caught.value)


def test_a_convolution_is_bounded_soundly_from_the_embedding_to_the_scores() -> None:
    strategy, stream = made("hyperinterval(gamma=0.05)", epochs=2, model="cnn(widths=(4, 8))")
    learn(strategy, stream.experiences[0])
    promise, (x, _, _) = strategy.promise(0, 0), samples_of(stream, 0)
    from clframe.models.interval import walk

    out = walk(promise.net, x, promise.boxes).out
    box = strategy.box(0)
    for seed in range(30):
        draw = torch.Generator().manual_seed(seed)
        sign = torch.rand(len(box.centre), generator=draw) * 2 - 1
        e = box.centre + box.radius * (sign.sign() if seed % 2 else sign)
        scores = functional_call(strategy.target, strategy.net.split(strategy.net(e[None])[0]), (x,))[:, : len(promise.classes)]
        assert bool(((out.lower - 1e-4 <= scores) & (scores <= out.upper + 1e-4)).all())
