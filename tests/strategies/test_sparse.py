"""Sparse subnets: exact counts, exact isolation, exact exchanges; T9 to T15 of the family."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

import clframe
from clframe import pieces
from clframe.errors import OptionError
from clframe.models import build as network
from clframe.scenarios.catalog import build as build_stream
from clframe.strategies import Setup, build
from clframe.strategies.sparse import DST
from clframe.strategies.sparse.allocation import counts, erk
from clframe.strategies.sparse.bits import pack, unpack
from clframe.strategies.sparse.exchange import dropped, grown, rate

WIDTHS = (64, 128, 256, 512)


def resnet18(stem: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the masked weights of a ResNet-18 with this stem and a classifier of 100 classes."""
    found: dict[str, tuple[int, ...]] = {"conv1": (64, 3, stem, stem)}
    before = 64
    for i, width in enumerate(WIDTHS, 1):
        for block in range(2):
            found[f"layer{i}.{block}.conv1"] = (width, before, 3, 3)
            found[f"layer{i}.{block}.conv2"] = (width, width, 3, 3)
            if before != width:
                found[f"layer{i}.{block}.shortcut"] = (width, before, 1, 1)
            before = width
    return found | {"classifier": (100, 512)}


@pytest.mark.parametrize(
    ("stem", "weights", "eps"), [(7, 11_218_112, (274.42, 125.99, None)), (3, 11_210_432, (275.28, 126.84, 60.53))]
)
def test_t9_erk_has_the_shares_of_the_reference_network(stem: int, weights: int, eps: tuple[float | None, ...]) -> None:
    shapes = resnet18(stem)
    sizes = {n: math.prod(s) for n, s in shapes.items()}
    assert sum(sizes.values()) == weights
    for density, scale in zip((0.2, 0.1, 0.05), eps, strict=True):
        share = dict(zip(shapes, erk(list(shapes.values()), density), strict=True))
        assert sum(share[n] * sizes[n] for n in shapes) == pytest.approx(density * weights, rel=1e-12)
        assert all(0 < s <= 1 for s in share.values())
        if scale is not None:
            name = "layer4.1.conv2"
            assert share[name] / (sum(shapes[name]) / sizes[name]) == pytest.approx(scale, abs=0.006)


def test_t9_erk_keeps_narrow_layers_whole_as_the_reference_does() -> None:
    shapes = resnet18(7)

    def shares(density: float) -> dict[str, float]:
        return dict(zip(shapes, erk(list(shapes.values()), density), strict=True))

    dense = {d: {n for n, s in shares(d).items() if s == 1.0} for d in (0.2, 0.1, 0.05, 0.01)}
    shortcuts = ["layer2.0.shortcut", "layer3.0.shortcut", "layer4.0.shortcut"]
    assert dense[0.2] == {"conv1", "classifier", *shortcuts}
    assert dense[0.1] == {"conv1", "classifier", *shortcuts[:2]}
    assert dense[0.05] == {shortcuts[0]} and not dense[0.01]
    told = {0.2: {"layer1.0.conv1": 0.998, "layer4.1.conv2": 0.120}, 0.1: {"layer1.0.conv1": 0.458, "layer4.1.conv2": 0.055}}
    told |= {0.05: {"classifier": 0.720, "conv1": 0.519, "layer1.0.conv1": 0.219, "layer4.1.conv2": 0.026}}
    told |= {0.01: {"conv1": 0.103, "classifier": 0.143, "layer4.1.conv2": 0.005}}
    for density, some in told.items():
        for name, share in some.items():
            assert shares(density)[name] == pytest.approx(share, abs=0.0006), (density, name)


@pytest.mark.parametrize("how", ["uniform", "erk"])
@pytest.mark.parametrize("density", [0.01, 0.05, 0.1, 0.2, 0.37, 1.0])
def test_t9_counts_are_whole_and_add_up(how: str, density: float) -> None:
    shapes = list(resnet18(3).values())
    found = counts(how, shapes, density)
    assert sum(found) == round(density * sum(map(math.prod, shapes)))
    assert all(1 <= k <= math.prod(s) for k, s in zip(found, shapes, strict=True))


