"""Backbones: shapes, exact parameter counts, and what they refuse."""

from __future__ import annotations

import pytest
import torch

from clframe.errors import OptionError
from clframe.models import MODELS, build
from clframe.models.cnn import CNN
from clframe.models.mlp import MLP
from clframe.models.resnet import BasicBlock, resnet32


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [
        ("mlp", (1, 28, 28), 478_410),
        ("cnn", (1, 8, 8), 320 + 18_496 + 2_570),
        ("slim-resnet18", (3, 32, 32), 1_094_750),
        ("resnet18", (3, 32, 32), 11_173_962),
        ("resnet32", (3, 32, 32), 464_154),
    ],
)
def test_parameter_counts_with_a_10_way_head(name, shape, count):
    assert parameters(build(name, shape, 10)) == count


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (4, 9, 13)])
def test_every_model_maps_images_to_logits(name, shape):
    options = {"width": 4} if "resnet18" in name else {"blocks": 1} if name == "resnet32" else None
    net = build(name, shape, 7, options=options).eval()
    x = torch.randn(2, *shape)
    assert net(x).shape == (2, 7) and net(x).isfinite().all()
    assert net.features(x).shape == (2, net.backbone.num_features)
    assert net.num_classes == 7
    assert torch.equal(net(x), net.head(net.features(x), None))


@pytest.mark.parametrize(("side", "expected"), [(32, 160), (84, 160)])
def test_slim_resnet18_averages_over_the_whole_map(side, expected):
    net = build("slim-resnet18", (3, side, side), 2)
    assert net.eval().features(torch.zeros(1, 3, side, side)).shape == (1, expected)


def test_mlp_takes_any_shape_and_any_depth():
    assert MLP((2, 3), hidden=())(torch.ones(4, 2, 3)).shape == (4, 6)
    assert MLP((5,), hidden=[7, 3]).num_features == 3


def test_mlp_ends_every_hidden_layer_with_relu():
    assert (MLP((5,), hidden=(50,))(torch.randn(20, 5)) >= 0).all()


def test_dropout_drops_in_training_mode_only():
    net, x = MLP((5,), hidden=(200,), dropout=0.5), torch.randn(4, 5)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_option_a_appends_zero_maps_and_has_no_parameters():
    block = BasicBlock(4, 8, stride=2, projection=False)
    x = torch.randn(1, 4, 5, 5)
    out = block.shortcut(x)
    assert torch.equal(out[:, :4], x[:, :, ::2, ::2]) and not out[:, 4:].any()
    assert parameters(block.shortcut) == 0
    assert block(x).shape == (1, 8, 3, 3)


@pytest.mark.parametrize(("blocks", "count"), [(3, 269_722), (9, 853_018)])
def test_the_cifar_family_by_its_number_of_blocks(blocks, count):
    assert parameters(resnet32((3, 32, 32), blocks=blocks)) + 650 == count  # ResNet-20 and ResNet-56, option A


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP((4,), dropout=1.0), r"dropout must be in \[0, 1\); got 1\.0"),
        (lambda: MLP((4,), hidden=(0,)), "hidden must be a positive integer; got 0"),
        (lambda: MLP(()), r"input_shape must be the shape of one sample in positive integers; got \(\)"),
        (lambda: CNN((1, 3, 8)), r"input_shape must be at least 4 x 4 pixels for model 'cnn'; got \(1, 3, 8\)"),
        (lambda: CNN((1, 8, 8), widths=()), "widths must be a list of one or more widths"),
        (lambda: resnet32((3, 32, 32), blocks=-1), "blocks must be a positive integer; got -1"),
    ],
)
def test_options_are_refused_with_a_sentence(make, message):
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"mlp"}))
def test_images_only_models_refuse_a_flat_table(name):
    with pytest.raises(OptionError, match=rf"\(channels, height, width\) for model '{name}'; got \(64,\)\. Use model='mlp'"):
        build(name, (64,), 10)
