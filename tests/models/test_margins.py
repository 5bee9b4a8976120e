"""Bounds of differences of outputs: the shortcuts give what slow, plain code gives, or tighter bounds."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from clframe.errors import OptionError
from clframe.models.interval import Box, ball, certify, walk
from clframe.models.interval import products as module
from clframe.models.interval.backward import least
from clframe.models.interval.margins import PAIRED, margins
from clframe.models.interval.products import least_linear
from tests.models.test_interval import NETS, drawn, made


def plain(*widths: int, samples: int = 60) -> tuple[nn.Sequential, Tensor, Tensor, dict[str, Box]]:
    """An MLP, signed inputs with the classes that it gives them, and boxes of uneven radii."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for into, out in pairwise(widths):
        layers += [nn.Linear(into, out), nn.ReLU()]
    net = nn.Sequential(*layers[:-1]).double()
    x = torch.randn(samples, widths[0], dtype=torch.float64)
    return net, x, net(x).argmax(1), {n: Box.around(p.detach(), 0.01 * torch.rand_like(p)) for n, p in net.named_parameters()}


def slow(net: nn.Sequential, x: Tensor, y: int, j: int, boxes: dict[str, Box]) -> tuple[float, float]:
    """Lower bounds of f_y - f_j for one sample, element by element: over the last layer, and back to the first one's outputs."""
    linear = [i for i, layer in enumerate(net) if isinstance(layer, nn.Linear)]
    before = [walk(net[: i + 1], x[None], {n: b for n, b in boxes.items() if int(n[0]) <= i}).out for i in linear[:-1]]
    last: Any = net[-1]
    a = torch.zeros(last.out_features, dtype=torch.float64)
    a[y] += 1
    a[j] -= 1
    total, elided = 0.0, 0.0
    for i, g in zip(reversed(linear[1:]), reversed(before), strict=True):
        w, b = boxes[f"{i}.weight"], boxes[f"{i}.bias"]
        total += float(torch.where(a > 0, a * b.lower, a * b.upper).sum())
        a = (torch.where(a[:, None] > 0, a[:, None] * w.lower, a[:, None] * w.upper)).sum(0)
        h = Box(g.lower[0].clamp(min=0), g.upper[0].clamp(min=0))
        if i == linear[-1]:
            elided = total + float(torch.minimum(a * h.lower, a * h.upper).sum())
        for k in range(len(a)):
            low, high = float(g.lower[0, k]), float(g.upper[0, k])
            if low < 0 < high:
                line = high / (high - low)
                total -= min(float(a[k]), 0.0) * line * low
                a[k] *= line if a[k] < 0 else float(high > -low)
            elif high <= 0:
                a[k] = 0
    g = before[0]
    return elided, total + float(torch.minimum(a * g.lower[0], a * g.upper[0]).sum())


