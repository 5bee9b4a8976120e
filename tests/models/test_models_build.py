"""Models by name: deterministic, without a trace, from the user's own code too, and refused in sentences."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from clframe.errors import OptionError
from clframe.models import MODELS, build, cost

OWN = textwrap.dedent(
    """
    import torch
    from torch import nn

    class Conv(nn.Module):
        def __init__(self, input_shape, maps=3):
            super().__init__()
            self.conv = nn.Conv2d(input_shape[0], maps, 3)
            self.norm = nn.BatchNorm2d(maps).eval()
            self.drop = nn.Dropout()

        def forward(self, x):
            return self.drop(self.norm(self.conv(x)))

    class Classifier(nn.Module):
        def __init__(self, num_classes, extra=0):
            super().__init__()
            self.last = nn.Linear(16, num_classes + extra)

        def forward(self, x):
            return self.last(x.flatten(1))

    def lazy():
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(5))

    def keywords(**options):
        return nn.Linear(**options)

    def broken():
        raise ArithmeticError("no luck")

    def number():
        return 3

    def pair():
        class Pair(nn.Module):
            def forward(self, x):
                return x, x
        return Pair()

    def scalar():
        class Scalar(nn.Module):
            def forward(self, x):
                return x.sum(1)
        return Scalar()

    answer = 42
    """
)


@pytest.fixture
def own(tmp_path: Path) -> str:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    return str(file)


def equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_same_seed_same_weights_whatever_was_drawn_before():
    first = build("mlp", (8,), 3, seed=5, options={"hidden": (7,)})
    torch.rand(3)
    second = build("mlp", (8,), 3, seed=5, options={"hidden": (7,)})
    other = build("mlp", (8,), 3, seed=6, options={"hidden": (7,)})
    assert equal(first, second)
    assert not equal(first, other)


def test_the_head_does_not_move_the_weights_of_the_backbone():
    nets = [build("mlp", (8,), 3, head=head, num_tasks=4) for head in ("single", "multi", "masked", "cosine")]
    assert all(equal(nets[0].backbone, net.backbone) for net in nets)
    assert equal(nets[0].head, build("mlp", (8,), 3).head)


@pytest.mark.parametrize("name", ["mlp", "own"])
def test_building_leaves_the_global_generator_as_it_was(name, own):
    torch.manual_seed(1)
    expected = torch.rand(4)
    torch.manual_seed(1)
    build(name if name in MODELS else f"{own}:Conv", (1, 8, 8), 3)
    assert torch.equal(torch.rand(4), expected)


def test_a_failed_build_leaves_the_global_generator_as_it_was(own):
    state = torch.get_rng_state()
    with pytest.raises(OptionError):
        build(f"{own}:broken", (4,), 2)
    assert torch.equal(torch.get_rng_state(), state)


def test_state_dict_round_trips_into_a_fresh_network():
    net = build("cnn", (1, 8, 8), 4, head="multi", num_tasks=2, seed=1)
    net.begin((1, 3), 1)
    fresh = build("cnn", (1, 8, 8), 4, head="multi", num_tasks=2, seed=2)
    fresh.load_state_dict(net.state_dict())
    x, task = torch.randn(3, 1, 8, 8), torch.tensor([1, 0, 1])
    assert equal(net, fresh) and torch.equal(net(x, task), fresh(x, task))


def test_own_module_by_path_gets_a_head(own):
    net = build(f"{own}:Conv", (1, 4, 4), 3, head="masked", options={"maps": 2})
    assert net.head.num_features == 2 * 2 * 2
    net.begin((0, 2), None)
    assert net.eval()(torch.randn(2, 1, 4, 4)).isneginf().tolist() == [[False, True, False]] * 2


def test_measuring_the_outputs_leaves_modes_and_buffers_as_they_were(own):
    backbone = build(f"{own}:Conv", (1, 4, 4), 3).backbone
    assert backbone.training and backbone.drop.training and not backbone.norm.training
    assert not backbone.norm.running_mean.any()
    assert all(p.requires_grad and not p.is_inference() for p in backbone.parameters())


def test_own_module_with_its_own_logits(own):
    net = build(f"{own}:Classifier", (4, 4), 3, head="none")
    assert net(torch.randn(2, 4, 4)).shape == (2, 3)
    wide = build(f"{own}:Classifier", (4, 4), 3, head="none", options={"extra": 2})
    x = torch.randn(2, 4, 4)
    assert torch.equal(wide(x), wide.backbone(x)[:, :3])
    net.begin(None, None)
    assert net.num_classes == 3


def test_lazy_layers_are_made_in_the_build_and_deterministic(own):
    first, second = (build(f"{own}:lazy", (2, 3), 4) for _ in range(2))
    assert equal(first, second) and first.head.num_features == 5
    first(torch.randn(2, 2, 3)).sum().backward()
    assert first.backbone[1].weight.grad is not None


def test_own_module_by_module_name():
    net = build("torch.nn:Linear", (6,), 3, options={"in_features": 6, "out_features": 5})
    assert net(torch.randn(2, 6)).shape == (2, 3)


def test_a_factory_of_keywords_takes_every_option(own):
    assert build(f"{own}:keywords", (6,), 3, options={"in_features": 6, "out_features": 5}).head.num_features == 5


@pytest.mark.parametrize(
    ("name", "options", "head", "message"),
    [
        ("resnet23", {}, "single", "model must be a known name; got 'resnet23'. Did you mean 'resnet32'"),
        ("mlp", {"hiden": (3,)}, "single", "option of model 'mlp' must be a known name; got 'hiden'. Did you mean 'hidden'"),
        ("mlp", {}, "mult", "head must be a known name; got 'mult'. Did you mean 'multi'"),
        ("mlp", {}, "none", "head must be one of single, multi, masked, cosine for model 'mlp'; got 'none'"),
        ("no.such.module:Net", {}, "single", r"model must be an importable module:Name \(ModuleNotFoundError"),
        ("no_such_file.py:Net", {}, "single", "model must be path/to/file.py:Name of a file that exists; got"),
        ("OWN:Conf", {}, "single", r"model must be a class or function of .*; got 'Conf'\. Did you mean 'Conv'"),
        ("OWN:answer", {}, "single", "model must be a class or function of .*; got 'answer'"),
        ("OWN:broken", {}, "single", "cannot be constructed; got {} and ArithmeticError: no luck"),
        ("OWN:number", {}, "single", "model must be a class or function that makes an nn.Module; got .* It made a int"),
        ("OWN:pair", {}, "single", r"model must be a module that maps .* to one tensor.* For B = 1 it gave tuple"),
        ("OWN:scalar", {}, "single", r"to one tensor \(B, \.\.\.\); got .* For B = 1 it gave \(1,\)"),
        ("OWN:Conv", {"mapz": 3}, "single", "option of model .* must be a known name; got 'mapz'. Did you mean 'maps'"),
        ("OWN:Conv", {}, "single", r"cannot be applied to zeros of the input's shape; got \(16,\) and RuntimeError"),
        (
            "OWN:Classifier",
            {"extra": -1},
            "none",
            "model must be a model with at least 3 outputs.* for head 'none'; got .* with 2",
        ),
    ],
)
def test_build_refuses_with_a_sentence(name, options, head, message, own):
    with pytest.raises(OptionError, match=message) as raised:
        build(name.replace("OWN", own), (16,), 3, head=head, options=options)
    assert "\n" not in str(raised.value)


def test_counts_of_numpy_are_welcome():
    net = build("mlp", (np.int64(4), 2), np.int64(3), head="multi", num_tasks=np.int64(2))
    assert net.num_classes == 3 and net.head.table.shape == (2, 3)


def test_a_file_that_does_not_import_is_a_sentence_and_can_be_mended(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def f(:\n")
    with pytest.raises(OptionError, match=r"model must be an importable module:Name \(SyntaxError"):
        build(f"{file}:Net", (3,), 2)
    file.write_text("from torch import nn\nclass Net(nn.Flatten): pass\n# mended\n")
    assert build(f"{file}:Net", (3,), 2).head.num_features == 3


def test_cost_counts_and_leaves_no_trace():
    net = build("mlp", (1, 28, 28), 10, options={"dropout": 0.5})
    net.backbone.layers[2].eval()
    modes = [m.training for m in net.modules()]
    state, weights = torch.get_rng_state(), {k: v.clone() for k, v in net.state_dict().items()}
    measured = cost(net, (1, 28, 28))
    assert measured.flops == 2 * (784 * 400 + 400 * 400 + 400 * 10)
    assert (measured.parameters, measured.parameter_bytes) == (478_410, 4 * 478_410)
    assert (measured.buffers, measured.buffer_bytes) == (10, 80)  # the head's table
    assert [m.training for m in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())


def test_cost_of_convolutions_and_of_a_head_that_needs_the_task():
    net = build("cnn", (1, 8, 8), 3, head="multi", num_tasks=2)
    convolutions = 2 * (8 * 8 * 32 * 9 + 4 * 4 * 64 * 32 * 9)
    assert cost(net, (1, 8, 8)).flops == convolutions + 2 * 256 * 6
