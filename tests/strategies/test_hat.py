"""HAT: its equations one by one, and what it promises: weights and outputs of earlier tasks, bit for bit."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import clframe
from clframe.errors import CompositionError, OptionError
from clframe.models import build
from clframe.scenarios import Stream, task_incremental
from clframe.strategies import Setup
from clframe.strategies.chain import Chain
from clframe.strategies.hat import HAT, compensation
from clframe.types import Batch

SGD: dict[str, Any] = {"momentum": 0.9, "weight_decay": 0.01}


def digits(**walk: int) -> Stream:
    return task_incremental("digits", class_order="sorted").walked(**{"batch_size": 10, **walk})


def hat(model: str | nn.Module = "mlp", *, setup: dict[str, Any] | None = None, kind: Any = torch.optim.SGD, **options: Any) -> HAT:
    own = {"hidden": (9, 7)} if model == "mlp" else {"widths": (4, 6)} if model == "cnn" else None
    net = build(model, (1, 8, 8), 10, head="multi", num_tasks=5, rows=10, options=own)
    return HAT(Setup(net, lambda p: kind(p, **{"lr": 0.05, **(setup or {})})), **options)


def walk(made: HAT, stream: Stream, which: int, updates: int = 5) -> None:
    experience = stream.experiences[which]
    made.begin(experience.train)
    for (_, batch), _ in zip(experience.steps(), range(updates), strict=False):
        made.observe(batch)
    made.end(experience.train)


def attend(made: HAT, task: int, on: Tensor) -> None:
    """Attention of exactly 0 or 1."""
    with torch.no_grad():
        made.embedding[task].copy_(torch.where(on, 6.0, -6.0))


def every_other(made: HAT) -> Tensor:
    return torch.arange(len(made.used)) % 2 == 0


def probe(count: int = 6) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(3))


def test_s_rises_from_1_over_s_max_to_s_max_in_every_pass() -> None:
    stream = digits(batch_size=100, epochs=2)
    made = hat(s_max=50.0)
    experience = stream.experiences[0]
    made.begin(experience.train)
    rises, used = [], made._steepness
    made._steepness = lambda size: rises.append(used(size)) or rises[-1]  # type: ignore[method-assign, func-returns-value]
    for _, batch in experience.steps():
        made.observe(batch)
    count = math.ceil(len(stream.segments[0]) / 100)
    once = [1 / 50 + (50 - 1 / 50) * b / (count - 1) for b in range(count)]
    assert rises == pytest.approx(once + once)
    made.begin(stream.experiences[1].train)
    assert used(10_000) == 50.0  # one batch a pass


def test_compensation_makes_the_gradient_that_of_a_sigmoid_with_s_1() -> None:
    e = torch.linspace(-3, 3, 13, dtype=torch.float64)
    for s in (0.01, 1.0, 4.0):
        steep = torch.sigmoid(s * e)
        got = s * steep * (1 - steep) * compensation(e, s, 400.0)
        assert torch.allclose(got, 400.0 * torch.sigmoid(e) * (1 - torch.sigmoid(e)), rtol=1e-8)
    assert compensation(torch.tensor([6.0]), 400.0, 400.0).isfinite()


def test_one_update_is_the_equations_written_out() -> None:
    stream, made = digits(), hat(strength=2.0, s_max=30.0)
    walk(made, stream, 0)
    made.begin(stream.experiences[1].train)
    net, used = made.model, made.used.clone()
    first, second = net.backbone.layers[0], net.backbone.layers[2]
    (_, batch), e = next(stream.experiences[1].steps()), made.embedding[1].detach().clone().requires_grad_()
    s = 1 / 30.0
    tensors = [t.detach().clone().requires_grad_() for t in (first.weight, first.bias, second.weight, second.bias)]
    a, b = torch.sigmoid(s * e).split([9, 7])
    h = functional.relu(functional.linear(batch.x.flatten(1), *tensors[:2])) * a
    features = functional.relu(functional.linear(h, *tensors[2:])) * b
    ce = functional.cross_entropy(net.head(features, batch.task), batch.y)
    sparsity = 2.0 * (torch.sigmoid(s * e) * (1 - used)).sum() / (1 - used).sum()
    *slopes, slope = torch.autograd.grad(ce + sparsity, [*tensors, e])
    one, two = used.split([9, 7])
    free = [1 - one[:, None], 1 - one, 1 - torch.minimum(two[:, None], one[None, :]), 1 - two]
    expected = [t - 0.05 * f * g for t, f, g in zip(tensors, free, slopes, strict=True)]
    terms = made.observe(batch)
    assert terms["ce"].item() == pytest.approx(ce.item(), rel=1e-5)
    assert terms["hat/sparsity"].item() == pytest.approx(sparsity.item(), rel=1e-5)
    assert terms["hat/used"].item() == pytest.approx(used.mean().item())
    for got, want in zip((first.weight, first.bias, second.weight, second.bias), expected, strict=True):
        assert torch.allclose(got, want, atol=1e-6)
    factor = 30.0 / s * (torch.cosh(s * e) + 1) / (torch.cosh(e) + 1)
    moved = (e - 0.05 * slope * factor).clamp(-6, 6)
    assert torch.allclose(made.embedding[1], moved, atol=1e-4)


def test_the_cumulative_attention_is_the_largest_so_far() -> None:
    stream, made = digits(), hat()
    for k in range(3):
        walk(made, stream, k)
        so_far = torch.stack([torch.sigmoid(400 * made.embedding[t]) for t in range(k + 1)])
        assert torch.equal(made.used, so_far.max(0).values.detach())
        assert made.embedding[k].abs().max() <= 6
    untrained = hat()
    assert all(torch.equal(made.embedding[t], untrained.embedding[t]) for t in (3, 4))


@pytest.mark.parametrize(("kind", "options"), [(torch.optim.SGD, SGD), (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1})])
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_weights_between_held_units_never_move(model, kind, options) -> None:
    stream, made = digits(), hat(model, kind=kind, setup=options)
    walk(made, stream, 0)
    made.used = every_other(made).float()
    before = {k: v.clone() for k, v in made.model.state_dict().items()}
    walk(made, stream, 1)
    chain = Chain(made.model.backbone, "hat")
    names = {id(p): n for n, p in made.model.named_parameters()}
    for layer, (pre, post) in zip(chain.layers, chain.pre_and_post(every_other(made).float().split(chain.units)), strict=True):
        same = layer.weight == before[names[id(layer.weight)]]
        held = torch.minimum(post[:, None], pre[None, :]).bool()
        assert same[held].all() and not same[~held].all()
        assert torch.equal(layer.bias[post.bool()], before[names[id(layer.bias)]][post.bool()])
    own = made.model.head.table[1, 2:4]
    other = torch.ones(10, dtype=torch.bool)
    other[own] = False
    for name in ("weight", "bias"):
        now = made.model.head.get_parameter(name)
        assert torch.equal(now[other], before[f"head.{name}"][other]) and not torch.equal(now[own], before[f"head.{name}"][own])


def normed() -> nn.Module:
    maps = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.AvgPool2d(2), nn.Sigmoid()]
    return nn.Sequential(nn.Sequential(*maps), nn.Flatten(), nn.Linear(36, 6), nn.BatchNorm1d(6), nn.GELU(), nn.Dropout(0.1))


@pytest.mark.parametrize("model", ["mlp", "cnn", "normed"])
def test_outputs_of_a_task_with_binary_attention_are_bit_equal_ever_after(model) -> None:
    stream, made = digits(), hat(normed() if model == "normed" else model, setup=SGD)
    experience = stream.experiences[0]
    walk(made, stream, 0)
    attend(made, 0, every_other(made))
    made.end(experience.train)
    made.used = every_other(made).float()
    for module in (made.model, made.norms):
        module.eval()
    x, task = probe(), torch.zeros(6, dtype=torch.int64)
    before, body = made.predict(x, task), [p.detach().clone() for p in made.model.backbone.parameters()]
    for k in (1, 2):
        walk(made, stream, k)
    for module in (made.model, made.norms):
        module.eval()
    assert torch.equal(made.predict(x, task), before)
    assert any(not torch.equal(a, b) for a, b in zip(body, made.model.backbone.parameters(), strict=True))


def test_outputs_of_a_task_with_nearly_binary_attention_move_by_the_sigmoid_s_tail() -> None:
    stream, made = digits(), hat()
    walk(made, stream, 0)
    with torch.no_grad():
        made.embedding[0].copy_(torch.where(every_other(made), 1.0, -1.0) * 20 / 400)
    made.used = torch.sigmoid(400 * made.embedding[0]).detach()
    assert (made.used[every_other(made)] == 1).all()
    x, task = probe(), torch.zeros(6, dtype=torch.int64)
    before = made.predict(x, task)[:, :2]
    for k in (1, 2, 3):
        walk(made, stream, k, updates=40)
    assert (made.predict(x, task)[:, :2] - before).abs().max() <= 1e-6


def test_a_flattened_map_has_the_gate_of_its_channel_at_each_place() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 5), nn.ReLU())
    chain = Chain(body, "hat")
    ones = [torch.ones(3), torch.ones(5)]
    assert torch.equal(chain.forward(probe(), ones, []), body(probe()))
    maps = [i // 9 for i in range(27)]
    assert chain.pre_and_post([torch.tensor([1.0, 2.0, 3.0]), torch.zeros(5)])[1][0].tolist() == [m + 1.0 for m in maps]
    closed = chain.forward(probe(), [torch.tensor([1.0, 0.0, 1.0]), torch.ones(5)], [])
    with torch.no_grad():
        body[4].weight[:, 9:18] = 0
    assert torch.allclose(closed, body(probe()), atol=1e-6)


def test_each_sample_is_predicted_by_the_attention_of_its_task() -> None:
    stream, made = digits(), hat(normed())
    for k in range(3):
        walk(made, stream, k)
    for module in (made.model, made.norms):
        module.eval()
    task, x = torch.tensor([2, 0, 1, 0, 2, 1]), probe()
    together = made.predict(x, task)
    alone = torch.cat([made.predict(x[i : i + 1], task[i : i + 1]) for i in range(6)])
    assert torch.allclose(together, alone, atol=1e-6)
    assert (together > -torch.inf).sum(1).tolist() == [2] * 6


def test_no_capacity_left_is_no_division_by_zero() -> None:
    stream, made = digits(), hat()
    walk(made, stream, 0)
    made.used = torch.ones_like(made.used)
    made.begin(stream.experiences[1].train)
    (_, batch) = next(stream.experiences[1].steps())
    assert made.observe(batch)["hat/sparsity"].item() == 0.0


def test_it_learns_every_task_and_forgets_none() -> None:
    result = clframe.run("task-incremental", "hat", model="mlp(hidden=[60])", lr=0.1, evaluate="boundaries", epochs=2)
    curve = result.rows.assign(accuracy=result.rows.correct / result.rows.total)
    for k in range(5):
        after = curve[(curve.evaluated == k) & (curve.trained >= k)].accuracy
        assert after.iloc[0] > 0.85 and after.min() >= after.iloc[0] - 0.02


def tied() -> nn.Module:
    one = nn.Linear(64, 64)
    return nn.Sequential(nn.Flatten(), one, nn.ReLU(), one)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("slim-resnet18", "'ResNet'"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.LayerNorm(4), nn.ReLU()), "'LayerNorm'"),
        (nn.Sequential(nn.Flatten(), nn.ReLU()), "no layer at all"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3, groups=2), nn.Flatten()), "with groups"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(6, 4), nn.Flatten()), "not flattened"),
        (tied(), "used twice"),
    ],
)
def test_backbones_that_tie_units_together_are_refused(model, found) -> None:
    with pytest.raises(OptionError, match=f"model must be a plain chain for 'hat'.*{found}"):
        hat(model)


def test_bad_options_and_streams_are_refused() -> None:
    with pytest.raises(OptionError, match="strength must be zero or positive; got -1"):
        hat(strength=-1.0)
    with pytest.raises(OptionError, match="s_max must be above 1; got 1"):
        hat(s_max=1.0)
    with pytest.raises(CompositionError, match="this one needs 'task_test' and 'task_train'"):
        clframe.run("split-digits", "hat")
    with pytest.raises(CompositionError, match="this one needs 'task_test'"):
        clframe.run("task-incremental(reveals={'task_test': False})", "hat")
    with pytest.raises(OptionError, match="head must be 'multi' for 'hat'"):
        clframe.run("task-incremental", "hat", head="single")
    with pytest.raises(CompositionError, match="only parts compose"):
        clframe.run("task-incremental", "hat+er")
    with pytest.raises(OptionError, match="task must be known"):
        hat().predict(probe())


def test_an_experience_without_a_task_of_its_own_is_refused() -> None:
    class Mixed:
        experience, classes, task, size, num_classes, sample_bytes = 0, (0, 1), None, 10, 10, 64

    with pytest.raises(OptionError, match="task must be one for each experience"):
        hat().begin(Mixed())  # type: ignore[arg-type]


def test_the_ledger_counts_what_is_kept_beside_the_network() -> None:
    stream, made = digits(), hat(setup={"momentum": 0.9})
    walk(made, stream, 0, updates=3)
    ledger = made.ledger()
    assert ledger["state_bytes"] == {"hat": 4 * 16 * (5 + 1)}
    assert ledger["forwards"] == ledger["backwards"] == 30 and ledger["optimizer_bytes"] > 0
    assert isinstance(next(iter(stream.experiences[0].steps()))[1], Batch)