@pytest.mark.parametrize("shared", [1, 1000])
@pytest.mark.parametrize("widths", [(5, 12, 9, 3), (5, 12, 3), (4, 10, 9, 8, 4), (4, 12, 10, PAIRED + 2)])
def test_shared_rows_give_what_plain_code_gives_or_more(
    widths: tuple[int, ...], shared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARED", shared)
    net, x, y, boxes = plain(*widths, samples=30)
    found = walk(net, x, boxes)
    elided, linear = margins(found, y, 1), margins(found, y)
    gained = 0
    for i, own in enumerate(y.tolist()):
        assert elided[i, own] == linear[i, own] == 0
        for j in {*range(0, widths[-1], 1 + widths[-1] // 6)} - {own}:  # all of few, some of many
            last, back = slow(net, x[i], own, j, boxes)
            assert float(elided[i, j]) == pytest.approx(last, abs=1e-12)
            assert float(linear[i, j]) >= back - 1e-12
            gained += float(linear[i, j]) > back + 1e-9
    assert gained  # a ReLU of the first layer is bounded by its box, where a line would lie below


def test_samples_of_few_classes_share_rows_and_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x, _, boxes = plain(5, 12, 8, samples=30)
    found, y = walk(net, x, boxes), torch.arange(30) % 2
    shared = margins(found, y, 1)
    monkeypatch.setattr("clframe.models.interval.margins.FEW", 0)
    torch.testing.assert_close(shared, margins(found, y, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NETS)
def test_rows_for_all_samples_and_parts_of_a_walk_say_the_same(name: str) -> None:
    net, x, boxes = made(name, 0.01)
    found, rows = walk(net, x, boxes), torch.randn(1, 4, 3, dtype=torch.float64)
    some = torch.tensor([2, 0])
    part = found.part(some)
    assert torch.equal(part.out.lower, found.out.lower[some]) and torch.equal(part.part(some[1:]).out.upper, part.out.upper[:1])
    for layers in (None, 1):
        all_ = least(found, rows.expand(len(x), -1, -1), layers)
        torch.testing.assert_close(least(found, rows, layers), all_, rtol=0, atol=1e-11)
        torch.testing.assert_close(least(part, rows, layers), all_[some], rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["mlp", "strides", "max pooling", "residual"])
def test_margins_hold_for_every_network_in_the_boxes(name: str) -> None:
    net, x, boxes = made(name, 0.02)
    x = torch.randn(40, *x.shape[1:], dtype=torch.float64)
    y = net(x).argmax(1)
    found = walk(net, x, boxes)
    bounds = [margins(found, y), margins(found, y, 1)]
    for parameters in drawn(boxes):
        out = functional_call(net, parameters, (x,)).detach()
        for bound in bounds:
            assert (bound <= out.gather(1, y[:, None]) - out + 1e-11).all()


def test_a_weight_put_together_for_shared_signs_gives_the_same_product() -> None:
    torch.manual_seed(0)
    weight = Box.around(torch.randn(7, 5, dtype=torch.float64), torch.rand(7, 5, dtype=torch.float64))
    signs = torch.randn(1, 3, 7, dtype=torch.float64).sign() * (torch.rand(1, 3, 7) < 0.7)
    signs[0, 2] = 0
    for a in (signs * torch.rand(module.SHARED, 3, 7, dtype=torch.float64), torch.randn(module.SHARED, 3, 7, dtype=torch.float64)):
        pieces = torch.where(a[..., None] > 0, a[..., None] * weight.lower, a[..., None] * weight.upper)
        torch.testing.assert_close(least_linear(weight, a.clamp(min=0), a.clamp(max=0)), pieces.sum(2), rtol=0, atol=1e-12)


def test_best_goes_back_for_open_samples_and_classes_alone_and_decides_as_all_do() -> None:
    net, x, y, boxes = plain(6, 30, 30, 5, samples=200)
    found = {m: certify(net, x, y, boxes, m, chunk=50) for m in ("elided", "linear", "best")}
    left = found["elided"].margin <= 1e-6
    best, larger = found["best"].margin, found["elided"].margin.maximum(found["linear"].margin)
    torch.testing.assert_close(best[left], larger[left], rtol=0, atol=1e-11)
    assert (best >= found["elided"].margin).all() and (best <= larger + 1e-11).all()
    settled = found["elided"].certified
    assert torch.equal(best[settled], found["elided"].margin[settled]) and 0 < int(settled.sum()) < len(x)
    assert torch.equal(found["best"].certified, found["elided"].certified | found["linear"].certified)


def test_certificates_stay_with_their_samples() -> None:
    net, x, y, boxes = plain(6, 20, 4, samples=50)
    mixed = torch.randperm(50)
    for method in ("logits", "elided", "linear", "best"):
        straight, shuffled = certify(net, x, y, boxes, method, chunk=7), certify(net, x[mixed], y[mixed], boxes, method, chunk=50)
        torch.testing.assert_close(straight.margin[mixed], shuffled.margin, rtol=0, atol=1e-11)


def test_margins_are_differentiable_by_the_boxes() -> None:
    net, x, y, _ = plain(4, 8, 6, 3, samples=30)
    for layers in (1, None):
        radius = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)
        boxes = {n: Box.around(p.detach(), radius) for n, p in net.named_parameters()}
        (slope,) = torch.autograd.grad(margins(walk(net, x, boxes), y, layers).sum(), radius)
        step = 1e-7
        ends = [margins(walk(net, x, ball(net, 0.01 + s)), y, layers).sum().item() for s in (-step, step)]
        assert float(slope) == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-4) and slope < 0


def test_inputs_that_are_no_tensors_or_not_finite_are_refused() -> None:
    net = nn.Sequential(nn.Linear(2, 2)).eval()
    y, numbers = torch.tensor([0]), torch.tensor([[float("nan"), 0.0]])
    with pytest.raises(OptionError, match="x must be a tensor; got 'ndarray'"):
        certify(net, numbers.numpy(), y, ball(net, 0.1))
    with pytest.raises(OptionError, match="x must be finite; got 'NaN or infinity'"):
        certify(net, numbers, y, ball(net, 0.1))
