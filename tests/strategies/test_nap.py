"""NaP: scale invariance, exact norms, and an effective learning rate that stays."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from clframe.errors import CompositionError, OptionError
from clframe.models import Head, Network, build
from clframe.models.norms import scale_invariant
from clframe.scenarios import class_incremental
from clframe.strategies import Learner, NaP, Progressive
from clframe.types import Batch


def normalised(bias: bool = False, eps: float = 0.0) -> nn.Sequential:
    """In float64, as exact as it gets."""
    torch.manual_seed(0)
    layers = [nn.Linear(6, 8, bias=bias), nn.LayerNorm(8, eps=eps), nn.ReLU(), nn.Linear(8, 5, bias=bias), nn.LayerNorm(5, eps=eps)]
    return nn.Sequential(*layers, nn.ReLU()).double()


def network(backbone: nn.Module, width: int = 5) -> Network:
    return Network(backbone, Head(width, 3).double())


def batch(count: int = 12, seed: int = 1) -> Batch:
    x = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Batch(x, torch.arange(count) % 3, torch.arange(count))


def learner(model: Network, *parts: NaP, lr: float = 0.1, **options: float) -> Learner:
    return Learner(model, torch.optim.SGD(model.parameters(), lr=lr, **options), *parts)


def weights(model: Network) -> list[Tensor]:
    return [m.weight for m in model.backbone.modules() if isinstance(m, nn.Linear | nn.Conv2d)]


def gradients(model: Network, sample: Batch) -> list[Tensor]:
    return list(torch.autograd.grad(functional.cross_entropy(model(sample.x), sample.y), weights(model)))


def test_a_normalised_network_is_scale_invariant() -> None:
    model, sample = network(normalised()), batch()
    before, slope = model(sample.x), gradients(model, sample)
    for w, g in zip(weights(model), slope, strict=True):
        assert abs((w * g).sum()) < 1e-14
    with torch.no_grad():
        for w in weights(model):
            w.mul_(3)
    assert torch.allclose(model(sample.x), before, rtol=0, atol=1e-14)
    for g, smaller in zip(slope, gradients(model, sample), strict=True):
        assert torch.allclose(smaller, g / 3, rtol=0, atol=1e-15)


def test_a_scaled_network_with_a_scaled_rate_turns_alike() -> None:
    sample, c, lr = batch(), 2.5, 0.1
    turned = []
    for scale in (1.0, c):
        model = network(normalised())
        with torch.no_grad():
            for w in weights(model):
                w.mul_(scale)
        after = [w - lr * scale**2 * g for w, g in zip(weights(model), gradients(model, sample), strict=True)]
        turned.append([w / w.norm() for w in after])
    for a, b in zip(*turned, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-15)


def test_every_projected_weight_keeps_its_norm_and_nothing_else_is_touched() -> None:
    plain, projected = (network(normalised(eps=1e-5)) for _ in range(2))
    start = [w.norm().item() for w in weights(projected)]
    free, part = learner(plain, momentum=0.9), NaP()
    held = learner(projected, part, momentum=0.9)
    free.observe(batch()), held.observe(batch())
    for w, rho, other in zip(weights(projected), start, weights(plain), strict=True):
        assert w.norm().item() == pytest.approx(rho, abs=1e-12)
        assert other.norm().item() > rho
        assert torch.allclose(w / w.norm(), other / other.norm(), rtol=0, atol=1e-14)
    untouched = [n for n, p in plain.named_parameters() if not any(p is w for w in weights(plain))]
    assert untouched == ["backbone.1.weight", "backbone.1.bias", "backbone.4.weight", "backbone.4.bias", "head.weight", "head.bias"]
    for name in untouched:
        assert torch.equal(plain.get_parameter(name), projected.get_parameter(name))
    for p, q in zip(plain.parameters(), projected.parameters(), strict=True):
        a, b = free.optimizer.state[p]["momentum_buffer"], held.optimizer.state[q]["momentum_buffer"]
        assert torch.equal(a, b)


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.BatchNorm1d, lambda width: nn.GroupNorm(2, width), nn.RMSNorm])
def test_projecting_changes_no_output(norm) -> None:
    torch.manual_seed(0)
    model = network(nn.Sequential(nn.Linear(6, 8), norm(8), nn.ReLU(), nn.Linear(8, 6), norm(6), nn.ReLU()).double(), 6)
    for m in model.backbone.modules():
        if hasattr(m, "eps"):
            m.eps = 1e-12
    part = NaP(every=1000)
    made = learner(model, part)
    for seed in range(5):
        made.observe(batch(seed=seed))
    sample, outputs = batch(seed=9).x, []
    for _ in range(2):
        state = {k: v.clone() for k, v in model.state_dict().items()}
        outputs.append((model.train()(sample), model.eval()(sample)))
        model.load_state_dict(state)
        part.updates = 999
        with torch.no_grad():
            part.constrain(None)
    for before, after in zip(*outputs, strict=True):
        assert torch.allclose(before, after, rtol=0, atol=1e-8)
    once = [w.clone() for w in weights(model)]
    part.updates = 999
    with torch.no_grad():
        part.constrain(None)
    assert all(torch.allclose(w, o, rtol=1e-15, atol=0) for w, o in zip(weights(model), once, strict=True))


def test_the_effective_rate_stays_with_projection_and_falls_without() -> None:
    rates = {}
    for projecting in (True, False):
        made = learner(network(normalised(eps=1e-12)), NaP(projecting=projecting))
        logs = [made.observe(batch(seed=n)) for n in range(100)]
        rates[projecting] = torch.stack([log["nap/effective-lr"] for log in logs])
    start = sum(0.1 / w.square().sum() for w in weights(network(normalised()))) / 2
    assert torch.allclose(rates[True], start.expand(100), rtol=1e-12)
    assert (rates[False].diff() < 0).all() and rates[False][0] < start


def test_the_logged_rate_and_norm_are_those_of_the_weights_and_of_their_group() -> None:
    model = network(normalised())
    first, second = weights(model)
    rest = [p for p in model.parameters() if p is not second]
    optimizer = torch.optim.SGD([{"params": rest, "lr": 0.1}, {"params": [second], "lr": 0.02}])
    made = Learner(model, optimizer, NaP(projecting=False))
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.param_groups[0]["lr"] = 0.3
    log = made.observe(batch())
    expected = (0.3 / first.square().sum() + 0.02 / second.square().sum()) / 2
    assert log["nap/effective-lr"].item() == pytest.approx(expected.item(), rel=1e-12)
    assert log["nap/norm"].item() == pytest.approx((first.norm() + second.norm()).item() / 2, rel=1e-12)


def test_it_projects_every_kth_update_counted_across_a_stop() -> None:
    model, part = network(normalised()), NaP(every=3)
    made, start = learner(model, part), [w.norm().item() for w in weights(network(normalised()))]
    on = []
    for n in range(6):
        made.observe(batch(seed=n))
        on.append(all(w.norm().item() == pytest.approx(rho, abs=1e-12) for w, rho in zip(weights(model), start, strict=True)))
        if n == 3:
            state = part.state_dict()
            part.updates, part.target = 0, part.target * 0
            part.load_state_dict(state)
    assert on == [False, False, True, False, False, True]


def test_layers_are_found_by_what_follows_them_not_by_name_or_order() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(6)
            self.last, self.norm_like, self.both = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            h = functional.relu(self.norm(self.norm_like(x)))
            two = self.both(h)
            return self.last(functional.layer_norm(two, (6,)) + self.norm(two) + two)

    model = Odd()
    assert [layer for layer, _ in scale_invariant(model)] == [model.norm_like]
    resnet = build("slim-resnet18", (3, 16, 16), 3, options={"width": 2, "norm": "ghost"}).backbone
    convolutions = [m for m in resnet.modules() if isinstance(m, nn.Conv2d)]
    found = scale_invariant(resnet)
    assert {layer for layer, _ in found} == set(convolutions) and len(found) == 20
    assert all(len(norms) == 1 and isinstance(norms[0], nn.BatchNorm2d) for _, norms in found)
    named = NaP(layers=("last",))
    made = learner(Network(model.double(), Head(6, 3).double()), named)
    assert [w is model.last.weight for w in named._weights] == [True]
    made.observe(batch())
    assert model.last.weight.norm().item() == pytest.approx(named.target.item(), abs=1e-12)


class Deciding(nn.Module):
    """By the values of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(self.layer(x), (5,)) if x.sum() > 0 else self.layer(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NaP(every=0), "every must be a positive integer; got 0"),
        (lambda: learner(build("mlp", (6,), 3), NaP()), "nothing to project"),
        (lambda: learner(build("mlp", (6,), 3), NaP(projecting=False)), "'mlp\\(norm=layer\\)'"),
        (lambda: learner(network(Deciding()), NaP()), "traceable by torch.fx"),
        (lambda: learner(build("mlp", (6,), 3), NaP(layers=["layers.1"])), "layer of 'nap' must be a known name"),
        (lambda: learner(network(normalised()), NaP(), Progressive()), "at most one part may change the weights"),
    ],
)
def test_what_is_refused(make, message) -> None:
    with pytest.raises((OptionError, CompositionError), match=message):
        make()


def test_a_layer_of_zeros_has_no_direction() -> None:
    body = normalised()
    nn.init.zeros_(body[0].weight)
    with pytest.raises(OptionError, match="not all zero"):
        learner(network(body), NaP())


def test_it_needs_no_boundaries_and_works_beside_replay() -> None:
    from clframe.strategies import Replay

    stream = class_incremental("digits").walked(batch_size=10)
    model = build("cnn", (1, 8, 8), 10, options={"widths": (4,), "norm": "layer"})
    made = Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), NaP(), Replay(size=30))
    assert NaP().requires == frozenset()
    rho = made.parts[1].target.clone()
    made.begin(stream.experiences[0].train)
    for (_, sample), _ in zip(stream.experiences[0].steps(), range(5), strict=False):
        made.observe(sample)
    assert torch.allclose(torch.stack([w.norm() for w in weights(model)]), rho, rtol=1e-6)