def test_t10_exactly_the_least_important_leave() -> None:
    weight = torch.tensor([[0.5, -0.1, 0.0], [-0.4, 0.2, 0.3]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert dropped(weight, mask, 2).nonzero().tolist() == [[0, 1], [1, 1]]
    assert dropped(weight, mask, 3, "set").nonzero().tolist() == [[0, 1], [1, 1], [1, 2]]
    assert dropped(weight, mask, 4, "set").sum() == 4
    gradient = torch.tensor([[0.0, 9.0, 0.0], [1.0, 1.0, 1.0]])
    assert dropped(weight, mask, 1, "taylor", gradient).nonzero().tolist() == [[0, 0]]
    assert dropped(torch.zeros(2, 3), mask, 2).sum() == 2


def test_t10_exactly_as_many_grow_where_they_should() -> None:
    draw = torch.Generator().manual_seed(0)
    candidates = torch.rand(40, 30, generator=draw) < 0.5
    fired = torch.rand(40, 30, generator=draw) < 0.5
    signal = torch.randn(40, 30, generator=draw)
    for how in ("random", "unfired", "gradient", "momentum"):
        new = grown(candidates, 100, how, draw, fired=fired, signal=signal)
        assert new.sum() == 100 and not (new & ~candidates).any()
    assert not (grown(candidates, 100, "unfired", draw, fired=fired) & fired).any()
    unfired = int((candidates & ~fired).sum())
    more = grown(candidates, unfired + 7, "unfired", draw, fired=fired)
    assert int((more & ~fired).sum()) == unfired and more.sum() == unfired + 7
    top = grown(candidates, 50, "gradient", draw, signal=signal)
    assert signal.abs()[top].min() >= signal.abs()[candidates & ~top].max()
    assert grown(candidates, 10**6, "random", draw).equal(candidates)


def test_t15_the_rate_is_a_cosine() -> None:
    assert [rate(n, 200) for n in (0, 100, 200, 300)] == [0.5, (0.5 + 0.005) / 2, 0.005, 0.005]


def test_bits_are_an_eighth_of_the_bytes_and_come_back() -> None:
    like = {"a": torch.zeros(5, 7), "b": torch.zeros(3, 3, 3)}
    masks = {n: torch.rand(v.shape) < 0.3 for n, v in like.items()}
    bits = pack(masks)
    assert bits.numel() == -(-62 // 8)
    assert all(torch.equal(masks[n], m) for n, m in unpack(bits, like).items())


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.003, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.003, weight_decay=0.01),
}


def conv_with_norm() -> nn.Module:
    layers = [
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
    ]
    return nn.Sequential(*layers)


def made(
    words: str = "dst(density=0.1,period=3)", optimizer: str = "sgd", backbone: Any = "mlp", epochs: int = 1
) -> tuple[Any, Any]:
    stream = build_stream("task-incremental", options={}, seed=0).walked(batch_size=20, epochs=epochs, seed=0)
    model = pieces.network(backbone, "multi", stream, 0)
    return build(words, Setup(model, OPTIMIZERS[optimizer], seed=0, epochs=epochs)), stream


def learn(strategy: Any, stream: Any, tasks: range) -> None:
    for experience in stream.experiences[tasks.start : tasks.stop]:
        strategy.begin(experience.train)
        for _, batch in experience.steps():
            strategy.observe(batch)
        strategy.end(experience.train)


def answers(strategy: Any, stream: Any, task: int) -> torch.Tensor:
    strategy.model.eval()
    x = stream.data.test.fetch(torch.from_numpy(stream.tests[task]))
    return strategy.predict(x, torch.full((len(x),), task)).clone()


METHODS = [
    *("dst(density=0.1,period=3,growth=random)", "dst(density=0.2,period=3,growth=unfired,init=uniform)"),
    *("dst(density=0.1,period=3,growth=gradient)", "dst(density=0.1,period=3,reserve=true)", "packnet(prune=0.8)"),
    *("dst(density=0.1,period=3,growth=adaptive,drop=taylor)", "dst(density=0.05,period=3,growth=capacity,share=false,drop=set)"),
    *("wsn(density=0.3)", "spacenet(neurons=0.25,period=3)"),
]


HARDEST = ("momentum", "adamw")
"""Optimizers that move a weight without a gradient most; the others are marked slow."""


@pytest.mark.parametrize("words", METHODS)
@pytest.mark.parametrize("optimizer", [o if o in HARDEST else pytest.param(o, marks=pytest.mark.slow) for o in OPTIMIZERS])
@pytest.mark.parametrize("backbone", ["mlp", "normed"])
def test_t11_what_a_task_answers_never_changes_by_a_bit(words: str, optimizer: str, backbone: str) -> None:
    strategy, stream = made(words, optimizer, "mlp" if backbone == "mlp" else conv_with_norm())
    told: dict[int, torch.Tensor] = {}
    kept: dict[str, torch.Tensor] = {}
    for task in range(4):
        learn(strategy, stream, range(task, task + 1))
        for name, owned in kept.items():
            assert torch.equal(strategy.store[name][owned[0].bool()], owned[1][owned[0].bool()])
        kept = {n: torch.stack([strategy.used[n].float(), strategy.store[n].clone()]) for n in strategy.layers}
        told[task] = answers(strategy, stream, task)
        for earlier, logits in told.items():
            assert torch.equal(answers(strategy, stream, earlier), logits), earlier


@pytest.mark.parametrize("words", METHODS)
def test_t11_mixed_precision_moves_nothing_that_is_owned(words: str) -> None:
    strategy, stream = made(words, "adamw", conv_with_norm())
    told: dict[int, torch.Tensor] = {}
    for task in range(3):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            learn(strategy, stream, range(task, task + 1))
        told[task] = answers(strategy, stream, task)
        assert all(torch.equal(answers(strategy, stream, earlier), logits) for earlier, logits in told.items())


@pytest.mark.parametrize("words", METHODS)
def test_t12_the_live_network_is_the_stored_subnet(words: str) -> None:
    strategy, stream = made(words, "momentum", conv_with_norm())
    for task in range(3):
        learn(strategy, stream, range(task, task + 1))
        live = answers(strategy, stream, task)
        elsewhere = copy.deepcopy(strategy)
        elsewhere._task = -1  # so that the stored subnet answers
        assert torch.equal(answers(elsewhere, stream, task), live)
        for name, mask in strategy.archive.masks(task).items():
            assert torch.equal(strategy._weights[name].detach(), strategy.store[name] * mask)


@pytest.mark.parametrize("growth", ["random", "unfired", "gradient", "momentum"])
@pytest.mark.parametrize("share", ["true", "false"])
def test_t10_every_exchange_keeps_the_counts_and_the_rules(growth: str, share: str) -> None:
    strategy, stream = made(f"dst(density=0.1,init=uniform,period=2,growth={growth},share={share})", "momentum")
    seen = 0
    for experience in stream.experiences[:3]:
        strategy.begin(experience.train)
        for n in strategy.layers:
            assert int(strategy.masks[n].sum()) == strategy.count[n]
        for _, batch in experience.steps():
            before = {n: m.clone() for n, m in strategy.masks.items()}
            fired = {n: m.clone() for n, m in strategy.fired.items()}
            logged = strategy.observe(batch)
            for n, w in strategy._weights.items():
                after, new = strategy.masks[n], strategy.masks[n] & ~before[n]
                assert int(after.sum()) == strategy.count[n]
                assert not w.detach()[~after].any()
                if share == "false":
                    assert not (new & strategy.used[n]).any()
                shared = after & strategy.used[n]
                assert torch.equal(w.detach()[shared], strategy.store[n][shared])
                if (
                    growth == "unfired"
                    and new.any()
                    and int((~fired[n] & ~before[n] & (~strategy.used[n] | (share == "true"))).sum()) >= 0.5 * strategy.count[n]
                ):
                    assert not (new & fired[n]).any()
                seen += int(new.any())
            changed = any(bool((strategy.masks[n] ^ before[n]).any()) for n in strategy.layers)
            assert "dst/rate" in logged or not changed
        strategy.end(experience.train)
    assert seen > 10


def test_t13_own_weights_are_disjoint_and_the_union_is_what_is_used() -> None:
    for words in ("packnet(prune=0.7)", "dst(density=0.05,share=false,period=3)"):
        strategy, stream = made(words)
        used = {n: torch.zeros_like(u) for n, u in strategy.used.items()}
        for task in range(4):
            learn(strategy, stream, range(task, task + 1))
            for n in strategy.layers:
                own = strategy.used[n] & ~used[n]
                assert own.any() and not (own & used[n]).any()
                used[n] |= own
                if words.startswith("dst"):
                    assert own.equal(strategy.archive.masks(task)[n])


def test_t14_forgetting_is_exactly_zero_and_seen_at_the_time() -> None:
    result = clframe.run("task-incremental", "dst(density=0.2,period=5)", momentum=0.9)
    assert result.metrics.bwt == 0.0 and result.metrics.forgetting_first_last == 0.0
    assert result.metrics.acc is not None and result.metrics.acc > 0.85
    matrix = result.curves.matrix
    for task in range(5):
        column = result.rows[(result.rows.evaluated == task) & (result.rows.trained > task)]
        assert set(column.correct / column.total) == {float(matrix[task + 1, task])} or task == 4


def test_weights_that_no_task_owns_keep_their_first_values() -> None:
    strategy, stream = made("dst(density=0.1,period=2)", "adamw")
    first = {n: v.clone() for n, v in strategy.store.items()}
    learn(strategy, stream, range(2))
    for n in strategy.layers:
        free = ~strategy.used[n]
        assert free.any() and torch.equal(strategy.store[n][free], first[n][free])
    strategy.begin(stream.experiences[2].train)
    new = strategy.masks[strategy.layers[0]] & ~strategy.used[strategy.layers[0]]
    assert torch.equal(strategy._weights[strategy.layers[0]].detach()[new], first[strategy.layers[0]][new])


def test_the_defect_of_training_shared_weights_as_zero_would_be_seen() -> None:
    """With the released code's rule (B.7, 1) the live network and the stored subnet differ: the test above can fail."""
    strategy, stream = made("dst(density=0.2,period=2,growth=random,init=uniform)", "momentum")
    learn(strategy, stream, range(1))
    exchange = strategy._exchange

    def as_released(name: str, weight: torch.Tensor, count: int) -> None:
        before = strategy.masks[name].clone()
        exchange(name, weight, count)
        weight.masked_fill_(strategy.masks[name] & ~before & strategy.used[name], 0.0)

    strategy._exchange = as_released
    settle = strategy._settle

    def keep_zero() -> None:
        settle()
        for i, n in enumerate(strategy.layers):
            values = strategy._held._values
            values[i] = values[i] * (strategy._weights[n].detach() != 0)

    strategy._settle = keep_zero
    experience = stream.experiences[1]
    strategy.begin(experience.train)
    for _, batch in experience.steps():
        strategy.observe(batch)
    live = answers(strategy, stream, 1)
    strategy._settle = settle
    strategy.end(experience.train)
    strategy._task = -1
    assert not torch.allclose(answers(strategy, stream, 1), live, atol=1e-4)


def test_reserve_leaves_every_task_its_part() -> None:
    greedy, stream = made("dst(density=0.5,period=100)")
    careful, _ = made("dst(density=0.5,period=100,reserve=true)")
    learn(greedy, stream, range(4))
    learn(careful, stream, range(4))
    for n in careful.layers:
        assert careful.free[n] >= int(0.15 * careful.store[n].numel()) > greedy.free[n]


@pytest.mark.parametrize("infer", ["entropy", "energy"])
def test_tasks_can_be_inferred_where_nobody_tells_them(infer: str) -> None:
    result = clframe.run("split-digits", f"dst(density=0.3,infer={infer},period=10)", lr=0.1)
    assert result.metrics.acc is not None and result.metrics.acc > 0.3
    plain = clframe.run("split-digits", "finetune", lr=0.1)
    assert result.metrics.acc > plain.metrics.acc


def test_a_task_that_comes_back_finds_its_subnet() -> None:
    strategy, stream = made()
    learn(strategy, stream, range(2))
    before = {n: strategy.store[n].clone() for n in strategy.layers}
    learn(strategy, stream, range(1))
    assert all(torch.equal(before[n], strategy.store[n]) for n in strategy.layers)
    assert strategy.tasks == 2


def test_rigl_keeps_its_count_and_composes() -> None:
    result = clframe.run("permuted-digits", "er(size=100)+rigl(density=0.1,period=5)", lr=0.1)
    assert result.metrics.acc is not None and result.metrics.acc > 0.5
    learner = build("set(density=0.2,period=2)", Setup(network("mlp", (1, 8, 8), 10, seed=0), OPTIMIZERS["momentum"]))
    stream = build_stream("split-digits", options={}, seed=0).walked(batch_size=20, seed=0)
    part = learner.parts[0]  # type: ignore[attr-defined]
    changed = 0
    learner.begin(stream.experiences[0].train)
    for _, batch in stream.experiences[0].steps():
        before = [m.clone() for m in part.mask]
        learner.observe(batch)
        for w, m, k, b in zip(part._weights, part.mask, part._count, before, strict=True):
            assert int(m.sum()) == k and not w.detach()[~m].any()
            changed += int((m ^ b).any())
    assert changed > 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("dst(density=0)", "density must be in (0, 1]; got 0"),
        ("dst(density=1.5)", "density must be in (0, 1]; got 1.5"),
        ("dst(growth=momentum)", "growth must be one without momentum, as the optimizer has none; got 'momentum'"),
        ("dst(growth=best)", "growth"),
        ("dst(full=maybe)", "full"),
        ("dst(drop=largest)", "drop"),
        ("dst(init=dense)", "init"),
        ("dst(period=0)", "period must be a positive number of updates; got 0"),
        ("dst(rate=2)", "rate must be rates with"),
        ("dst(share=false,reserve=true)", "reserve must be false with share=false"),
        ("dst(init=foo,pattern=2:4,density=0.5)", "init"),
        ("dst(infer=guess)", "infer must be one of none, entropy, energy; got 'guess'"),
        ("dst(infer=entropy)", "head must be 'single' for 'dst' that infers the task; got 'multi'"),
        ("packnet(prune=1)", "prune must be a share in (0, 1); got 1"),
        ("wsn(density=0)", "density must be in (0, 1]; got 0"),
        ("spacenet(neurons=0)", "neurons must be a share in (0, 1]; got 0"),
        ("spacenet(reserve=0.5)", "reserve must be a share in [0, 0.2], which is neurons; got 0.5"),
        ("rigl(density=2)", "density must be in (0, 1]; got 2"),
        ("rigl(growth=momentum)", "growth"),
    ],
)
def test_bad_options_are_refused(words: str, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        made(words)
    assert said in str(caught.value)


def test_no_free_capacity_says_which_layers_and_what_would_fit() -> None:
    strategy, stream = made("dst(density=0.4,share=false,period=100,init=uniform)")
    said = r"5 tasks must find enough free weights; 2 layers have too few \(layers.*\). A density of (0.199|0.2) would fit all 5"
    with pytest.raises(OptionError, match=said):
        strategy.begin(stream.experiences[0].train)
    strategy, stream = made("dst(density=1)")
    learn(strategy, stream, range(1))
    with pytest.raises(OptionError, match="task 1 must find free weights; all 2 layers have none left"):
        strategy.begin(stream.experiences[1].train)


def test_a_task_may_do_with_what_others_own() -> None:
    strategy, stream = made("dst(density=1,full=share,period=3)")
    learn(strategy, stream, range(1))
    before, told = {n: v.clone() for n, v in strategy.store.items()}, answers(strategy, stream, 0)
    learn(strategy, stream, range(1, 2))
    assert all(torch.equal(before[n], v) for n, v in strategy.store.items())
    assert torch.equal(answers(strategy, stream, 0), told)
    labels = torch.from_numpy(stream.data.test.y[stream.tests[1]])
    assert (answers(strategy, stream, 1).argmax(1) == labels).float().mean() > 0.6


def test_what_is_said_to_fit_does_fit_all_tasks() -> None:
    for init in ("erk", "uniform"):
        strategy, stream = made(f"dst(density=0.3,share=false,init={init},period=5)")
        with pytest.raises(OptionError) as caught:
            strategy.begin(stream.experiences[0].train)
        fits = str(caught.value).split("A density of ")[1].split()[0]
        strategy, stream = made(f"dst(density={fits},share=false,init={init},period=5)")
        learn(strategy, stream, range(5))
        assert strategy.tasks == 5


@pytest.mark.parametrize("scenario", ["permuted-digits(experiences=3)", "iid-digits(experiences=3)"])
@pytest.mark.parametrize("words", ["dst(density=0.2,period=5,infer=entropy)", "packnet(infer=energy)", "wsn(infer=entropy)"])
def test_t11_a_task_that_is_inferred_keeps_its_answers_where_tasks_share_classes(scenario: str, words: str) -> None:
    stream = build_stream(scenario, options={}, seed=0).walked(batch_size=20, seed=0)
    model = pieces.network("mlp", "single", stream, 0)
    strategy: Any = build(words, Setup(model, OPTIMIZERS["adamw"], seed=0))
    x = stream.data.test.fetch(torch.from_numpy(stream.tests[0]))
    told: dict[int, torch.Tensor] = {}
    for task in range(3):
        learn(strategy, stream, range(task, task + 1))
        strategy.model.eval()
        told[task] = strategy.scores_of(task, x).clone()
        for earlier, logits in told.items():
            assert torch.equal(strategy.scores_of(earlier, x), logits), earlier


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.c.weight = self.b.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.b(self.a(x.flatten(1)).relu()).relu())


def test_weights_that_layers_share_or_compute_are_refused() -> None:
    with pytest.raises(
        OptionError, match=r"no two layers share a parameter for 'dst'; got 'Tied, where backbone.c.weight is backbone.b.weight'"
    ):
        made("dst", backbone=Tied())
    normed = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(64, 8)))
    with pytest.raises(OptionError, match="whose weights are plain parameters for 'packnet'"):
        made("packnet", backbone=normed)


def test_by_default_weights_are_exchanged_in_short_tasks_too() -> None:
    for words in ("dst", "spacenet", "rigl", "set"):
        scenario = "split-digits" if words in ("rigl", "set") else "task-split-digits"
        terms = clframe.run(scenario, words, evaluate="boundaries").terms.term.unique()
        assert any(t.endswith(("/rate", "/used")) for t in terms), words


def test_dst_is_a_strategy_of_its_own() -> None:
    assert isinstance(made()[0], DST)
